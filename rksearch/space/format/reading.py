"""Reading a search-space file: every rule of the format, with an error of one line when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rksearch.arch import MAX_NUMBER, ArchSpec, canonical, cost, family_of, parse
from rksearch.arch.families import searchable
from rksearch.arch.layout import layout
from rksearch.arch.period import LEARNED
from rksearch.arch.tableaux import TABLEAUX
from rksearch.data.facts import Dataset, dataset, datasets
from rksearch.errors import DataError, SpaceError, SpecError, nearest
from rksearch.recipes.document import Entry, read_document
from rksearch.recipes.in_space import read_recipe_key
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import DEFAULT_RECIPE, recipe
from rksearch.space.definition import MAX_COUNT, CountRange, PeriodChoices, SpaceDefinition, solver_of
from rksearch.space.format.expression import Expression, read_expression
from rksearch.space.format.magnitude import check_magnitude, check_resolution
from rksearch.space.format.search import read_metric, read_plan

MAX_LISTED_LAYERS = 200_000
"""Maximum number of layers of all networks of a list, norms and pools included: each costs microseconds to read."""

DEFAULT_TRIALS = 24
"""Number of candidates of a run whose space states none."""

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
    "metric",
    "search",
)

BUDGETS = ("params", "macs", "depth")


def read_definition(
    text: str,
    *,
    name: str,
    file: str,
    samplers: Collection[str] | None,
    directory: Path | None = None,
    recorded: Recipe | None = None,
) -> tuple[SpaceDefinition, dict[str, Entry]]:
    """The definition that the YAML `text` of the space `name` states, and the entries by key for later errors.

    Args:
        text, name, file: text and name of the space, and the file that errors name.
        samplers: names of the known samplers; None to accept any.
        directory: where the paths of a recipe file and of images start; None for the working directory.
        recorded: the recipe of the run that has recorded the text, which counts instead of the text's; None for a text
            that no run has begun with.

    Raises:
        SpaceError: a rule of the file format is broken; the message names `file`, line, key, rule, value and remedy.
    """
    entries = read_document(text, file).mapping(required=REQUIRED, optional=OPTIONAL)

    def optional(key: str, read: Callable[[Entry], Any], default: Any) -> Any:
        return read(entries[key]) if key in entries else default

    data = _dataset(entries["dataset"], directory)
    families, growth_rates, periods, constraints = _choices(entries, data, file, recorded=recorded is not None)
    architectures = _listed_architectures(entries, data)
    params, macs, depth = optional("budgets", lambda e: _budgets(e, data), (CountRange(), CountRange(), CountRange()))
    search_seeds, final_seeds = optional("seeds", _seeds, (1, 2))
    baselines = optional("baselines", lambda e: _architectures(e, data), ())
    known = optional("known", lambda e: _architectures(e, data, forbidden=baselines), ())
    if recorded is None:  # a run that began under earlier rules goes on
        _check_distinct(entries, {"architectures": architectures, "baselines": baselines, "known": known})
    definition = SpaceDefinition(
        name=name,
        description=optional("description", lambda e: " ".join(e.text().split()), ""),
        dataset=data,
        families=families,
        growth_rates=growth_rates,
        periods=periods,
        constraints=constraints,
        architectures=tuple(sorted(architectures, key=str)),
        params=params,
        macs=macs,
        depth=depth,
        recipe=recorded or optional("recipe", lambda e: read_recipe_key(e, directory), recipe(DEFAULT_RECIPE)),
        train_images=optional("train_images", lambda e: _train_images(e, data), None),
        baselines=baselines,
        known=known,
        trials=optional("trials", lambda e: e.integer(1, MAX_NUMBER), DEFAULT_TRIALS),
        search_seeds=search_seeds,
        final_seeds=final_seeds,
        search=read_plan(entries.get("search"), samplers, optional("metric", read_metric, None)),
        yaml=text,
        directory=directory,
    )
    return definition, entries


def _dataset(entry: Entry, directory: Path | None) -> Dataset:
    """A data set by its name, or by its address beneath `directory`."""
    name = entry.text()
    try:
        with datasets.beneath(directory):
            return dataset(name)
    except DataError as error:
        raise entry.complaint(str(error)) from None


def _choices(
    entries: dict[str, Entry], data: Dataset, file: str, *, recorded: bool
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[PeriodChoices, ...], tuple[Expression, ...]]:
    """Families, growth rates, periods and constraints; all empty where architectures are listed."""
    if "architectures" in entries:
        for key in (*CHOICES, "families", "constraints"):
            if key in entries:
                raise entries[key].complaint(
                    "a space states choices or lists architectures, not both", f"remove {key} or architectures"
                )
        return (), (), (), ()
    if "periods" not in entries:
        raise SpaceError(f"{file}:1: space file: the key periods is missing; add `periods: ...` (or `architectures`)")
    known = searchable()
    families: tuple[str, ...] = ("dense_bc",)
    if "families" in entries:
        families = entries["families"].choices(lambda item: item.one_of(known))
    grows = any(known[name].grows for name in families)
    if not grows and "growth_rate" in entries:
        raise entries["growth_rate"].complaint(f"{', '.join(families)} networks have no growth rate", "remove it")
    if grows and "growth_rate" not in entries:
        raise SpaceError(f"{file}:1: space file: the key growth_rate is missing; add `growth_rate: ...`")
    growth_rates = _ascending_integers(entries["growth_rate"]) if grows else ()
    periods = tuple(_period_choices(item, i, grows) for i, item in enumerate(entries["periods"].items("period")))
    check_resolution(entries["periods"], data, len(periods))
    for name in families:
        most = known[name].most_periods
        if most is not None and len(periods) > most:
            raise entries["periods"].complaint(
                f"{name} networks have at most {most} periods, but {len(periods)} are listed", "list fewer"
            )
    check_magnitude(entries["periods"], data, families, growth_rates, periods)
    constraints: tuple[Expression, ...] = ()
    if "constraints" in entries:
        constraints = _constraints(entries["constraints"], len(periods), recorded=recorded)
    return tuple(sorted(families, key=list(known).index)), growth_rates, periods, constraints


def _constraints(entry: Entry, periods: int, *, recorded: bool) -> tuple[Expression, ...]:
    def read(item: Entry) -> Expression:
        try:
            return read_expression(item.text(), periods)
        except SpaceError as error:
            raise item.complaint(f"{error}, in {item.text()!r}", "correct the constraint") from None

    if recorded:  # earlier versions took one twice
        return tuple(dict.fromkeys(map(read, entry.possibly_no_items())))
    return entry.choices(read, allow_none=True)


def _listed_architectures(entries: dict[str, Entry], data: Dataset) -> tuple[ArchSpec, ...]:
    if "architectures" not in entries:
        return ()
    entry = entries["architectures"]
    found = _architectures(entry, data)
    if not found:
        raise entry.error("must list at least one architecture", "add one")
    return found


def _check_distinct(entries: Mapping[str, Entry], listed: Mapping[str, tuple[ArchSpec, ...]]) -> None:
    """Make sure that no network is listed by two names: it would be trained as two.

    Raises:
        SpaceError: one is.
    """
    usual: dict[ArchSpec, ArchSpec] = {}
    for key, specs in listed.items():
        items = entries[key].possibly_no_items() if specs else []
        for item, spec in zip(items, specs, strict=True):
            first = usual.setdefault(canonical(spec), spec)
            if first != spec:
                raise item.complaint(f"{spec} is the same network as {first}", "remove one")


def _ascending_integers(entry: Entry) -> tuple[int, ...]:
    return tuple(sorted(entry.choices(lambda item: item.integer(1, MAX_NUMBER))))


def _period_choices(entry: Entry, index: int, grows: bool) -> PeriodChoices:
    entries = entry.mapping(required=(), optional=("m", "s", "r", "share", "method"))
    methods = _methods(entries["method"]) if "method" in entries else (LEARNED,)
    for key, wanted, reason in (
        ("m", grows, "networks of these families have no growth multiples"),
        ("r", True, ""),
        ("s", LEARNED in methods, "s is chosen for learned methods alone; the others have the stages of their tableau"),
    ):
        if wanted and key not in entries:
            raise entry.complaint(f"the key {key} is missing", f"add `{key}: ...`")
        if not wanted and key in entries:
            raise entries[key].complaint(reason, f"remove {key}")
    share = entries["share"].choices(Entry.boolean) if "share" in entries else (False,)
    m = entries.get("m")
    multiples = () if m is None else (_transition_rule(m, index),) if m.is_mapping else _ascending_integers(m)
    return PeriodChoices(
        m=multiples,
        s=_ascending_integers(entries["s"]) if "s" in entries else (),
        r=_ascending_integers(entries["r"]),
        share=tuple(sorted(share)),
        method=methods,
    )


def _methods(entry: Entry) -> tuple[str, ...]:
    """Ways to integrate a period: `learned`, or a tableau with its options as in names."""

    def read(item: Entry) -> str:
        method = item.text()
        try:
            solver = solver_of(method)
        except SpecError as error:
            hint = nearest(method, (LEARNED, *TABLEAUX))
            raise item.complaint(
                f"{error}", f"write {LEARNED}, or a tableau with its options as in names, such as rk4 or rk4+tie{hint}"
            ) from None
        if solver is not None and str(solver) != f"@{method}":
            raise item.error(f"a method is written in one way, {str(solver)[1:]}", "write it so")
        return method

    return tuple(sorted(entry.choices(read), key=lambda method: method != LEARNED))


def _transition_rule(entry: Entry, index: int) -> int:
    """The growth multiple of period `index` that a DenseNet's transitions imply (paper, section 3.1).

    It is the number of channels that enter the DenseNet's block, divided by the growth rate and rounded down.
    """
    item = entry.mapping(required=("transition_of",))["transition_of"]
    try:
        net = parse(item.text())
    except SpecError as error:
        raise item.complaint(str(error), "correct the name") from None
    multiples = family_of(net).multiples_of_blocks(net)
    if not multiples:
        raise item.error("only a DenseNet has the transitions that set m", "write its name, as in DenseNet-BC-100-k12")
    if index >= len(multiples):
        raise item.complaint(
            f"{net} has {len(multiples)} blocks, but this is period {index + 1}", "list values of m here"
        )
    return multiples[index]


def _budgets(entry: Entry, data: Dataset) -> tuple[CountRange, ...]:
    entries = entry.mapping(required=(), optional=BUDGETS)
    return tuple(_budget(entries[key], key, data) if key in entries else CountRange() for key in BUDGETS)


def _budget(entry: Entry, count: str, data: Dataset) -> CountRange:
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
    return CountRange(low, high)


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
    return {"params": counted.params, "macs": counted.macs, "depth": cost.depth_of(net.rows)}[count]


def _train_images(entry: Entry, data: Dataset) -> int | None:
    if entry.is_null:
        return None
    count, most = entry.integer(data.classes), data.most_train_images
    if most is not None and count > most:
        raise entry.error(
            f"{data.name} has at most {most:,} images to train on, once those for validation are held out",
            "lower it, or leave it out to train on all",
        )
    return count


def _seeds(entry: Entry) -> tuple[int, int]:
    entries = entry.mapping(required=("search", "final"))
    search, final = (entries[key].integer(1, MAX_NUMBER) for key in ("search", "final"))
    if final < search:
        raise entries["final"].error(
            f"final seeds include those of the search, which are {search}", f"write at least {search}"
        )
    return search, final


def _architectures(entry: Entry, data: Dataset, forbidden: tuple[ArchSpec, ...] = ()) -> tuple[ArchSpec, ...]:
    layers = 0

    def read(item: Entry) -> ArchSpec:
        nonlocal layers
        try:
            spec = parse(item.text())
            layers += len(layout(spec, data).rows)
        except SpecError as error:
            raise item.complaint(str(error), "correct the name") from None
        if layers > MAX_LISTED_LAYERS:
            raise item.complaint(
                f"the listed networks may have at most {MAX_LISTED_LAYERS:,} layers in all, norms and pools included, "
                f"but up to {spec} they have {layers:,}",
                "list fewer, or smaller ones",
            )
        if spec in forbidden:
            raise item.error("an architecture is a baseline or known, not both", "remove one")
        return spec

    return entry.choices(read, allow_none=True)
