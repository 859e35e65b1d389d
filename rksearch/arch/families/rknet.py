"""RKNet, dense families: specs, rows and costs (Zhu and Fu, arXiv 1802.08831, sections 3.1 and 4)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rksearch.arch.family import GrowingSpec, Keeping, RungeKuttaFamily
from rksearch.arch.layers import bottleneck_width, dense_layer, transition
from rksearch.arch.period import Period, Steps
from rksearch.arch.rows import Writer
from rksearch.arch.stages import stages, write_coefficients

if TYPE_CHECKING:
    from rksearch.arch.closed_forms import ClosedForm


@dataclass(frozen=True, slots=True, kw_only=True)
class RKNet(GrowingSpec):
    """A Runge-Kutta network of the dense families.

    Attributes:
        growth_rate: channels k that each layer adds.
        periods: one entry per period, finest resolution first.
        bottleneck: whether a layer is BN-ReLU-conv1x1(4k)-BN-ReLU-conv3x3(k) (`dense_bc`) or BN-ReLU-conv3x3(k)
            (`dense`).

    Raises:
        SpecError: growth rate below 1, no period, or more layers than `MAX_CONV_LAYERS`.
    """

    bottleneck: bool = True

    @property
    def family(self) -> str:
        """`dense_bc` with bottlenecks, `dense` without."""
        return "dense_bc" if self.bottleneck else "dense"

    @property
    def head(self) -> str:
        """`RKNet-BC` with bottlenecks, `RKNet` without."""
        return "RKNet-BC" if self.bottleneck else "RKNet"


@dataclass(frozen=True, kw_only=True)
class RKNetFamily(RungeKuttaFamily):
    """One of the two dense families.

    Attributes:
        bottleneck: as in `RKNet`.
    """

    bottleneck: bool

    def rows(self, writer: Writer, spec: RKNet) -> None:
        """Stem, periods with transitions between them, head."""
        k = spec.growth_rate
        middle = bottleneck_width(k) if spec.bottleneck else None
        writer.stem(spec.periods[0].m * k)
        for i, period in enumerate(spec.periods, 1):
            write_coefficients(writer, period, f"period{i}", period.m * k)
            for path, owner, c_in in _layers(period, f"period{i}", k):
                dense_layer(writer, path, owner, c_in, k, middle)
            if i < len(spec.periods):
                transition(writer, f"transition{i}", period.m * k, spec.periods[i].m * k)
        writer.head(spec.periods[-1].m * k)

    def make(self, growth_rate: int, periods: tuple[Steps, ...]) -> RKNet:
        """The RKNet of these periods, each with its growth multiple."""
        grown = tuple(period for period in periods if isinstance(period, Period))
        assert len(grown) == len(periods), "every period has a growth multiple"
        return RKNet(growth_rate=growth_rate, periods=grown, bottleneck=self.bottleneck)

    def choices(self, spec: RKNet) -> dict[str, Hashable]:
        """Family, growth rate and bottleneck."""
        return {"family": "dense", "growth rate k": spec.growth_rate, "bottleneck": "yes" if spec.bottleneck else "no"}

    @property
    def closed_form(self) -> ClosedForm:
        """Polynomials in k, m, s and r."""
        from rksearch.arch.closed_forms import DenseForm  # needs numpy

        return DenseForm(bottleneck=self.bottleneck)


def _layers(period: Period, prefix: str, k: int) -> Iterator[tuple[str, str, int]]:
    """(path, owner, input channels) of every layer.

    In a learned method, layer j of a time-step reads the state and the j growths before it, whatever their stage. With
    a tableau it reads the stage's own state and the j growths before it in the same stage.
    """
    if period.solver is None:
        for step in range(1, period.r + 1):
            for j in range(period.layers_per_step):
                owner = f"{prefix}.step{1 if period.share else step}.layer{j + 1}"
                yield f"{prefix}.step{step}.layer{j + 1}", owner, (period.m + j) * k
    else:
        for stage in stages(period, prefix):
            for j in range(period.m):
                yield f"{stage.path}.layer{j + 1}", f"{stage.owner}.layer{j + 1}", (period.m + j) * k


FAMILIES = (
    RKNetFamily(
        key="dense",
        title="RKNet, dense layers BN-ReLU-conv3x3",
        source="arXiv 1802.08831, section 3.1",
        head="RKNet",
        sample="RKNet-k12-m2_14_26-6x1_1x1_1x1",
        relatives=("RKNet-k12-m2_14_26-4x2@rk4_1x1_1x1",),
        spec=RKNet,
        bottleneck=False,
        blocks="rksearch.models.rknet:makers",
        keeping=Keeping(layers_grow=True),
    ),
    RKNetFamily(
        key="dense_bc",
        title="RKNet, dense layers with bottlenecks",
        source="arXiv 1802.08831, section 3.1",
        head="RKNet-BC",
        sample="RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s",
        relatives=(
            "RKNet-BC-k12-m2_9_12-4x2s@rk4+tie_1x2_1x2",
            "RKNet-BC-k12-m2_9_12-2x4@heun2+train_1x2_1x2",
            "RKNet-BC-k12-m2_9_12-2x2@gauss2_1x2_1x2",
        ),
        spec=RKNet,
        bottleneck=True,
        blocks="rksearch.models.rknet:makers",
        keeping=Keeping(layers_grow=True),
    ),
)
