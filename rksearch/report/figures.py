"""The static figures of a run: fronts, progress, learning curves, distribution of the error, effects of the choices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rksearch.report import axes, text
from rksearch.report.figure import (
    LegendEntry,
    Panel,
    PlotArea,
    PlotAxis,
    PlotCell,
    PlotKind,
    PlotLine,
    PlotMark,
    Shape,
    StaticFigure,
    axis_of,
)
from rksearch.results.dominance import pareto
from rksearch.results.fronts import BAND, front_band, rk_front
from rksearch.results.run_costs import ACTIVATION
from rksearch.results.summaries import ArchSummary, CostFunction, by_params
from rksearch.results.tables import Tables
from rksearch.space.plan import LATENCY

if TYPE_CHECKING:
    from rksearch.results.contrasts import Design, Effect

MOST_CURVES = 200
"""Maximum number of learning curves of other networks behind those of front and baselines."""

MOST_NAMED = 20
"""Number of baselines above which only those on their front have their names beside them."""

CROWD = 2_000
"""Number of networks off the front above which their density is drawn in place of marks."""

BAND_LABEL = f"{BAND:.0%} band of the front".replace("%", " %")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAxis:
    """A cost that a chart can have across.

    Attributes:
        field: of a row of architectures.
        label: name with its unit, for an axis.
        short: the same in a word.
        cost: the cost of an architecture; NaN where it is not known.
    """

    field: str
    label: str
    short: str
    cost: CostFunction


BY_PARAMS = CostAxis(field="params", label="Parameters", short="params", cost=by_params)

LABELS = {
    BY_PARAMS.field: (BY_PARAMS.label, BY_PARAMS.short),
    "macs": ("MACs", "MACs"),
    LATENCY: ("Latency of an image, ms", "latency"),
    ACTIVATION: ("Activation memory of an image, bytes", "memory"),
}
"""Label and short name of every cost."""


def costs_of(tables: Tables) -> list[CostAxis]:
    """The costs that the run has and any of its networks has a value of, in the order of their switches."""
    return [
        CostAxis(field=own.field, label=LABELS[own.field][0], short=LABELS[own.field][1], cost=own.of)
        for own in tables.costs
        if any(own.of(item) > 0 for item in tables.items)
    ] or [BY_PARAMS]


def front_costs(tables: Tables) -> list[CostAxis]:
    """The costs that a figure of the front can have across; none where no network has a finite error."""
    errors = [item for item in tables.items if math.isfinite(item.error_pct)]
    return [axis for axis in costs_of(tables) if any(axis.cost(item) > 0 for item in errors)]


def all_figures(tables: Tables, name: str) -> list[StaticFigure]:
    """Every figure of a run that has something to show; `name` is the run's."""
    if not tables.items:
        return []
    found = [front_figure(tables, name, cost) for cost in costs_of(tables)]
    found += [curves_figure(tables), distribution_figure(tables)]
    return [*found, *(f for f in (progress_figure(tables), effects_figure(tables.effects)) if f is not None)]


def front_figure(tables: Tables, name: str, cost: CostAxis = BY_PARAMS) -> StaticFigure:
    """Cost against error: all networks, the fronts of Runge-Kutta networks and of baselines, baselines by name."""
    by = cost.cost
    error, of_cost = tables.metric.title, cost.label.lower() if cost.field == "params" else cost.label
    what, _, unit = of_cost.partition(", ")
    counted = f"{unit} ({what.lower()})" if unit else of_cost
    alt = f"{of_cost} and {error} of {text.count(len(tables.items), 'architecture')}"
    title, file = name, "front" if cost.field == "params" else f"front_{cost.field}"
    items = [item for item in tables.items if by(item) > 0 and math.isfinite(item.error_pct)]
    if not items:
        return StaticFigure(name=file, title=title, alt=alt, panels=())
    front = rk_front(items, cost=by)
    chosen = {item.arch for item in front}
    low, high = axes.log_range([by(item) for item in items])
    y_low, y_high = axes.error_range(items, front)
    baselines = sorted((i for i in items if i.is_baseline), key=lambda i: (by(i), i.arch))
    others = [i for i in items if not i.is_baseline and i.arch not in chosen]
    lines = [PlotLine(points=tuple(axes.staircase(front, by, 10**high)), kind="front")] if front else []
    if baselines:
        least = axes.staircase(pareto(baselines, cost=by, error=lambda i: i.error_pct), by, 10**high)
        lines.insert(0, PlotLine(points=tuple(least), kind="base"))
    ends = {item.arch for item in (*front[:1], *front[-1:])}
    x = axis_of(f"{cost.label} (log scale)", 10**low, 10**high, axes.log_ticks(low, high), log=True, sizes=True)
    y = axis_of(f"{error.capitalize()}, %", y_low, y_high, axes.linear_ticks(y_low, y_high))
    crowd = others if len(others) > CROWD else []
    named = named_baselines(baselines, by)
    marks = [
        *(_mark(item, by, counted, "") for item in others if not crowd),
        *(_mark(item, by, counted, item.arch if item.arch in named else "") for item in baselines),
        *(
            _mark(item, by, counted, text.pct(item.error_pct) if item.arch in ends else "", front=True)
            for item in front
        ),
    ]
    panel = Panel(
        x=x,
        y=y,
        cells=_density(crowd, by, x, y),
        areas=_band(tables, by, 10**high),
        lines=tuple(lines),
        marks=tuple(marks),
    )
    return StaticFigure(
        name=file, title=title, alt=alt, panels=(panel,), legend=_front_legend(tables, items, front, others)
    )


def named_baselines(baselines: Sequence[ArchSummary], by: CostFunction) -> set[str]:
    """Names of the baselines that have their names beside them: of many, those on their front."""
    if len(baselines) > MOST_NAMED:
        baselines = pareto(baselines, cost=by, error=lambda i: i.error_pct)
    return {item.arch for item in baselines}


def _density(items: Sequence[ArchSummary], cost: CostFunction, x: PlotAxis, y: PlotAxis) -> tuple[PlotCell, ...]:
    if not items:
        return ()
    import numpy as np

    from rksearch.report.density import count_cells, density_cells

    places = np.array([(cost(item), item.error_pct) for item in items], dtype=float).T
    return density_cells(count_cells(places[0], places[1], x, y), x, y)


def _mark(item: ArchSummary, cost: CostFunction, counted: str, label: str, *, front: bool = False) -> PlotMark:
    strong = front or item.is_baseline
    shape: Shape = "square" if item.is_baseline else "diamond" if item.role == "known" else "circle"
    if item.role == "control":
        shape = "triangle"
    sd = item.error_sd_pct if strong else None
    error = f"{item.metric.title} {text.mean_sd(item.error_pct, item.error_sd_pct)}"
    return PlotMark(
        x=cost(item),
        y=item.error_pct,
        kind="front" if front else "base" if item.is_baseline else "control" if shape == "triangle" else "other",
        shape=shape,
        title=f"{item.arch}: {text.size(cost(item))} {counted}, {error}, {text.count(item.seeds, 'seed')}",
        arch=item.arch,
        spread=(item.error_pct - sd, item.error_pct + sd) if sd else None,
        label=label,
        large=strong,
    )


def front_bands(tables: Tables, cost: CostFunction, right: float) -> tuple[list[float], list[float], list[float]]:
    """Corners of the band of the front: costs, lower and upper ends; empty where the spread is not known.

    Args:
        tables: the tables.
        cost: the cost across.
        right: where the band ends.
    """
    searched = sorted((i for i in tables.items if i.is_searched and cost(i) > 0), key=lambda i: (cost(i), i.arch))
    if not searched or not tables.draws.spread_known:
        return [], [], []
    low, high = front_band(tables.draws.of(searched), BAND)
    costs, kept = [cost(i) for i in searched], [0]
    # Only the steps: between them the band is level.
    kept += [i for i in range(1, len(low)) if (low[i], high[i]) != (low[i - 1], high[i - 1])]
    ends = [*kept, len(low) - 1]
    return [*(costs[i] for i in kept), right], [low[i] for i in ends], [high[i] for i in ends]


def _band(tables: Tables, cost: CostFunction, right: float) -> tuple[PlotArea, ...]:
    x, low, high = front_bands(tables, cost, right)
    if not x:
        return ()
    return (PlotArea(x=stepped_x(x), low=stepped(low), high=stepped(high), kind="front"),)


def stepped_x(values: Sequence[float]) -> tuple[float, ...]:
    """Places of the corners of steps at these places: every one but the first twice."""
    return (values[0], *(v for value in values[1:] for v in (value, value)))


def stepped(values: Sequence[float]) -> tuple[float, ...]:
    """Heights of the corners of steps of these heights: every one but the last twice."""
    return (*(v for value in values[:-1] for v in (value, value)), values[-1])


def _front_legend(
    tables: Tables, items: Sequence[ArchSummary], front: Sequence[ArchSummary], others: Sequence[ArchSummary]
) -> tuple[LegendEntry, ...]:
    there = [
        (bool(front), LegendEntry(sample="circle", kind="front", words="Runge-Kutta front")),
        (any(i.is_searched for i in others), LegendEntry(sample="circle", kind="other", words="other Runge-Kutta")),
        (any(i.role == "control" for i in items), LegendEntry(sample="triangle", kind="control", words="control")),
        (any(i.role == "known" for i in items), LegendEntry(sample="diamond", kind="other", words="of the paper")),
        (any(i.is_baseline for i in items), LegendEntry(sample="square", kind="base", words="baselines")),
        (any(i.error_sd_pct for i in items), LegendEntry(sample="bar", kind="front", words="± sd over seeds")),
        (tables.draws.spread_known and bool(front), LegendEntry(sample="area", kind="front", words=BAND_LABEL)),
    ]
    return tuple(entry for shown, entry in there if shown)


def curves_figure(tables: Tables) -> StaticFigure:
    """Error after each epoch, mean over seeds: front and baselines before some of the others."""
    front = [row.item.arch for row in tables.front]
    baselines = [row.item.arch for row in tables.baselines]
    named = {*front, *baselines}
    rest = [row.arch for row in tables.archs if row.arch not in named]
    rest = rest[:: max(1, -(-len(rest) // MOST_CURVES))]
    lines = [_curve(tables, arch, "other", 0) for arch in rest]
    lines += [_curve(tables, arch, "base", 1 + i % 4) for i, arch in enumerate(baselines)]
    lines += [_curve(tables, arch, "front", 0) for arch in front]
    longest = max((len(line.points) for line in lines), default=1)
    errors = [y for line in lines if line.kind != "other" for _, y in line.points]
    errors = errors or [y for line in lines for _, y in line.points] or [0.0, 100.0]
    room = max(0.5, axes.PADDING * (max(errors) - min(errors)))
    y_low, y_high = max(0.0, min(errors) - room), min(100.0, max(errors) + room)
    x_low, x_high = (0.5, 1.5) if longest < 2 else (1.0, float(longest))
    whole = [t for t in axes.linear_ticks(x_low, x_high, 8) if t == int(t)]
    panel = Panel(
        x=axis_of("Epoch", x_low, x_high, whole),
        y=axis_of(f"{tables.metric.title.capitalize()}, %", y_low, y_high, axes.linear_ticks(y_low, y_high)),
        lines=tuple(line for line in lines if line.points),
    )
    entries: list[tuple[bool, PlotKind, str]] = [
        (bool(front), "front", "front"),
        (bool(baselines), "base", "baselines"),
        (bool(rest), "other", "others"),
    ]
    legend = [LegendEntry(sample="line", kind=kind, words=words) for shown, kind, words in entries if shown]
    alt = f"{tables.metric.title} after each epoch, mean over seeds, of {text.count(len(lines), 'network')}"
    return StaticFigure(name="curves", title="Learning curves", alt=alt, panels=(panel,), legend=tuple(legend))


def _curve(tables: Tables, arch: str, kind: PlotKind, dash: int) -> PlotLine:
    points = tuple((float(i), y) for i, y in enumerate(tables.curves[arch], 1) if y == y)
    return PlotLine(points=points, kind=kind, title=arch, dash=dash)


def distribution_figure(tables: Tables) -> StaticFigure:
    """Share of the networks that err no more than each error (EDF), for each role."""
    groups: list[tuple[PlotKind, str, list[float]]] = [
        ("front", "Runge-Kutta networks", [i.error_pct for i in tables.items if i.is_searched]),
        ("control", "control", [i.error_pct for i in tables.items if i.role == "control"]),
        ("base", "baselines", [i.error_pct for i in tables.items if i.is_baseline]),
    ]
    groups = [(kind, words, [e for e in errors if math.isfinite(e)]) for kind, words, errors in groups]
    groups = [group for group in groups if group[2]]
    every = [error for _, _, errors in groups for error in errors] or [0.0, 100.0]
    room = max(0.25, axes.PADDING * (max(every) - min(every)))
    low, high = max(0.0, min(every) - room), min(100.0, max(every) + room)
    panel = Panel(
        x=axis_of(f"{tables.metric.title.capitalize()}, %", low, high, axes.linear_ticks(low, high, 8)),
        y=axis_of("Share of networks", 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0)),
        lines=tuple(PlotLine(points=_steps_up(errors, high), kind=kind, title=words) for kind, words, errors in groups),
    )
    legend = tuple(LegendEntry(sample="line", kind=kind, words=words) for kind, words, _ in groups)
    alt = f"share of the networks with at most a given {tables.metric.title}"
    return StaticFigure(name="distribution", title="Distribution of the error", alt=alt, panels=(panel,), legend=legend)


def _steps_up(values: Iterable[float], right: float) -> tuple[tuple[float, float], ...]:
    """Corners of the empirical distribution function of the values."""
    ordered = sorted(values)
    points = [(v, (i + up) / len(ordered)) for i, v in enumerate(ordered) for up in (0, 1)]
    return (*points, (right, 1.0))


def progress_figure(tables: Tables) -> StaticFigure | None:
    """Regret to the final front on a log axis, against epochs and against hours; None without two points."""
    arms = [arm for arm in tables.histories if len(arm.epochs) > 1]
    values = [v for arm in arms for v in arm.middle if v > 0]
    if not values:
        return None
    low = max(min(values) / 2, max(values) / 1e4)
    high = max(v for arm in arms for v in (*arm.high, *arm.middle)) * 1.15
    kinds: tuple[PlotKind, PlotKind] = ("front", "control")
    panels: list[Panel] = []
    for title, field in (("Epochs spent", "epochs"), ("Hours of work", "hours")):
        spent = max(getattr(arm, field)[-1] for arm in arms)
        if not spent > 0:
            continue
        ticks = axes.linear_ticks(0, spent, 4)
        y_ticks = axes.log_ticks(math.log10(low), math.log10(high))
        areas, lines = list[PlotArea](), list[PlotLine]()
        for arm, kind in zip(arms, kinds, strict=False):
            x = tuple(map(float, getattr(arm, field)))
            areas.append(PlotArea(x=stepped_x(x), low=stepped(arm.low), high=stepped(arm.high), kind=kind))
            corners = tuple(zip(stepped_x(x), stepped(arm.middle), strict=True))
            lines.append(PlotLine(points=corners, kind=kind, title=arm.arm))
        panels.append(
            Panel(
                x=axis_of(title, 0.0, float(spent), ticks),
                y=axis_of("" if panels else "Regret, points", low, high, y_ticks, log=True),
                areas=tuple(areas),
                lines=tuple(lines),
            )
        )
    legend = tuple(LegendEntry(sample="line", kind=kind, words=arm.arm) for arm, kind in zip(arms, kinds, strict=False))
    return StaticFigure(
        name="progress",
        title="Regret to the final front",
        alt="mean distance in error to the final front, against epochs and hours spent, on a log axis",
        panels=tuple(panels),
        legend=legend,
        columns=2,
        width=430,
        height=320,
    )


DESIGNS: tuple[tuple[Design, PlotKind, Shape, float], ...] = (
    ("equal parameters", "front", "circle", 0.2),
    ("equal MACs", "base", "square", 0.0),
    ("all else equal", "other", "diamond", -0.2),
)
"""Ways of matching with their looks, and their offsets within a row."""

RATIO_TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)


def effects_figure(effects: Sequence[Effect]) -> StaticFigure | None:
    """Ratios of the odds of an error with adjusted intervals, one row per choice; None without any interval."""
    shown = [e for e in effects if e.low_adjusted and e.high_adjusted and e.odds_ratio]
    if not shown:
        return None
    changes = list(dict.fromkeys(e.change for e in shown))[::-1]
    place = {change: i for i, change in enumerate(changes)}
    marks = [
        PlotMark(
            x=e.odds_ratio or 1.0,
            y=place[e.change] + offset,
            kind=kind,
            shape=shape,
            title=f"{e.change}, {design}: × {e.odds_ratio:.2f} ({e.low_adjusted:.2f} to {e.high_adjusted:.2f}), "
            f"{text.count(e.pairs, 'pair')}",
            across=(e.low_adjusted or 1.0, e.high_adjusted or 1.0),
            large=True,
        )
        for design, kind, shape, offset in DESIGNS
        for e in shown
        if e.design == design
    ]
    low = min(e.low_adjusted or 1.0 for e in shown) * 0.93
    high = max(e.high_adjusted or 1.0 for e in shown) * 1.07
    low, high = max(min(low, 0.9), 0.05), min(max(high, 1.1), 20.0)
    panel = Panel(
        x=PlotAxis(
            title="Ratio of the odds of an error (left of 1: fewer)",
            low=low,
            high=high,
            ticks=tuple((t, f"{t:g}") for t in RATIO_TICKS if low <= t <= high),
            log=True,
        ),
        y=PlotAxis(
            title="",
            low=-0.6,
            high=len(changes) - 0.4,
            ticks=tuple((float(i), change) for i, change in enumerate(changes)),
        ),
        marks=tuple(marks),
        rules=(1.0,),
    )
    legend = tuple(LegendEntry(sample=shape, kind=kind, words=design) for design, kind, shape, _ in DESIGNS)
    widest = max(len(change) for change in changes)
    return StaticFigure(
        name="effects",
        title="What the choices do",
        alt="ratio of the odds of an error with corrected 95 % intervals, one row for each choice",
        panels=(panel,),
        legend=legend,
        height=90 + 34 * len(changes),
        left=min(330, 24 + round(6.4 * widest)),
    )
