"""Facts about a space as plain values, for a run's ledger and `space show --json`."""

from __future__ import annotations

from dataclasses import dataclass, field

from rksearch.arch.period import LEARNED
from rksearch.recipes.recipe import Recipe

BudgetRange = tuple[int | None, int | None]
"""A budget: the least and the largest value that are allowed, None for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodSummary:
    """The choices of one period; the names are the paper's.

    Attributes:
        m, s, r, share: growth multiples, stages, time-steps, and whether weights are shared across time-steps.
        method: the Runge-Kutta methods.
    """

    m: tuple[int, ...]
    s: tuple[int, ...]
    r: tuple[int, ...]
    share: tuple[bool, ...]
    method: tuple[str, ...] = (LEARNED,)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSummary:
    """Budgets on parameters, multiply-adds and depth."""

    params: BudgetRange = (None, None)
    macs: BudgetRange = (None, None)
    depth: BudgetRange = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSummary:
    """A member of the space with its costs."""

    name: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Numbers of feasible members by parameters.

    Attributes:
        params_edges: edges of the bins; a bin excludes its lower edge and includes its upper one.
        counts: members in each bin.
    """

    params_edges: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSummary:
    """Trainings of each architecture in the search, and of each member of the front at the end."""

    search: int
    final: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSummary:
    """Facts about a space.

    Attributes:
        name, description, dataset: the space's name, its description and its data set.
        families, growth_rate, periods, constraints, architectures: the choices.
        budgets: limits on costs.
        raw_size: number of combinations.
        canonical_size: number of different networks.
        feasible: number of networks within all budgets.
        rejected: numbers of networks beyond each budget; one network may break two.
        histogram: feasible networks by parameters.
        smallest, largest, fewest_macs, most_macs: the extremes among the feasible networks.
        baselines, known: canonical names that a run trains first.
        recipe, train_images, trials, seeds: defaults of a run of the space.
        sha256, yaml: hash of the space file, and its text.
    """

    name: str
    description: str = ""
    dataset: str
    families: tuple[str, ...] = ()
    growth_rate: tuple[int, ...] = ()
    periods: tuple[PeriodSummary, ...] = ()
    constraints: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    budgets: BudgetSummary = BudgetSummary()
    raw_size: int = 0
    canonical_size: int = 0
    feasible: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    histogram: Histogram | None = None
    smallest: MemberSummary | None = None
    largest: MemberSummary | None = None
    fewest_macs: MemberSummary | None = None
    most_macs: MemberSummary | None = None
    baselines: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    recipe: Recipe | None = None
    train_images: int | None = None
    trials: int = 0
    seeds: SeedSummary | None = None
    sha256: str
    yaml: str
