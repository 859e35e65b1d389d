"""What a search-space file says, as typed values: choices, budgets, and how candidates are to be trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from math import prod
from typing import Any

from rksearch import cost
from rksearch.datasets import DATASETS, Dataset
from rksearch.errors import SpaceError, SpecError
from rksearch.recipe import RECIPES, Recipe, recipe
from rksearch.space.document import Entry, read_document
from rksearch.spec import MAX_CONV_LAYERS, MAX_NUMBER, ArchSpec, Period, parse

FAMILIES = ("dense", "dense_bc")
"""The families that a space can mix, in the order of the choices: without and with bottlenecks."""

DEFAULT_TRIALS = 24
"""Candidates of a run when the file does not say."""

MAX_COUNT = 2**62
"""Counts stay below this, so that sums of a few of them are exact in 64 bits."""


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
        params, macs: budgets on parameters (batch norm included) and multiply-adds.
        recipe: how candidates are trained.
        train_images: size of the stratified subset that is trained on; None for all.
        baselines: trained beside the candidates for comparison.
        known: configurations of the paper, trained before the search chooses any.
        trials: how many candidates a run trains unless told otherwise.
        search_seeds: trainings of every architecture during the search, each with its own seed.
        final_seeds: trainings of what stands on the front at the end, those of the search included.
        yaml: the file's text.
    """

    name: str
    description: str
    dataset: Dataset
    families: tuple[str, ...]
    growth_rates: tuple[int, ...]
    periods: tuple[PeriodChoices, ...]
    params: Budget
    macs: Budget
    recipe: Recipe
    train_images: int | None
    baselines: tuple[ArchSpec, ...]
    known: tuple[ArchSpec, ...]
    trials: int
    search_seeds: int
    final_seeds: int
    yaml: str

    @property
    def raw_size(self) -> int:
        """Combinations of all choices as listed, equivalent ones included."""
        return len(self.families) * len(self.growth_rates) * prod(p.raw_size for p in self.periods)

    @property
    def sha256(self) -> str:
        """Digest of the file's text, in hex."""
        return hashlib.sha256(self.yaml.encode()).hexdigest()


def read_definition(text: str, *, name: str, file: str) -> tuple[SpaceDefinition, dict[str, Entry]]:
    """What the YAML `text` of the space `name` says, and the entries by key for errors that are found later.

    Raises:
        SpaceError: a rule of the file format is broken; the message names `file`, line, key, rule, value and remedy.
    """
    entries = read_document(text, file).mapping(
        required=("dataset", "growth_rate", "periods"),
        optional=(
            "description",
            "families",
            "budgets",
            "recipe",
            "train_images",
            "baselines",
            "known",
            "trials",
            "seeds",
        ),
    )

    def optional(key: str, read: Callable[[Entry], Any], default: Any) -> Any:
        return read(entries[key]) if key in entries else default

    data = DATASETS[entries["dataset"].one_of(DATASETS)]
    families = optional("families", lambda e: e.choices(lambda item: item.one_of(FAMILIES)), ("dense_bc",))
    growth_rates = _ascending_integers(entries["growth_rate"])
    periods = tuple(_period_choices(item) for item in entries["periods"].items("period"))
    _check_resolution(entries["periods"], data, len(periods))
    _check_magnitude(entries["periods"], data, growth_rates[-1], periods)
    params, macs = optional("budgets", _budgets, (Budget(), Budget()))
    search_seeds, final_seeds = optional("seeds", _seeds, (1, 2))
    baselines = optional("baselines", lambda e: _architectures(e, data), ())
    known = optional("known", lambda e: _architectures(e, data, forbidden=baselines), ())
    definition = SpaceDefinition(
        name=name,
        description=optional("description", lambda e: " ".join(e.text().split()), ""),
        dataset=data,
        families=tuple(sorted(families, key=FAMILIES.index)),
        growth_rates=growth_rates,
        periods=periods,
        params=params,
        macs=macs,
        recipe=optional("recipe", _recipe, RECIPES["short"]),
        train_images=optional("train_images", lambda e: None if e.is_null else e.integer(data.classes), None),
        baselines=baselines,
        known=known,
        trials=optional("trials", lambda e: e.integer(1, MAX_NUMBER), DEFAULT_TRIALS),
        search_seeds=search_seeds,
        final_seeds=final_seeds,
        yaml=text,
    )
    return definition, entries


def _ascending_integers(entry: Entry) -> tuple[int, ...]:
    return tuple(sorted(entry.choices(lambda item: item.integer(1, MAX_NUMBER))))


def _period_choices(entry: Entry) -> PeriodChoices:
    entries = entry.mapping(required=("m", "s", "r"), optional=("share",))
    share = entries["share"].choices(Entry.boolean) if "share" in entries else (False,)
    return PeriodChoices(
        m=_ascending_integers(entries["m"]),
        s=_ascending_integers(entries["s"]),
        r=_ascending_integers(entries["r"]),
        share=tuple(sorted(share)),
    )


def _check_resolution(entry: Entry, data: Dataset, periods: int) -> None:
    most = 1
    while cost.areas(data, most + 1)[-1]:
        most += 1
    if periods > most:
        raise entry.complaint(
            f"images of {data.height} x {data.width} pixels can be halved for at most {most} periods, "
            f"but {periods} are listed",
            "list fewer",
        )


def _check_magnitude(entry: Entry, data: Dataset, k: int, periods: tuple[PeriodChoices, ...]) -> None:
    """Whether the largest combination of choices can be built and counted; every smaller one can be then."""
    largest = [(p.m[-1], p.s[-1], p.r[-1]) for p in periods]
    layers = sum(m * s * r for m, s, r in largest)
    if layers > MAX_CONV_LAYERS:
        raise entry.complaint(
            f"a network may have at most {MAX_CONV_LAYERS:,} layers (m * s * r, summed over the periods), "
            f"but the largest choices give {layers:,}",
            "lower the largest m, s or r",
        )
    # Python's integers do not overflow: this is the exact count of the largest network without sharing, in the family
    # and with the counts that are larger (bottleneck layers cost more than plain ones or less, depending on m).
    pixels = cost.areas(data, len(periods))
    for bottleneck in (False, True):
        parts = [cost.stem_cost(data, k, largest[0][0]), cost.head_cost(data, k, largest[-1][0])]
        parts += [cost.period_cost(bottleneck, k, *msr, 0, area) for msr, area in zip(largest, pixels, strict=True)]
        parts += [
            cost.transition_cost(k, a[0], b[0], area)
            for (a, b), area in zip(pairwise(largest), pixels[:-1], strict=True)
        ]
        count = max(sum(part.params for part in parts), sum(part.macs for part in parts))
        if count >= MAX_COUNT:
            raise entry.complaint(
                f"counts must stay below {MAX_COUNT:,}, but the largest choices give {int(count):,}",
                "lower the largest m, s or r, or the largest growth rate",
            )


def _budgets(entry: Entry) -> tuple[Budget, Budget]:
    entries = entry.mapping(required=(), optional=("params", "macs"))
    params, macs = (_budget(entries[key]) if key in entries else Budget() for key in ("params", "macs"))
    return params, macs


def _budget(entry: Entry) -> Budget:
    ends = entry.items()
    if len(ends) != 2:
        raise entry.error("a budget has two ends", "write [low, high], with null for an open end")
    low, high = (None if end.is_null else end.integer(0, MAX_COUNT) for end in ends)
    if low is not None and high is not None and low > high:
        raise entry.error("low <= high must hold for [low, high]", f"swap them: [{high}, {low}]")
    return Budget(low, high)


def _seeds(entry: Entry) -> tuple[int, int]:
    entries = entry.mapping(required=("search", "final"))
    search, final = (entries[key].integer(1, MAX_NUMBER) for key in ("search", "final"))
    if final < search:
        raise entries["final"].error(
            f"final seeds include those of the search, which are {search}", f"write at least {search}"
        )
    return search, final


def _recipe(entry: Entry) -> Recipe:
    if not entry.is_mapping:
        return RECIPES[entry.one_of(RECIPES)]
    types = {f.name: type(getattr(RECIPES["paper"], f.name)) for f in fields(Recipe)}
    entries = entry.mapping(required=("name",), optional=(name for name in types if name != "name"))
    base = entries.pop("name").one_of(RECIPES)
    read: dict[type, Callable[[Entry], Any]] = {
        int: lambda e: e.integer(1, MAX_NUMBER),
        float: Entry.number,
        bool: Entry.boolean,
        str: Entry.text,
        tuple: lambda e: tuple(sorted(e.choices(Entry.number))),
    }
    overrides = {}
    for key, value in entries.items():
        overrides[key] = read[types[key]](value)
        try:
            recipe(base, **overrides)
        except SpaceError as error:
            raise value.complaint(str(error), "choose another value") from None
    return recipe(base, **overrides)


def _architectures(entry: Entry, data: Dataset, forbidden: tuple[ArchSpec, ...] = ()) -> tuple[ArchSpec, ...]:
    def read(item: Entry) -> ArchSpec:
        try:
            spec = parse(item.text())
            cost.cost(spec, data)
        except SpecError as error:
            raise item.complaint(str(error), "correct the name") from None
        if spec in forbidden:
            raise item.error("an architecture is a baseline or known, not both", "remove one")
        return spec

    return entry.choices(read, allow_none=True)
