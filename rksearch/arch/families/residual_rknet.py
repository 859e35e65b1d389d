"""RKNet, residual family: specs, rows and costs (Zhu and Fu, arXiv 1802.08831, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rksearch.arch.family import Keeping, RungeKuttaFamily, RungeKuttaSpec, evaluated_layers
from rksearch.arch.layers import HALVING, basic_block
from rksearch.arch.rows import Writer
from rksearch.arch.spec import check_layers
from rksearch.arch.stages import stages, write_coefficients
from rksearch.errors import SpecError

if TYPE_CHECKING:
    from rksearch.arch.closed_forms import ClosedForm


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualRKNet(RungeKuttaSpec):
    """A Runge-Kutta network of the residual family, which reads ResNet as a method.

    Blocks that keep the dimension belong to a period, with their last ReLU at the end of the residual branch; the
    block that halves the resolution is the transition. From ResNet of depth 6n + 2 come n, n - 1 and n - 1 blocks. The
    paper does not say how several stages are wired; read here as Eq. (4): stage i sees concat(y, k_1, ..., k_{i-1}).

    Attributes:
        periods: one entry per period, finest resolution first; period i has 16 * 2^(i - 1) channels.

    Raises:
        SpecError: no period, more than `MAX_PERIODS`, or more layers than `MAX_CONV_LAYERS`.
    """

    FIRST_WIDTH: ClassVar[int] = 16
    MAX_PERIODS: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if not 1 <= len(self.periods) <= self.MAX_PERIODS:
            raise SpecError(f"a residual RKNet has 1 to {self.MAX_PERIODS} periods, but got {len(self.periods)}")
        check_layers(sum(2 * evaluated_layers(p) for p in self.periods))

    @property
    def family(self) -> str:
        """Always `residual`."""
        return "residual"

    @property
    def head(self) -> str:
        """Always `RKNet-Res`."""
        return "RKNet-Res"

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each period's state: 16, 32, 64, ..."""
        return tuple(self.FIRST_WIDTH << i for i in range(len(self.periods)))


@dataclass(frozen=True, kw_only=True)
class ResidualRKNetFamily(RungeKuttaFamily):
    """The residual family."""

    def rows(self, writer: Writer, spec: ResidualRKNet) -> None:
        """Stem with BN-ReLU, periods with ResNet's downsampling blocks between them, head without a norm."""
        writer.stem(spec.widths[0], norm=True)
        for i, (period, width) in enumerate(zip(spec.periods, spec.widths, strict=True), 1):
            if i > 1:
                basic_block(writer, f"transition{i - 1}", width // 2, width, HALVING)
            write_coefficients(writer, period, f"period{i}", width)
            for stage in stages(period, f"period{i}"):
                c_in = width if period.solver else stage.number * width
                basic_block(writer, stage.path, c_in, width, owner=stage.owner)
        writer.head(spec.widths[-1], norm=False)

    @property
    def closed_form(self) -> ClosedForm:
        """Polynomials in s and r."""
        from rksearch.arch.closed_forms import ResidualForm  # needs numpy

        return ResidualForm(first_width=ResidualRKNet.FIRST_WIDTH)


FAMILIES = (
    ResidualRKNetFamily(
        key="residual",
        title="RKNet, residual blocks of ResNet as stages",
        source="arXiv 1802.08831, section 3.2",
        head="RKNet-Res",
        sample="RKNet-Res-1x3s_1x2s_1x2s",
        relatives=("RKNet-Res-4x1@rk4_2x1@heun2_2x1@heun2", "RKNet-Res-2x2s@radau2+tie_2x1@gauss2_1x2@backeuler"),
        spec=ResidualRKNet,
        most_periods=ResidualRKNet.MAX_PERIODS,
        blocks="rksearch.models.residual_rknet:makers",
        keeping=Keeping(convolves_states=True, reads_stem="period1.step1.stage1.conv1"),
    ),
)
