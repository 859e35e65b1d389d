"""The report's section on the effects of design choices: words, picture and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from rksearch.report import text
from rksearch.space.plan import TOP1, ErrorMetric

if TYPE_CHECKING:
    from rksearch.results.contrasts import Effect

NOTE = (
    "Each row compares trained networks that differ in one choice, over matched pairs; the number is the ratio of the "
    "odds of an error, after against before: × 0.80 means four errors where there were five. With equal parameters or "
    "equal MACs (within 10 %), what the choice costs is missing elsewhere in the network; with all else equal, it "
    "comes on top. Intervals are 95 %, clustered by architecture, and not corrected for their number: of twenty "
    "choices that do nothing, one would seem to do something."
)


def answered(effects: Iterable[Effect]) -> bool:
    """Whether any contrast rests on enough architectures for an interval."""
    return any(effect.low is not None for effect in effects)


def by_change(effects: Iterable[Effect]) -> dict[str, dict[str, Effect]]:
    """The effects by their change, then by the way in which pairs were matched."""
    rows: dict[str, dict[str, Effect]] = {}
    for effect in effects:
        rows.setdefault(effect.change, {})[effect.design] = effect
    return rows


def ratio(effect: Effect | None) -> str:
    """The ratio with its interval, `× 0.82 (0.72 to 0.93)`; the reason where there is none."""
    if effect is None or effect.odds_ratio is None:
        return text.MISSING
    if effect.low is None or effect.high is None:
        return "too few to say"
    return f"× {effect.odds_ratio:.2f} ({effect.low:.2f} to {effect.high:.2f})"


def summary(effects: Sequence[Effect]) -> str:
    """The distinguishable effects at equal parameters, in words."""
    equal = [e for e in effects if e.design == "equal parameters" and e.low is not None]
    if not equal:
        return (
            "Too few architectures were trained to the end to say what a single choice does at equal parameters: at "
            "least four on either side must match."
        )
    parts = []
    for answer in ("fewer errors", "more errors"):
        found = [f"{e.change} (×\u00a0{e.odds_ratio:.2f})" for e in equal if e.answer == answer]
        if found:
            parts.append(f"{answer}: {'; '.join(found)}.")
    rest = sum(e.answer == "not distinguishable" for e in equal)
    parts.append(f"{rest} of {text.count(len(equal), 'choice')}: not distinguishable from doing nothing.")
    return f"At equal parameters, {' '.join(p[0].upper() + p[1:] if i else p for i, p in enumerate(parts))}"


def note(metric: ErrorMetric) -> str:
    """Explanation of the table; it says so where the odds are of another error than top-1."""
    return NOTE if metric == TOP1 else f"{NOTE} The error here is the {metric.title}."


def choices_html(effects: Sequence[Effect], importances: Mapping[str, float] | None, metric: ErrorMetric = TOP1) -> str:
    """Words, picture and table; without an answer in any design, the words alone.

    Args:
        effects: of the choices on the error.
        importances: share of the variance that each choice explains, by name.
        metric: the error.
    """
    parts = [f'<p class="lead">{escape(summary(effects))}</p>']
    if answered(effects):
        parts.append(f'<p class="lead">{escape(note(metric))}</p>')
        parts.append(f'<div class="chart" id="effects" style="height:{_height(effects)}px"></div>')
        parts.append(_table(effects))
    if importances:
        parts.append(_importances(importances))
    return "".join(parts)


def _table(effects: Sequence[Effect]) -> str:
    head = ["Choice", "Equal parameters", "Pairs", "Equal MACs", "Pairs", "All else equal", "Pairs"]
    head += ["Parameters", "MACs"]
    cells = "".join(f'<th scope="col"{_align(i)}>{h}</th>' for i, h in enumerate(head))
    rows = []
    for change, by_design in by_change(effects).items():
        row = [escape(change)]
        for design in ("equal parameters", "equal MACs", "all else equal"):
            effect = by_design.get(design)
            row += [_marked(effect), f"{effect.pairs:,}" if effect else text.MISSING]
        alone = by_design.get("all else equal")
        row += [_times(alone.params_ratio if alone else None), _times(alone.macs_ratio if alone else None)]
        rows.append("<tr>" + "".join(f"<td{_align(i)}>{value}</td>" for i, value in enumerate(row)) + "</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="effects"><table class="effects">'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="lead after">The last two columns say by how much the choice multiplies the costs with all else '
        "equal.</p>"
    )


def _align(column: int) -> str:
    return ' class="n"' if column else ""


def _marked(effect: Effect | None) -> str:
    css = {"fewer errors": "better", "more errors": "worse"}.get(effect.answer if effect else "", "")
    return f'<span class="{css}">{ratio(effect)}</span>' if css else ratio(effect)


def _times(value: float | None) -> str:
    return f"× {value:.2f}" if value is not None else text.MISSING


def _importances(importances: Mapping[str, float]) -> str:
    rows = "".join(
        f'<dt>{escape(name)}</dt><dd><span class="bar" style="width:{60 * share:.1f}%"></span>{text.share(share)}</dd>'
        for name, share in sorted(importances.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    return (
        '<p class="lead after">Beside it, how much of the variance of the log-odds of an error each choice alone '
        "explains over the trained networks, whatever they cost (functional ANOVA, by Optuna):</p>"
        f'<dl class="facts bars">{rows}</dl>'
    )


def choices_markdown(effects: Sequence[Effect], escaped: Any, metric: ErrorMetric = TOP1) -> list[str]:
    """Words and the table of the contrasts with an interval; `escaped` makes markup literal, `metric` is the error."""
    parts = [escaped(summary(effects))]
    if not answered(effects):
        return parts
    lines = ["| Choice | Equal parameters | Equal MACs | All else equal |", "| --- | ---: | ---: | ---: |"]
    for change, by_design in by_change(effects).items():
        if answered(by_design.values()):
            designs = (by_design.get(d) for d in ("equal parameters", "equal MACs", "all else equal"))
            cells = (f"{ratio(e)}, {text.count(e.pairs, 'pair')}" if e else text.MISSING for e in designs)
            lines.append(f"| {escaped(change)} | {' | '.join(cells)} |")
    return [*parts, escaped(note(metric)), "\n".join(lines)]


def _height(effects: Sequence[Effect]) -> int:
    shown = {e.change for e in effects if e.low is not None}
    return 120 + 34 * len(shown)


def effects_figure(effects: Sequence[Effect], layout: dict[str, Any], axis: Any) -> dict[str, Any]:
    """The ratios with their intervals, one line per choice, the designs beside one another.

    Args:
        effects: the effects; those with an interval are shown.
        layout: layout that all charts share.
        axis: function that makes an axis with a title.
    """
    changes = list(dict.fromkeys(e.change for e in effects if e.low is not None))[::-1]
    place = {change: i for i, change in enumerate(changes)}
    designs = (
        ("equal parameters", "--front", "circle", 0.2),
        ("equal MACs", "--base", "square", 0.0),
        ("all else equal", "--muted", "diamond", -0.2),
    )
    traces = []
    for design, colour, symbol, offset in designs:
        shown = [e for e in effects if e.design == design and e.low is not None and e.high is not None]
        points = [(e, e.odds_ratio or 1.0, e.low or 1.0, e.high or 1.0) for e in shown]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": design.capitalize().replace("macs", "MACs"),
                "x": [round(value, 4) for _, value, _, _ in points],
                "y": [place[e.change] + offset for e, *_ in points],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [round(high - value, 4) for _, value, _, high in points],
                    "arrayminus": [round(value - low, 4) for _, value, low, _ in points],
                    "color": colour,
                    "thickness": 1.6,
                    "width": 0,
                },
                "hovertext": [
                    f"<b>{escape(e.change)}</b><br>{design}: {ratio(e)}<br>{e.answer}<br>{text.count(e.pairs, 'pair')} "
                    f"of {e.archs_before} and {e.archs_after} networks"
                    for e, *_ in points
                ],
                "hovertemplate": "%{hovertext}<extra></extra>",
                "marker": {"color": colour, "size": 9, "symbol": symbol, "line": {"color": "--card", "width": 1}},
            }
        )
    line = {"type": "line", "x0": 1, "x1": 1, "y0": -0.6, "y1": len(changes) - 0.4}
    ends = [end for e in effects if e.low and e.high for end in (e.low, e.high)]
    ticks = [t for t in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10)
             if min(ends) * 0.9 <= t <= max(ends) * 1.1]  # fmt: skip
    return {
        "data": traces,
        "layout": {
            **layout,
            "xaxis": {
                **axis("Odds of an error, ratio (log scale); left of 1: fewer errors"),
                "type": "log",
                "tickvals": ticks,
                "ticktext": [f"{t:g}" for t in ticks],
            },
            "yaxis": {
                **axis(""),
                "tickvals": list(range(len(changes))),
                "ticktext": [escape(change) for change in changes],
                "range": [-0.6, len(changes) - 0.4],
                "showgrid": False,
            },
            "shapes": [{**line, "line": {"color": "--text-3", "width": 1, "dash": "dot"}}],
        },
    }
