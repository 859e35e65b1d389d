"""The report's section on errors by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rksearch.report import text
from rksearch.report.sections import Block, Fold, Paragraph, ReportTable, TableCell, TableColumn, TableRow
from rksearch.results.class_errors import ClassErrorTable
from rksearch.results.confusion import ClassErrors
from rksearch.results.stats import CONFIDENCE, wilson_interval


def class_errors_title(found: ClassErrorTable) -> str:
    """The network, the images and the trainings of a table."""
    return f"{found.arch}, {found.part} images, {text.count(found.trainings, 'training')}"


def class_errors_summary(found: ClassErrorTable) -> str:
    """The classes of least and of largest error, in words."""
    known = sorted((c for c in found.classes if c.images), key=lambda c: (c.error_pct, c.label))
    if not known:
        return "no images"
    least, most = known[0], known[-1]
    ends = (f"{text.pct(c.error_pct)} ({found.names[c.label]})" for c in (least, most))
    return f"from {' to '.join(ends)}"


def class_errors_note(tables: Sequence[ClassErrorTable]) -> str:
    """Explanation of the tables."""
    what = (
        "Rows of a table are the true classes; the columns on the right count the images by predicted class."
        if tables[0].matrix is not None
        else f"A table lists the {len(tables[0].pairs)} most confused pairs of its network; the ledger has all of them."
    )
    return (
        f"Predictions of each network on the front after the last epoch. {what} Counts are means over the trainings. "
        "Intervals are Wilson's, at 95 %, for other images of the class: they do not include the spread between seeds, "
        "and further seeds make them no narrower, since all trainings see the same images."
    )


def class_error_blocks(tables: Sequence[ClassErrorTable]) -> Iterator[Block]:
    """Explanation, and for each network a table that a click opens: the whole matrix, else the most confused pairs."""
    yield Paragraph(text=class_errors_note(tables))
    for found in tables:
        title = class_errors_title(found)
        grid = _pairs(found, title) if found.matrix is None else _matrix(found, found.matrix, title)
        yield Fold(summary=f"{title}: {class_errors_summary(found)}", table=grid)


def _table(title: str, head: Sequence[str], words: Sequence[int], rows: Sequence[Sequence[str]]) -> ReportTable:
    """A table whose columns hold numbers, except for those in `words`."""
    return ReportTable(
        id=f"classes {title}",
        caption=title,
        columns=tuple(TableColumn(label=label, numeric=i not in words) for i, label in enumerate(head)),
        rows=tuple(TableRow(cells=tuple(TableCell(text=cell) for cell in row)) for row in rows),
    )


def _matrix(found: ClassErrorTable, matrix: tuple[tuple[int, ...], ...], title: str) -> ReportTable:
    rows = []
    for own, counts in zip(found.classes, matrix, strict=True):
        cells = [_count(value / found.trainings) for value in counts]
        rows.append((found.names[own.label], _mean(own.images), *_error(own), *cells))
    head = ("Class", "Images", "Error", "95 % interval", *(f"as {name}" for name in found.names))
    return _table(title, head, (0,), rows)


def _pairs(found: ClassErrorTable, title: str) -> ReportTable:
    head = ("Class", "Images", "Error", "95 % interval", "Taken for", "Images so", "Share", "95 % interval")
    rows = []
    for pair in found.pairs:
        own = found.classes[pair.true]
        wrong = pair.images / found.trainings
        low, high = wilson_interval(wrong, own.images, CONFIDENCE)
        rows.append(
            (
                found.names[pair.true],
                _mean(own.images),
                *_error(own),
                found.names[pair.predicted],
                _count(wrong),
                text.pct(100 * wrong / own.images),
                _interval((100 * low, 100 * high)),
            )
        )
    return _table(title, head, (0, 4), rows)


def _error(own: ClassErrors) -> tuple[str, str]:
    if not own.images:
        return text.MISSING, text.MISSING
    return text.pct(own.error_pct), _interval(own.interval_pct)


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.1f} to {ends[1]:.1f} %"


def _count(value: float) -> str:
    """A mean count, none as nothing."""
    return _mean(value) if value else ""


def _mean(value: float) -> str:
    """A mean count: whole numbers as such, others with one decimal."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
