"""RKNets: the paper's dense families and its residual family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rksearch.arch.period import Period, Steps, read_steps
from rksearch.arch.reader import Reader
from rksearch.arch.spec import ArchSpec, check_layers, check_positive
from rksearch.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class RKNet(ArchSpec):
    """A Runge-Kutta network of the dense families (paper, sections 3.1 and 4).

    Attributes:
        growth_rate: channels k that each layer adds.
        periods: one entry per period, finest resolution first.
        bottleneck: whether a layer is BN-ReLU-conv1x1(4k)-BN-ReLU-conv3x3(k) (`dense_bc`) or BN-ReLU-conv3x3(k)
            (`dense`).

    Raises:
        SpecError: growth rate below 1, no period, or more layers than `MAX_CONV_LAYERS`.
    """

    growth_rate: int
    periods: tuple[Period, ...]
    bottleneck: bool = True

    def __post_init__(self) -> None:
        check_positive("growth rate k", self.growth_rate)
        if not self.periods:
            raise SpecError("an RKNet needs at least one period, but got none")
        check_layers(sum(p.layers_per_step * p.r for p in self.periods))

    @property
    def family(self) -> str:
        """`dense_bc` with bottlenecks, `dense` without."""
        return "dense_bc" if self.bottleneck else "dense"

    @property
    def name(self) -> str:
        """For example `RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2`."""
        bc = "-BC" if self.bottleneck else ""
        ms = "_".join(str(p.m) for p in self.periods)
        methods = "_".join(p.method for p in self.periods)
        return f"RKNet{bc}-k{self.growth_rate}-m{ms}-{methods}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualRKNet(ArchSpec):
    """A Runge-Kutta network of the residual family (paper, section 3.2), which reads ResNet as a method.

    Blocks that keep the dimension belong to a period, with their last ReLU at the end of the residual branch; the
    block that halves the resolution is the transition. From ResNet of depth 6n + 2 come n, n - 1 and n - 1 blocks. The
    paper does not say how several stages are wired; read here as Eq. (4): stage i sees concat(y, k_1, ..., k_{i-1}).

    Attributes:
        periods: one entry per period, finest resolution first; period i has 16 * 2^(i - 1) channels.

    Raises:
        SpecError: no period, more than `MAX_PERIODS`, or more layers than `MAX_CONV_LAYERS`.
    """

    periods: tuple[Steps, ...]

    FIRST_WIDTH: ClassVar[int] = 16
    MAX_PERIODS: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if not 1 <= len(self.periods) <= self.MAX_PERIODS:
            raise SpecError(f"a residual RKNet has 1 to {self.MAX_PERIODS} periods, but got {len(self.periods)}")
        check_layers(sum(2 * p.evaluations * p.r for p in self.periods))

    @property
    def family(self) -> str:
        """Always `residual`."""
        return "residual"

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each period's state: 16, 32, 64, ..."""
        return tuple(self.FIRST_WIDTH << i for i in range(len(self.periods)))

    @property
    def name(self) -> str:
        """For example `RKNet-Res-1x3_1x2_1x2s`."""
        return f"RKNet-Res-{'_'.join(p.method for p in self.periods)}"


def read_rknet(reader: Reader) -> RKNet | ResidualRKNet:
    """Read what follows `RKNet`."""
    reader.literal("-")
    if reader.optional("Res-"):
        steps = [read_steps(reader)]
        while reader.optional("_"):
            steps.append(read_steps(reader))
        return ResidualRKNet(periods=tuple(steps))
    bottleneck = reader.optional("BC-")
    reader.literal("k")
    growth_rate = reader.integer("the growth rate")
    reader.literal("-m")
    ms = reader.integers("a growth multiple m")
    reader.literal("-")
    periods = []
    for i, m in enumerate(ms):
        if i and not reader.optional("_"):
            reader.fail(f"expected '_' and s x r of period {i + 1}, because {len(ms)} growth multiples are given")
        p = read_steps(reader)
        periods.append(Period(m=m, s=p.s, r=p.r, share=p.share, solver=p.solver))
    if reader.name.startswith("_", reader.at):
        reader.fail(f"only {len(ms)} growth multiples are given, but s x r of another period follows")
    return RKNet(growth_rate=growth_rate, periods=tuple(periods), bottleneck=bottleneck)
