"""Contents of a search-space file as typed values: choices, budgets, and the training of candidates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path

from rksearch.arch import ArchSpec, Solver, Steps
from rksearch.arch.equivalence import canonical_steps
from rksearch.arch.period import LEARNED, read_solver
from rksearch.arch.reader import Reader
from rksearch.arch.tableaux import tableau
from rksearch.data.facts import Dataset
from rksearch.recipes.recipe import Recipe
from rksearch.space.format.expression import Expression
from rksearch.space.plan import SearchPlan

MAX_COUNT = 2**60
"""Counts stay below this, so that sums of a few of them are exact in 64 bits."""


@dataclass(frozen=True, kw_only=True)
class PeriodChoices:
    """Choices of one period: every combination of the listed values, in ascending order.

    Attributes:
        m: growth multiples; empty where no family of the space has them.
        s: stages of a learned method; empty where no method is learned. Other methods have those of their tableau.
        r: numbers of time-steps.
        share: whether time-steps share their convolutions.
        method: methods that integrate the period, `learned` first.
    """

    m: tuple[int, ...]
    s: tuple[int, ...]
    r: tuple[int, ...]
    share: tuple[bool, ...] = (False,)
    method: tuple[str, ...] = (LEARNED,)

    @property
    def raw_size(self) -> int:
        """Number of combinations as listed, equivalent ones included."""
        return prod(max(1, len(own)) for own in (self.m, self.s, self.r, self.share, self.method))

    def steps(self, s: int, r: int, share: bool, method: str) -> Steps:
        """The canonical steps that these decisions make (see `rksearch.arch.equivalence`)."""
        solver = solver_of(method)
        stages = s if solver is None else solver.method.stages
        return canonical_steps(Steps(s=stages, r=r, share=share and r > 1, solver=solver))

    @cached_property
    def decisions(self) -> dict[Steps, tuple[int, int, bool, str]]:
        """The different ways to integrate the period, each with (s, r, share, method) that make it.

        Of several decisions for one period, the first listed are kept. Where a tableau has its own stages, s is the
        nearest to them; 0 where there are no choices of s.
        """
        found: dict[Steps, tuple[int, int, bool, str]] = {}
        for method in self.method:
            solver = solver_of(method)
            stages = self.s or (0,)
            if solver is not None:
                own = solver.method.stages
                stages = (min(stages, key=lambda s: (abs(s - own), s)),)
            for s in stages:
                for r in self.r:
                    for share in self.share:
                        found.setdefault(self.steps(s, r, share, method), (s, r, share, method))
        return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def solver_of(method: str) -> Solver | None:
    """The solver of a choice of `method`, None for a learned method.

    Raises:
        SpecError: no such tableau or option.
    """
    if method == LEARNED:
        return None
    tableau(method.partition("+")[0])  # an unknown name has an error of its own
    reader = Reader(method)
    solver = read_solver(reader)
    if reader.at != len(method):
        reader.fail("expected the end of the method")
    return solver


def _order(steps: Steps) -> tuple[int, int, bool, str]:
    return steps.s, steps.r, steps.share, str(steps.solver or "")


@dataclass(frozen=True, slots=True)
class CountRange:
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
        name: name of the space: the file's name without `.yaml`.
        description: purpose of the space, for people.
        dataset: data set of the networks; decides input size and classes, and so every count.
        families: dense, dense_bc, residual, or several of them.
        growth_rates: choices of k.
        periods: choices of each period, finest resolution first.
        constraints: rules on decisions of one period or of two neighbours.
        architectures: candidates of a space that lists them, without families, growth rates and periods.
        params, macs, depth: budgets on parameters (batch norm included), multiply-adds, and layers with weights from
            image to logits.
        recipe: training recipe of the candidates.
        train_images: size of the stratified subset that is trained on; None for all.
        baselines: architectures that are trained for comparison.
        known: configurations of the paper, which are trained before the search chooses any.
        trials: default number of candidates that a run trains.
        search_seeds: trainings of every architecture during the search, each with its own seed.
        final_seeds: trainings of each member of the final front, those of the search included.
        search: sampler, objectives, early stopping and replicates.
        yaml: text of the file.
        directory: where relative paths in the file start; None for the working directory.
    """

    name: str
    description: str
    dataset: Dataset
    families: tuple[str, ...]
    growth_rates: tuple[int, ...]
    periods: tuple[PeriodChoices, ...]
    constraints: tuple[Expression, ...]
    architectures: tuple[ArchSpec, ...]
    params: CountRange
    macs: CountRange
    depth: CountRange
    recipe: Recipe
    train_images: int | None
    baselines: tuple[ArchSpec, ...]
    known: tuple[ArchSpec, ...]
    trials: int
    search_seeds: int
    final_seeds: int
    search: SearchPlan
    yaml: str
    directory: Path | None = field(default=None, compare=False)

    @property
    def raw_size(self) -> int:
        """Number of combinations of all choices as listed, equivalent and forbidden ones included."""
        if self.architectures:
            return len(self.architectures)
        return len(self.families) * max(1, len(self.growth_rates)) * prod(p.raw_size for p in self.periods)

    @property
    def sha256(self) -> str:
        """Digest of the file's text, in hex."""
        return hashlib.sha256(self.yaml.encode()).hexdigest()
