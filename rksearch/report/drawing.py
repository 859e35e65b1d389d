"""Drawing of a network as SVG: stem, periods with their time-steps and stages, transitions, head, and the tableaux.

It is drawn from the rows of the layout, from which networks are built too. It needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rksearch.arch.families import family_of
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import Row, layout
from rksearch.arch.period import Period, Steps
from rksearch.arch.spec import ArchSpec
from rksearch.report.rendering import asset, render
from rksearch.results.own_files import PICTURE_HEAD

PART_WIDTH, GAP, LINE, MARGIN = 210, 22, 18, 16
MOST_SHOWN = 8
"""Maximum number of units of a part, or stages of a unit, that are drawn; an ellipsis stands for the others."""

DRAWN_PARTS = 4_096
"""Number of parts that are remembered: a run's networks share most of theirs."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Box of the drawing: title, shape of the output, (label, stages, dashed) of each unit, and notes below."""

    title: str
    flow: str
    units: tuple[tuple[str, int, bool], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPart:
    """A part of a drawing, from its own upper left corner.

    Attributes:
        svg: its elements.
        height: in pixels; the width is `PART_WIDTH` for all.
    """

    svg: str
    height: int


def draw(spec: ArchSpec, shape: ImageShape, images: str) -> str:
    """Draw a network for images of `shape`, called `images` in the title; returns the text of an SVG file.

    Raises:
        SpecError: the images are too small for the network.
    """
    parts = drawn_parts(spec, shape)
    top = MARGIN + 2 * LINE
    return render(
        "drawing.svg",
        head=PICTURE_HEAD,
        title=f"{spec} for {images}",
        width=len(parts) * (PART_WIDTH + GAP) - GAP + 2 * MARGIN,
        height=max(part.height for part in parts) + top + MARGIN,
        parts=[(MARGIN + i * (PART_WIDTH + GAP), part.svg) for i, part in enumerate(parts)],
        top=top,
        margin=MARGIN,
        gap=GAP,
        style=asset("templates/figure.css"),
    )


def drawn_parts(spec: ArchSpec, shape: ImageShape) -> list[DrawnPart]:
    """The parts of a network from the stem to the head, each drawn by itself: networks share many of them.

    Raises:
        SpecError: the images are too small for the network.
    """
    parts: dict[str, list[Row]] = {}
    for row in layout(spec, shape).rows:
        parts.setdefault(row.path.partition(".")[0], []).append(row)
    return [_drawn(_part(name, rows, _period(spec, name))) for name, rows in parts.items()]


@lru_cache(maxsize=DRAWN_PARTS)
def _drawn(part: _Part) -> DrawnPart:
    units = _shortened(part.units)
    height = (2 + len(units) + len(part.notes)) * LINE + 14
    svg = render("part.svg", part=part, units=units, width=PART_WIDTH, height=height, line=LINE, most=MOST_SHOWN)
    return DrawnPart(svg=svg.strip(), height=height)


def _period(spec: ArchSpec, name: str) -> Steps | None:
    periods = family_of(spec).periods(spec)
    return periods[int(name.removeprefix("period")) - 1] if periods and name.startswith("period") else None


def _part(name: str, inside: Sequence[Row], period: Steps | None) -> _Part:
    rows = [row for row in inside if row.kind != "coefficients"]
    last = rows[-1]
    flow = f"{last.out_channels} channels"
    if last.out_size.area > 1:
        flow += f", {last.out_size.height} x {last.out_size.width}"
    if period is None:
        return _Part(name, flow, tuple(_units(name, rows)), ())
    # The last layer of a period outputs a growth; its state is as wide as the input of its first layer.
    first = rows[0]
    flow = f"{first.in_channels} channels, {last.out_size.height} x {last.out_size.width}"
    units = [(f"step {n}", period.s, period.share and n > 1) for n in range(1, period.r + 1)]
    return _Part(f"{name}: {period.s}x{period.r}", flow, tuple(units), tuple(method_lines(period)))


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


def _shortened(units: Sequence[tuple[str, int, bool]]) -> list[tuple[str, int, bool] | None]:
    """All units; or the first ones, None for an ellipsis, and the last one."""
    if len(units) <= MOST_SHOWN:
        return list(units)
    return [*units[: MOST_SHOWN - 2], None, units[-1]]
