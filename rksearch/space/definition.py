"""What a search-space file says, as typed values: choices, budgets, and how candidates are to be trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod

from rksearch.datasets import Dataset
from rksearch.recipe import Recipe
from rksearch.space.expression import Expression
from rksearch.space.plan import SearchPlan
from rksearch.spec import ArchSpec, Period


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodChoices:
    """What one period may be: every combination of the listed values, in ascending order."""

    m: tuple[int, ...]
    s: tuple[int, ...]
    r: tuple[int, ...]
    share: tuple[bool, ...] = (False,)

    @property
    def raw_size(self) -> int:
        """Combinations as listed, equivalent ones included."""
        return len(self.m) * len(self.s) * len(self.r) * len(self.share)

    def canonical(self, s: int, r: int, share: bool) -> tuple[int, int, bool]:
        """One representative of equivalent methods: with one time-step, sharing changes nothing."""
        return s, r, share and r > 1

    def methods(self) -> tuple[tuple[int, int, bool], ...]:
        """The different (s, r, share), ordered by s, then r, then share."""
        return tuple(sorted({self.canonical(s, r, share) for s in self.s for r in self.r for share in self.share}))

    def options(self) -> tuple[Period, ...]:
        """The different periods: every m with every method, m varying slowest."""
        return tuple(Period(m=m, s=s, r=r, share=share) for m in self.m for s, r, share in self.methods())


@dataclass(frozen=True, slots=True)
class Budget:
    """An inclusive range of a count; None leaves that side open."""

    low: int | None = None
    high: int | None = None

    def __str__(self) -> str:
        match self.low, self.high:
            case None, None:
                return "any"
            case None, high:
                return f"at most {high:,}"
            case low, None:
                return f"at least {low:,}"
            case low, high:
                return f"{low:,} to {high:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceDefinition:
    """A search space as its file states it.

    Attributes:
        name: of the space; the file's name without `.yaml`.
        description: for people.
        dataset: what the networks are for; decides input size and classes, and so every count.
        families: dense, dense_bc or both.
        growth_rates: choices of k.
        periods: choices of each period, finest resolution first.
        constraints: what networks must obey besides.
        architectures: the candidates of a space that lists them; then there are no families, growth rates or periods.
        params, macs, depth: budgets on parameters (batch norm included), multiply-adds, and layers with weights from
            image to logits.
        recipe: how candidates are trained.
        train_images: size of the stratified subset that is trained on; None for all.
        baselines: trained beside the candidates for comparison.
        known: configurations of the paper, trained before the search chooses any.
        trials: how many candidates a run trains unless told otherwise.
        search_seeds: trainings of every architecture during the search, each with its own seed.
        final_seeds: trainings of what stands on the front at the end, those of the search included.
        search: who chooses candidates, for what, and which are stopped early.
        yaml: the file's text.
    """

    name: str
    description: str
    dataset: Dataset
    families: tuple[str, ...]
    growth_rates: tuple[int, ...]
    periods: tuple[PeriodChoices, ...]
    constraints: tuple[Expression, ...]
    architectures: tuple[ArchSpec, ...]
    params: Budget
    macs: Budget
    depth: Budget
    recipe: Recipe
    train_images: int | None
    baselines: tuple[ArchSpec, ...]
    known: tuple[ArchSpec, ...]
    trials: int
    search_seeds: int
    final_seeds: int
    search: SearchPlan
    yaml: str

    @property
    def raw_size(self) -> int:
        """Combinations of all choices as listed, equivalent and forbidden ones included."""
        if self.architectures:
            return len(self.architectures)
        return len(self.families) * len(self.growth_rates) * prod(p.raw_size for p in self.periods)

    @property
    def sha256(self) -> str:
        """Digest of the file's text, in hex."""
        return hashlib.sha256(self.yaml.encode()).hexdigest()
