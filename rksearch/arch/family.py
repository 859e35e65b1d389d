"""Base classes of families: everything that rksearch asks of one, with defaults.

A family lies in two files: one without torch (a subclass of `Family` and its specs) and one with its torch modules,
which `Family.blocks` names and which is imported when a network is built. `rksearch.register_family` adds a family from
outside; docs/extending.md has an example.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from rksearch.arch.equivalence import canonical_steps
from rksearch.arch.period import Period, Steps, read_steps
from rksearch.arch.reader import Reader
from rksearch.arch.rows import Writer
from rksearch.arch.spec import ArchSpec, check_layers, check_positive
from rksearch.errors import PluginError, SpecError

if TYPE_CHECKING:
    from rksearch.arch.closed_forms import ClosedForm

Makers = Mapping[str, Callable[[Any, str], Any]]
"""Builders of top-level parts, by their names without the number: `period`, `transition`, `block`, `group`.

Each takes the leaf modules (`rksearch.models.parts.Parts`) and the part's path, such as `period1`, and returns a torch
module.
"""


HEAD = re.compile(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z][A-Za-z0-9]*)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Facts behind the closed form of a training step's memory; see `rksearch.training.memory.held`.

    Attributes:
        layers_grow: whether each layer reads the concatenation of what the layers before it put out.
        convolves_states: whether the first convolution of a transition or of a learned stage reads a state itself,
            which no norm keeps.
        reads_stem: path of the convolution that reads the activation at the stem's end; None where a norm does.
    """

    layers_grow: bool = False
    convolves_states: bool = False
    reads_stem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """A family of architectures.

    Attributes:
        key: machine name, as in `ArchSpec.family` and in search spaces.
        title: the family in a few words.
        source: where it was published.
        head: what its names begin with, up to a hyphen: `RKNet-BC`. Where several heads fit a name, the longest counts.
        sample: one of its names.
        relatives: further names worth listing.
        blocks: `module:function`; the function takes a spec and returns what builds its parts (`Makers`).
        pools_first: whether transitions are `rksearch.models.blocks.Transition`, which pools before it convolves in
            training and which recomputation repeats as a whole.
        keeping: facts behind the closed form of memory; None to run the network without numbers instead.
    """

    key: str
    title: str
    source: str
    head: str
    sample: str
    relatives: tuple[str, ...] = ()
    blocks: str = ""
    pools_first: bool = True
    keeping: Keeping | None = None

    def __post_init__(self) -> None:
        if not HEAD.fullmatch(self.head):
            raise PluginError(
                f"the head of a family's names is words joined by hyphens, but {self.key} has {self.head!r}; "
                "write it like RKNet-BC"
            )

    @abstractmethod
    def read(self, reader: Reader) -> ArchSpec:
        """Read what follows `head` in a name.

        Raises:
            SpecError: it is malformed.
        """

    @abstractmethod
    def rows(self, writer: Writer, spec: Any) -> None:
        """Write the rows of a network, in forward order.

        Raises:
            SpecError: the images are too small.
        """

    def makers(self, spec: Any) -> Makers:
        """What builds the parts between stem and head; imports torch."""
        module, _, function = self.blocks.partition(":")
        return cast(Makers, getattr(import_module(module), function)(spec))

    def canonical(self, spec: Any) -> ArchSpec:
        """The spec that stands for all that are the same network; see `rksearch.arch.equivalence`."""
        return cast(ArchSpec, spec)

    def draws_random_numbers(self, spec: Any) -> bool:
        """Whether a training step draws random numbers for the network itself, as dropout does."""
        return False

    def periods(self, spec: Any) -> tuple[Steps, ...]:
        """The periods of a Runge-Kutta network that may name methods; none for all others."""
        return ()

    def growth_rate(self, spec: Any) -> int | None:
        """Channels k that a layer adds; None where that means nothing."""
        return getattr(spec, "growth_rate", None)

    def choices(self, spec: Any) -> dict[str, Hashable]:
        """Choices about a whole network, whose effects on the error are asked for: `{"family": "dense"}`."""
        return {}

    def multiples_of_blocks(self, spec: Any) -> tuple[int, ...]:
        """Growth multiples m of the states that enter its blocks, for spaces that copy them; none where there are none.

        It is the number of channels that enter, divided by the growth rate and rounded down (RKNet paper, section 3.1).
        """
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RungeKuttaSpec(ArchSpec):
    """A network of periods, with nothing else to choose: `HEAD-1x3_1x2s_4x1@rk4`.

    Attributes:
        periods: one entry per period, finest resolution first.

    Raises:
        SpecError: no period, or more layers than `MAX_CONV_LAYERS`.
    """

    periods: tuple[Steps, ...]

    def __post_init__(self) -> None:
        if not self.periods:
            raise SpecError(f"an {type(self).__name__} needs at least one period, but got none")
        check_layers(sum(evaluated_layers(period) for period in self.periods))

    @property
    def name(self) -> str:
        """For example `RKNet-Res-1x3_1x2_1x2s`."""
        return f"{self.head}-{'_'.join(p.method for p in self.periods)}"

    @property
    @abstractmethod
    def head(self) -> str:
        """The `head` of its family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowingSpec(RungeKuttaSpec):
    """A network of periods whose states are m growths of k channels: `HEAD-k12-m2_9-1x8s_1x2`.

    Attributes:
        growth_rate: channels k that each layer adds.
        periods: one entry per period, finest resolution first; each has its growth multiple m.

    Raises:
        SpecError: growth rate below 1, no period, or more layers than `MAX_CONV_LAYERS`.
    """

    growth_rate: int
    periods: tuple[Period, ...]

    def __post_init__(self) -> None:
        check_positive("growth rate k", self.growth_rate)
        RungeKuttaSpec.__post_init__(self)

    @property
    def name(self) -> str:
        """For example `RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2`."""
        ms = "_".join(str(p.m) for p in self.periods)
        methods = "_".join(p.method for p in self.periods)
        return f"{self.head}-k{self.growth_rate}-m{ms}-{methods}"


def evaluated_layers(period: Steps) -> int:
    """Evaluations of stage functions in a period, each of m layers where the period has a growth multiple."""
    return period.evaluations * period.r * (period.m if isinstance(period, Period) else 1)


@dataclass(frozen=True, kw_only=True)
class RungeKuttaFamily(Family):
    """A family of `RungeKuttaSpec` or `GrowingSpec`, which a search space of choices can hold.

    Names are read and written in the two forms of these specs. Rows of such a family lie under `stem`, `period1`,
    `transition1`, `period2`, ..., `head`. Those of a period depend on its place and on the period alone, those of a
    transition on its place and its two periods, those of stem and head on the first and the last period.

    Attributes:
        spec: class of its specs; called with `periods`, and `growth_rate` where it is a `GrowingSpec`.
        most_periods: most periods of a network; None where only the images limit them.
    """

    spec: type[RungeKuttaSpec]
    most_periods: int | None = None

    @property
    def grows(self) -> bool:
        """Whether networks have a growth rate k, and their periods growth multiples m."""
        return issubclass(self.spec, GrowingSpec)

    @property
    def closed_form(self) -> ClosedForm | None:
        """Costs of parts over whole arrays of choices; None to sum the rows of each choice instead."""
        return None

    def make(self, growth_rate: int, periods: tuple[Steps, ...]) -> RungeKuttaSpec:
        """The network of these periods; `growth_rate` counts only where the family grows."""
        rate = {"growth_rate": growth_rate} if self.grows else {}
        return self.spec(periods=periods, **rate)

    def read(self, reader: Reader) -> RungeKuttaSpec:
        """Read `-1x3_1x2`, or `-k12-m2_9-1x8s_1x2` where the family grows."""
        reader.literal("-")
        if not self.grows:
            steps = [read_steps(reader)]
            while reader.optional("_"):
                steps.append(read_steps(reader))
            return self.make(0, tuple(steps))
        reader.literal("k")
        growth_rate = reader.integer("the growth rate")
        reader.literal("-m")
        multiples = reader.integers("a growth multiple m")
        reader.literal("-")
        return self.make(growth_rate, tuple(_read_periods(reader, multiples)))

    def canonical(self, spec: Any) -> ArchSpec:
        """Every period in its canonical form."""
        return cast(ArchSpec, replace(spec, periods=tuple(map(canonical_steps, spec.periods))))

    def periods(self, spec: Any) -> tuple[Steps, ...]:
        """The periods."""
        return tuple(spec.periods)

    def choices(self, spec: Any) -> dict[str, Hashable]:
        """The family."""
        return {"family": self.key}


def _read_periods(reader: Reader, multiples: list[int]) -> Iterator[Period]:
    for i, m in enumerate(multiples):
        if i and not reader.optional("_"):
            reader.fail(
                f"expected '_' and s x r of period {i + 1}, because {len(multiples)} growth multiples are given"
            )
        p = read_steps(reader)
        yield Period(m=m, s=p.s, r=p.r, share=p.share, solver=p.solver)
    if reader.name.startswith("_", reader.at):
        reader.fail(f"only {len(multiples)} growth multiples are given, but s x r of another period follows")
