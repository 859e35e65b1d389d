"""Drawing of a network as SVG: stem, periods with their time-steps and stages, transitions, head, and the tableaux.

It is drawn from the rows of the layout, from which networks are built too. It needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from rksearch.arch.families import family_of
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import Layout, Row, layout
from rksearch.arch.period import Period, Steps
from rksearch.arch.spec import ArchSpec

PART_WIDTH, GAP, LINE, MARGIN = 210, 22, 18, 16
MOST_SHOWN = 8
"""Maximum number of units of a part, or stages of a unit, that are drawn; an ellipsis stands for the others."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Box of the drawing: title, shape of the output, (label, stages, dashed) of each unit, and notes below."""

    title: str
    flow: str
    units: list[tuple[str, int, bool]]
    notes: list[str]


def draw(spec: ArchSpec, shape: ImageShape, images: str) -> str:
    """Draw a network for images of `shape`, called `images` in the title; returns the text of an SVG file.

    Raises:
        SpecError: the images are too small for the network.
    """
    net = layout(spec, shape)
    names = list(dict.fromkeys(row.path.split(".")[0] for row in net.rows))
    parts = [_part(net, name, _period(spec, name)) for name in names]
    heights = [(2 + len(_shortened(p.units)) + len(p.notes)) * LINE + 14 for p in parts]
    width = len(parts) * (PART_WIDTH + GAP) - GAP + 2 * MARGIN
    height = max(heights) + 2 * MARGIN + 2 * LINE
    shapes = [_text(MARGIN, MARGIN + LINE - 4, f"{spec} for {images}", "title")]
    for i, (part, tall) in enumerate(zip(parts, heights, strict=True)):
        left, top = MARGIN + i * (PART_WIDTH + GAP), MARGIN + 2 * LINE
        if i:
            middle = top + 22
            shapes.append(f'<path class="flow" d="M{left - GAP + 2} {middle}H{left - 3}" marker-end="url(#tip)"/>')
        shapes += _box(part, left, top, tall)
    return _page(width, height, str(spec), shapes)


def _period(spec: ArchSpec, name: str) -> Steps | None:
    periods = family_of(spec).periods(spec)
    return periods[int(name.removeprefix("period")) - 1] if periods and name.startswith("period") else None


def _part(net: Layout, name: str, period: Steps | None) -> _Part:
    rows = [row for row in net.under(name) if row.kind != "coefficients"]
    last = rows[-1]
    flow = f"{last.out_channels} channels"
    if last.out_size.area > 1:
        flow += f", {last.out_size.height} x {last.out_size.width}"
    if period is None:
        return _Part(name, flow, _units(name, rows), [])
    # The last layer of a period outputs a growth; its state is as wide as the input of its first layer.
    first = rows[0]
    flow = f"{first.in_channels} channels, {last.out_size.height} x {last.out_size.width}"
    units = [(f"step {n}", period.s, period.share and n > 1) for n in range(1, period.r + 1)]
    return _Part(f"{name}: {period.s}x{period.r}", flow, units, method_lines(period))


def _units(name: str, rows: Sequence[Row]) -> list[tuple[str, int, bool]]:
    """Units directly below a part, each with the number of units below it."""
    inside: dict[str, dict[str, None]] = {}
    for row in rows:
        unit, *rest = row.path[len(name) + 1 :].split(".")
        inside.setdefault(unit, {}).update({rest[0]: None} if len(rest) > 1 else {})
    return [(unit, len(below), False) for unit, below in inside.items()]


def method_lines(period: Steps) -> list[str]:
    """Lines of text on the Runge-Kutta method of a period: its tableau, or a description of the learned method."""
    solver = period.solver
    if solver is None:
        stage = f"a stage is {period.m} layers" if isinstance(period, Period) else "a stage is one block"
        lines = ["learned method:", "stages see all before them", "next y = y + Σ k_i", stage]
    else:
        method = solver.method
        kind = "explicit" if method.explicit else f"implicit, {solver.sweeps} sweeps"
        lines = [f"{solver.tableau}, order {method.order}, {kind}"]
        lines += [f"{c} | " + "  ".join(str(x) for x in row) for c, row in zip(method.c, method.a, strict=True)]
        lines += ["b | " + "  ".join(str(b) for b in method.b)]
        lines += [f"h = {solver.h:g}" + (", learns" if solver.learn_h else "")]
        lines += ["a and b learn from there"] if solver.trainable else []
        lines += ["stages share convolutions"] if solver.tie else []
    return [*lines, *(["dashed steps share convolutions"] if period.share else [])]


def _shortened(units: list[tuple[str, int, bool]]) -> list[tuple[str, int, bool] | None]:
    """All units; or the first ones, None for an ellipsis, and the last one."""
    if len(units) <= MOST_SHOWN:
        return list(units)
    return [*units[: MOST_SHOWN - 2], None, units[-1]]


def _box(part: _Part, left: int, top: int, tall: int) -> list[str]:
    shapes = [
        f'<rect class="part" x="{left}" y="{top}" width="{PART_WIDTH}" height="{tall}" rx="6"/>',
        _text(left + 8, top + LINE - 3, part.title, "name"),
        _text(left + 8, top + 2 * LINE - 5, part.flow, "note"),
    ]
    y = top + 2 * LINE
    for unit in _shortened(part.units):
        if unit is None:
            shapes.append(_text(left + 12, y + 13, f"... {len(part.units)} in all", "note"))
        else:
            label, stages, dashed = unit
            style = "unit shared" if dashed else "unit"
            shapes.append(f'<rect class="{style}" x="{left + 6}" y="{y + 2}" width="{PART_WIDTH - 12}" height="15"/>')
            shapes.append(_text(left + 12, y + 13, label, "note"))
            shapes += _stages(stages, left + 76, y + 5)
        y += LINE
    return shapes + [_text(left + 8, y + 13 + i * LINE, note, "method") for i, note in enumerate(part.notes)]


def _stages(count: int, left: int, y: int) -> list[str]:
    shown = min(count, MOST_SHOWN)
    squares = [f'<rect class="stage" x="{left + 11 * i}" y="{y}" width="9" height="9"/>' for i in range(shown)]
    return squares + ([_text(left + 11 * shown + 2, y + 8, f"x{count}", "note")] if count > shown else [])


def _text(x: int, y: int, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(words)}</text>'


def _page(width: int, height: int, title: str, shapes: list[str]) -> str:
    body = "\n".join(shapes)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<title>{escape(title)}</title>
<style>
text {{ font: 11px system-ui, sans-serif; fill: #222; }}
.title {{ font-size: 14px; font-weight: 600; }} .name {{ font-weight: 600; }} .method {{ font-family: monospace; }}
.part {{ fill: #f6f7f9; stroke: #8a93a3; }} .unit {{ fill: #fff; stroke: #b5bcc8; }}
.shared {{ stroke-dasharray: 3 2; }} .stage {{ fill: #4477aa; }} .flow {{ stroke: #555; fill: none; }}
</style>
<defs><marker id="tip" markerWidth="6" markerHeight="6" refX="5" refY="3" orient="auto">
<path d="M0 0L6 3L0 6z" fill="#555"/></marker></defs>
<rect width="{width}" height="{height}" fill="#fff"/>
{body}
</svg>
"""
