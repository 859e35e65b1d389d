"""Places of labels beside marks, where they cover nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

CHARACTER = 7.7
"""Width of a bold character of 12 pixels, an upper estimate that suits common sans-serif fonts."""

LINE = 15.0
"""Height of a label."""

MOST_COVERED = 0.3
"""Share of a label that may lie on marks and lines: it may cross a line, but hides no group of marks."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle in pixels, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Rectangle) -> float:
        """Area that both cover."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)

    def holds(self, other: Rectangle) -> bool:
        """Whether the other lies within it."""
        return self.overlap(other) >= other.width * other.height - 1e-9


def place_labels(
    labels: Sequence[tuple[float, float, str]], obstacles: Sequence[Rectangle], inside: Rectangle
) -> list[Rectangle | None]:
    """The rectangle of each label; None for one that finds no place: its name stands in the title of its mark.

    Labels never cover one another and never leave `inside`; among the places that remain, the one that covers the least
    of the obstacles is taken, the nearest of equals, if that is at most `MOST_COVERED` of it.

    Args:
        labels: x, y of the mark and the words, the most important first.
        obstacles: rectangles of marks and lines, which labels should not cover.
        inside: the room that there is.
    """
    placed: list[Rectangle | None] = []
    for x, y, words in labels:
        width = len(words) * CHARACTER
        free = [
            box
            for box in _around(x, y, width)
            if inside.holds(box) and not any(other.overlap(box) for other in placed if other is not None)
        ]
        covered, best = min(((sum(map(box.overlap, obstacles)), i) for i, box in enumerate(free)), default=(0.0, None))
        placed.append(free[best] if best is not None and covered <= MOST_COVERED * width * LINE else None)
    return placed


def _around(x: float, y: float, width: float) -> list[Rectangle]:
    """Places around a mark, the nearest first."""
    corners = [(x + 10, y - 7), (x - 10 - width, y - 7), (x - width / 2, y - 26), (x - width / 2, y + 12)]
    corners += [(x + 7, y - 23), (x + 7, y + 9), (x - 7 - width, y - 23), (x - 7 - width, y + 9)]
    corners += [(x + 12, y - 40), (x + 12, y + 26), (x - 12 - width, y + 26), (x - 12 - width, y - 40)]
    return [Rectangle(left, top, width, LINE) for left, top in corners]


def obstacles(marks: Sequence[tuple[float, float]], lines: Sequence[Sequence[tuple[float, float]]]) -> list[Rectangle]:
    """Rectangles around marks, and along the level and upright pieces of lines, in pixels."""
    found = [Rectangle(x - 6, y - 6, 12, 12) for x, y in marks]
    for line in lines:
        for (x1, y1), (x2, y2) in pairwise(line):
            found.append(Rectangle(min(x1, x2) - 2, min(y1, y2) - 2, abs(x2 - x1) + 4, abs(y2 - y1) + 4))
    return found
