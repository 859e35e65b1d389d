"""Reading a search-space file: every rule of the format, each an error of one line when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from rksearch import cost
from rksearch.datasets import DATASETS, Dataset
from rksearch.errors import SpaceError, SpecError
from rksearch.layout import Layout, layout
from rksearch.recipe import RECIPES, Recipe, recipe
from rksearch.space.definition import Budget, PeriodChoices, SpaceDefinition
from rksearch.space.document import Entry, read_document
from rksearch.space.expression import Expression, read_expression
from rksearch.space.family import FAMILIES
from rksearch.space.plan import SearchPlan, read_plan
from rksearch.spec import MAX_NUMBER, ArchSpec, DenseNet, parse

DEFAULT_TRIALS = 24
"""Candidates of a run when the file does not say."""

MAX_COUNT = 2**60
"""Counts stay below this, so that sums of a few of them are exact in 64 bits."""

REQUIRED = ("dataset",)
CHOICES = ("growth_rate", "periods")
"""Keys that state choices; a space that lists `architectures` has none of them."""

OPTIONAL = (
    "description",
    "families",
    *CHOICES,
    "constraints",
    "architectures",
    "budgets",
    "recipe",
    "train_images",
    "baselines",
    "known",
    "trials",
    "seeds",
    "search",
)

BUDGETS = ("params", "macs", "depth")


def read_definition(text: str, *, name: str, file: str) -> tuple[SpaceDefinition, dict[str, Entry]]:
    """What the YAML `text` of the space `name` says, and the entries by key for errors that are found later.

    Raises:
        SpaceError: a rule of the file format is broken; the message names `file`, line, key, rule, value and remedy.
    """
    entries = read_document(text, file).mapping(required=REQUIRED, optional=OPTIONAL)

    def optional(key: str, read: Callable[[Entry], Any], default: Any) -> Any:
        return read(entries[key]) if key in entries else default

    data = DATASETS[entries["dataset"].one_of(DATASETS)]
    families, growth_rates, periods, constraints = _choices(entries, data, file)
    architectures = _listed_architectures(entries, data)
    params, macs, depth = optional("budgets", lambda e: _budgets(e, data), (Budget(), Budget(), Budget()))
    search_seeds, final_seeds = optional("seeds", _seeds, (1, 2))
    baselines = optional("baselines", lambda e: _architectures(e, data), ())
    known = optional("known", lambda e: _architectures(e, data, forbidden=baselines), ())
    definition = SpaceDefinition(
        name=name,
        description=optional("description", lambda e: " ".join(e.text().split()), ""),
        dataset=data,
        families=families,
        growth_rates=growth_rates,
        periods=periods,
        constraints=constraints,
        architectures=architectures,
        params=params,
        macs=macs,
        depth=depth,
        recipe=optional("recipe", _recipe, RECIPES["short"]),
        train_images=optional("train_images", lambda e: None if e.is_null else e.integer(data.classes), None),
        baselines=baselines,
        known=known,
        trials=optional("trials", lambda e: e.integer(1, MAX_NUMBER), DEFAULT_TRIALS),
        search_seeds=search_seeds,
        final_seeds=final_seeds,
        search=optional("search", read_plan, SearchPlan()),
        yaml=text,
    )
    return definition, entries


def _choices(
    entries: dict[str, Entry], data: Dataset, file: str
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[PeriodChoices, ...], tuple[Expression, ...]]:
    """Families, growth rates, periods and constraints; all empty where architectures are listed."""
    if "architectures" in entries:
        for key in (*CHOICES, "families", "constraints"):
            if key in entries:
                raise entries[key].complaint(
                    "a space states choices or lists architectures, not both", f"remove {key} or architectures"
                )
        return (), (), (), ()
    for key in CHOICES:
        if key not in entries:
            raise SpaceError(f"{file}:1: space file: the key {key} is missing; add `{key}: ...` (or `architectures`)")
    families: tuple[str, ...] = ("dense_bc",)
    if "families" in entries:
        families = entries["families"].choices(lambda item: item.one_of(FAMILIES))
    growth_rates = _ascending_integers(entries["growth_rate"])
    periods = tuple(_period_choices(item, i) for i, item in enumerate(entries["periods"].items("period")))
    _check_resolution(entries["periods"], data, len(periods))
    _check_magnitude(entries["periods"], data, growth_rates[-1], periods)
    constraints = _constraints(entries["constraints"], len(periods)) if "constraints" in entries else ()
    return tuple(sorted(families, key=FAMILIES.index)), growth_rates, periods, constraints


def _constraints(entry: Entry, periods: int) -> tuple[Expression, ...]:
    def read(item: Entry) -> Expression:
        try:
            return read_expression(item.text(), periods)
        except SpaceError as error:
            raise item.complaint(f"{error}, in {item.text()!r}", "correct the constraint") from None

    return entry.choices(read, allow_none=True)


def _listed_architectures(entries: dict[str, Entry], data: Dataset) -> tuple[ArchSpec, ...]:
    if "architectures" not in entries:
        return ()
    found = _architectures(entries["architectures"], data)
    if not found:
        raise entries["architectures"].error("must list at least one architecture", "add one")
    return tuple(sorted(found, key=str))


def _ascending_integers(entry: Entry) -> tuple[int, ...]:
    return tuple(sorted(entry.choices(lambda item: item.integer(1, MAX_NUMBER))))


def _period_choices(entry: Entry, index: int) -> PeriodChoices:
    entries = entry.mapping(required=("m", "s", "r"), optional=("share",))
    share = entries["share"].choices(Entry.boolean) if "share" in entries else (False,)
    m = entries["m"]
    return PeriodChoices(
        m=(_transition_rule(m, index),) if m.is_mapping else _ascending_integers(m),
        s=_ascending_integers(entries["s"]),
        r=_ascending_integers(entries["r"]),
        share=tuple(sorted(share)),
    )


def _transition_rule(entry: Entry, index: int) -> int:
    """The growth multiple of period `index` that a DenseNet's transitions imply (paper, section 3.1).

    It is the number of channels that enter the DenseNet's block, divided by the growth rate and rounded down.
    """
    item = entry.mapping(required=("transition_of",))["transition_of"]
    try:
        net = parse(item.text())
    except SpecError as error:
        raise item.complaint(str(error), "correct the name") from None
    if not isinstance(net, DenseNet):
        raise item.error("only a DenseNet has the transitions that set m", "write its name, as in DenseNet-BC-100-k12")
    if index >= net.BLOCKS:
        raise item.complaint(f"{net} has {net.BLOCKS} blocks, but this is period {index + 1}", "list values of m here")
    rows = layout(net, DATASETS["cifar10"]).rows
    into = next(row for row in rows if row.path.startswith(f"block{index + 1}."))
    return into.in_channels // net.growth_rate


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
    """Whether the largest combination of choices can be counted; every smaller one can be then."""
    largest = [(p.m[-1], p.s[-1], p.r[-1]) for p in periods]
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


def _budgets(entry: Entry, data: Dataset) -> tuple[Budget, ...]:
    entries = entry.mapping(required=(), optional=BUDGETS)
    return tuple(_budget(entries[key], key, data) if key in entries else Budget() for key in BUDGETS)


def _budget(entry: Entry, count: str, data: Dataset) -> Budget:
    """`[low, high]`, or `at_least` and `at_most`; an end is a number, or an architecture that costs it."""
    low_entry: Entry | None
    high_entry: Entry | None
    if entry.is_mapping:
        named = entry.mapping(required=(), optional=("at_least", "at_most"))
        low_entry, high_entry = named.get("at_least"), named.get("at_most")
    else:
        ends: Sequence[Entry] = entry.items()
        if len(ends) != 2:
            raise entry.error("a budget has two ends", "write [low, high], with null for an open end")
        low_entry, high_entry = ends
    low, high = (_end(end, count, data) for end in (low_entry, high_entry))
    if low is not None and high is not None and low > high:
        raise entry.error("low <= high must hold for [low, high]", f"swap them: [{high}, {low}]")
    return Budget(low, high)


def _end(entry: Entry | None, count: str, data: Dataset) -> int | None:
    if entry is None or entry.is_null:
        return None
    if not entry.names_architecture:
        return entry.quantity(0, MAX_COUNT)
    try:
        net = layout(parse(entry.text()), data)
    except SpecError as error:
        raise entry.complaint(str(error), "write a number such as 0.8M, or correct the name") from None
    counted = cost.layout_cost(net)
    return {"params": counted.params, "macs": counted.macs, "depth": depth_of(net)}[count]


def depth_of(net: Layout) -> int:
    """Layers with weights from image to logits, as the depths in the names of DenseNets and ResNets count them."""
    return sum(row.kind in ("conv", "linear") for row in net.rows)


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
