"""RKCNN, the authors' later networks, whose methods may be implicit: spec and rows (public code, ZhuMai/RKCNN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rksearch.arch.family import Family, Keeping
from rksearch.arch.layers import dense_layer, transition
from rksearch.arch.reader import Reader
from rksearch.arch.rows import Size, Writer
from rksearch.arch.spec import ArchSpec, check_layers, check_positive
from rksearch.errors import SpecError

Variant = Literal["E", "I", "R"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RKCNN(ArchSpec):
    """A Runge-Kutta CNN whose state has k channels in every period (the authors' public code).

    A stage v_j is BN-ReLU-conv1x1(w)-BN-ReLU-conv3x3(k) with w = neck * k. The explicit pass computes it from
    concat(x, v_1, ..., v_{j-1}). Variants I and R then recompute every stage `updates` times from concat(x, all other
    stages), by weights and norms that are separate from the explicit pass and the same in every sweep. A time-step
    returns x + Σ v_j.

    Attributes:
        variant: `E` explicit; `I` implicit, where a new v_j replaces the old at once (Gauss-Seidel); `R`, where a sweep
            reads the sweep before only (Jacobi).
        growth_rate: channels k.
        periods: (stages s, time-steps r) of each period, finest resolution first.
        neck: w = neck * k channels between the two convolutions of a stage.
        updates: sweeps of variants I and R; 1 for E.
        dropout_pct: dropout in the transitions, in percent.
        attention: whether the transitions weigh their channels.
        multiscale: whether the classifier reads every period's output instead of the last.

    Raises:
        SpecError: a number is out of range, or an option does not go with the variant.
    """

    variant: Variant
    growth_rate: int
    periods: tuple[tuple[int, int], ...]
    neck: int = 1
    updates: int = 1
    dropout_pct: int = 0
    attention: bool = False
    multiscale: bool = False

    VARIANTS: ClassVar[tuple[Variant, ...]] = ("E", "I", "R")

    def __post_init__(self) -> None:
        if self.variant not in self.VARIANTS:
            raise SpecError(f"the variant of an RKCNN must be E, I or R, but got {self.variant!r}")
        for what, value in (("growth rate k", self.growth_rate), ("neck", self.neck), ("updates", self.updates)):
            check_positive(what, value)
        if not self.periods:
            raise SpecError("an RKCNN needs at least one period, but got none")
        for s, r in self.periods:
            check_positive("s", s)
            check_positive("r", r)
            if self.variant != "E" and s == 1:
                raise SpecError(
                    f"an RKCNN-{self.variant} updates a stage from the others, but got a period with s = 1; "
                    "use at least two stages, or variant E"
                )
        if self.variant == "E" and self.updates != 1:
            raise SpecError(f"an RKCNN-E has no sweeps to repeat, but got updates = {self.updates}; leave it out")
        if self.attention and self.growth_rate < 2:
            raise SpecError("channel attention halves the k channels, so k must be at least 2, but got 1")
        if (self.attention or self.dropout_pct or self.multiscale) and len(self.periods) == 1:
            raise SpecError(
                "attention, dropout and the multi-scale head need a second period, but got one; leave them out"
            )
        if (
            isinstance(self.dropout_pct, bool)
            or not isinstance(self.dropout_pct, int)
            or not 0 <= self.dropout_pct < 100
        ):
            raise SpecError(f"dropout must be a whole number of percent from 0 to 99, but got {self.dropout_pct!r}")
        check_layers(sum(s * r * self.passes for s, r in self.periods))

    @property
    def passes(self) -> int:
        """How often a stage is computed in a time-step: once, and once more in every sweep."""
        return 1 if self.variant == "E" else 1 + self.updates

    @property
    def family(self) -> str:
        """`rkcnn_e`, `rkcnn_i` or `rkcnn_r`."""
        return f"rkcnn_{self.variant.lower()}"

    @property
    def name(self) -> str:
        """For example `RKCNN-I-k80-5x1_5x1_5x1-att-ms`."""
        options = (
            (f"-neck{self.neck}", self.neck != 1),
            (f"-up{self.updates}", self.updates != 1),
            (f"-drop{self.dropout_pct}", self.dropout_pct != 0),
            ("-att", self.attention),
            ("-ms", self.multiscale),
        )
        periods = "_".join(f"{s}x{r}" for s, r in self.periods)
        return f"RKCNN-{self.variant}-k{self.growth_rate}-{periods}" + "".join(t for t, given in options if given)


@dataclass(frozen=True, kw_only=True)
class RKCNNFamily(Family):
    """One variant of RKCNN."""

    def read(self, reader: Reader) -> RKCNN:
        """Read `-I-k80-5x1_5x1_5x1-att-ms`."""
        reader.literal("-")
        variant = next((v for v in RKCNN.VARIANTS if reader.optional(v)), None)
        if variant is None:
            reader.fail("expected the variant E, I or R")
        reader.literal("-k")
        growth_rate = reader.integer("the growth rate")
        reader.literal("-")
        periods = [_read_period(reader)]
        while reader.optional("_"):
            periods.append(_read_period(reader))
        return RKCNN(
            variant=variant,
            growth_rate=growth_rate,
            periods=tuple(periods),
            neck=_read_option(reader, "neck", 1),
            updates=_read_option(reader, "up", 1),
            dropout_pct=_read_option(reader, "drop", 0),
            attention=reader.optional("-att"),
            multiscale=reader.optional("-ms"),
        )

    def rows(self, writer: Writer, spec: RKCNN) -> None:
        """Stem, periods with transitions between them, head over the last or over all periods."""
        k = spec.growth_rate
        writer.stem(k)
        features: list[tuple[int, Size]] = []
        for i, (s, r) in enumerate(spec.periods, 1):
            for step in range(1, r + 1):
                _step(writer, spec, f"period{i}.step{step}", s)
            features.append((k, writer.size))
            if i < len(spec.periods):
                _transition(writer, spec, f"transition{i}")
        if spec.multiscale:
            writer.multiscale_head(features)
        else:
            writer.head(k)

    def draws_random_numbers(self, spec: RKCNN) -> bool:
        """Where it has dropout."""
        return spec.dropout_pct > 0


def _read_period(reader: Reader) -> tuple[int, int]:
    s = reader.integer("the number of stages s")
    reader.literal("x")
    return s, reader.integer("the number of time-steps r")


def _read_option(reader: Reader, word: str, default: int) -> int:
    if not reader.optional(f"-{word}"):
        return default
    value = reader.integer(f"the number after {word}")
    if value == default:
        reader.fail(f"{default} is the default: leave `-{word}{default}` out")
    return value


def _step(w: Writer, spec: RKCNN, path: str, s: int) -> None:
    k, middle = spec.growth_rate, spec.neck * spec.growth_rate
    for j in range(s):
        stage = f"{path}.explicit.stage{j + 1}"
        dense_layer(w, stage, stage, (1 + j) * k, k, middle)
    for sweep in range(1, spec.passes):
        for j in range(1, s + 1):
            stage, owner = f"{path}.sweep{sweep}.stage{j}", f"{path}.sweep1.stage{j}"
            # All sweeps are one function, norms included: hence the owner of every row.
            w.norm(f"{stage}.norm1", s * k, weight=f"{owner}.norm1")
            w.conv(f"{stage}.conv1", s * k, middle, 1, weight=f"{owner}.conv1")
            w.norm(f"{stage}.norm2", middle, weight=f"{owner}.norm2")
            w.conv(f"{stage}.conv2", middle, k, 3, weight=f"{owner}.conv2")


def _transition(w: Writer, spec: RKCNN, path: str) -> None:
    """BN-ReLU-conv1x1, weighted channels where the network has attention, avgpool2."""
    k = spec.growth_rate
    if not spec.attention:
        transition(w, path, k, k)
        return
    w.norm(f"{path}.norm", k)
    w.conv(f"{path}.conv", k, k, 1)
    w.global_pool(f"{path}.attention.pool", k, w.size)
    w.linear(f"{path}.attention.squeeze", k, k // 2)
    w.linear(f"{path}.attention.excite", k // 2, k)
    w.avgpool(f"{path}.pool", k)


FAMILIES = tuple(
    RKCNNFamily(
        key=f"rkcnn_{variant.lower()}",
        title=title,
        source="public code of the RKNet authors, ZhuMai/RKCNN",
        head="RKCNN",
        sample=f"RKCNN-{variant}-k80-5x1_5x1_5x1-att-ms",
        relatives=(f"RKCNN-{variant}-k120-5x1_5x1_5x1-att-ms",),
        blocks="rksearch.models.rkcnn:makers",
        # Dropout and attention may come between the convolution and the pooling.
        pools_first=False,
        keeping=Keeping(),
    )
    for variant, title in (
        ("E", "RKCNN-E, explicit, k channels in every period"),
        ("I", "RKCNN-I, implicit, Gauss-Seidel sweeps"),
        ("R", "RKCNN-R, implicit, Jacobi sweeps"),
    )
)
