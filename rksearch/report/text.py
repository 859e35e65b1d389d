"""Numbers and lists as people read them; tables store raw numbers and only reports call these."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "–"

MOST_LISTED = 20
"""Unreadable images that a sentence names."""


def size(value: float) -> str:
    """A number with three significant digits and a unit prefix: `999`, `12.3k`, `0.77M` is `769k`.

    Fractions below ten have two, as `0.25`.
    """
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 is a million when rounded to three digits, not 1000k.
        if value >= factor * 0.9995:
            scaled = value / factor
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f}{suffix}"
    # The sign # keeps zeros (0.20), and leaves a point where 9.96 becomes 10.
    return f"{value:#.2g}".rstrip(".") if value < 10 and value != round(value) else f"{value:.0f}"


def tick(value: float) -> str:
    """An axis label: like `size`, without trailing zeros."""
    text = size(value)
    number, suffix = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + suffix


def pct(value: float) -> str:
    """An error with two decimals and its unit."""
    return f"{value:.2f} %"


def mean_sd(mean: float | None, sd: float | None) -> str:
    """A mean with its spread, `12.34 ± 0.12 %`; without the spread where there is none."""
    if mean is None:
        return MISSING
    return pct(mean) if sd is None else f"{mean:.2f} ± {sd:.2f} %"


def share(value: float) -> str:
    """A probability in whole percent; `< 1 %` and `> 99 %` where rounding would make it look certain."""
    shown = percent(value)
    if shown == 0 and value > 0:
        return "< 1 %"
    return "> 99 %" if shown == 100 and value < 1 else f"{shown} %"


def percent(value: float) -> int:
    """A probability in the whole percent that `share` shows: counts of probabilities count these."""
    return round(100 * value)


def points(value: float) -> str:
    """A signed difference of errors, in percentage points."""
    # Adding zero turns the -0.00 of a rounded negative into 0.00.
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def pct_points(value: float) -> str:
    """A difference of errors without a sign: `2.30 points`."""
    return f"{value:.2f} points"


def times(ratio: float) -> str:
    """A ratio: `× 3.40`."""
    return f"× {ratio:.2f}"


def as_much(ratio: float) -> str:
    """A ratio before a noun: `3.40 times` its parameters."""
    return f"{ratio:.2f} times"


def duration(seconds: float) -> str:
    """A duration: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def clock_text(seconds: float | None) -> str:
    """`1:02:03`, or `?` when unknown or without end."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: `1 seed`, `2 seeds`, `1,200 images`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def listing(words: Sequence[str]) -> str:
    """A list of words: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def unreadable(images: Sequence[str]) -> str:
    """A sentence on streamed images that could not be read, each with its reason; empty where there are none."""
    if not images:
        return ""
    more = "" if len(images) <= MOST_LISTED else ", ..."
    counts = "counts" if len(images) == 1 else "count"
    named = ", ".join(images[:MOST_LISTED])
    return f"{count(len(images), 'image')} could not be read and {counts} nowhere: {named}{more}"


def one_line(text: str) -> str:
    """The text with every run of white space made one space, and controls of terminals and of direction made `?`."""
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(char if char.isprintable() else "?" for char in words)


def gap(value: float, bounds: tuple[float, float] | None) -> str:
    """A gap with its interval, `−1.34 (−3.10 to +0.42)`, in percentage points; without one where there is none."""
    return points(value) + (f" ({points(bounds[0])} to {points(bounds[1])})" if bounds else "")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines for a terminal: the first column begins at the left, the others end at the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for Markdown: the first column begins at the left, the others end at the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
