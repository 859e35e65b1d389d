"""The report's section on short beside long trainings."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rksearch.report import text
from rksearch.report.sections import Block, Paragraph, ReportTable, TableCell, TableColumn, TableRow
from rksearch.results.short_long import ShortLong, ShortLongRow
from rksearch.space.plan import ErrorMetric


def short_long_sentences(found: ShortLong, metric: ErrorMetric) -> list[str]:
    """What the long trainings say of the short ones."""
    source = found.source
    images = f"{source.train_images:,} training images" if source.train_images else "all training images"
    sentences = [
        f"These networks come from the run {source.name}, which trained them for "
        f"{text.count(source.recipe.epochs, 'epoch')} by the recipe {source.recipe.name} on {images}."
    ]
    if len(found.rows) < 2 or math.isnan(found.correlation):
        sentences.append("Too few networks are trained to say how far the order has stayed.")
    else:
        interval = ""
        if found.interval:
            interval = f" (95 % interval {found.interval[0]:.2f} to {found.interval[1]:.2f})"
        sentences.append(
            f"The rank correlation of the mean {metric.title}s, short against long, is {found.correlation:.2f}"
            f"{interval} over {text.count(len(found.rows), 'network')}, baselines included."
        )
    was = sum(row.on_short_front for row in found.rows)
    if found.left:
        left = f"{len(found.left)} of the {text.count(was, 'network')}"
        sentences.append(f"On the short front and not on the long one: {left}, {text.listing(found.left)}.")
    elif was:
        sentences.append(f"The long front holds every network of the short one that is trained: {was}.")
    return sentences


def short_long_blocks(found: ShortLong, metric: ErrorMetric) -> Iterator[Block]:
    """Words, and a table with one row per network, by rising parameters."""
    yield Paragraph(text=" ".join(short_long_sentences(found, metric)))
    error = metric.title.capitalize()
    columns = (
        TableColumn(label="Architecture"),
        *(
            TableColumn(label=label, numeric=True)
            for label in ("Parameters", f"{error}, short", "Place, short", f"{error}, long", "Place, long")
        ),
        TableColumn(label="Front, short"),
        TableColumn(label="Front, long"),
    )
    yield ReportTable(id="short-long", caption="", columns=columns, rows=tuple(_row(row) for row in found.rows))


def _row(row: ShortLongRow) -> TableRow:
    fronts = (row.on_short_front, row.on_long_front)
    return TableRow(
        cells=(
            TableCell(text=row.item.arch, arch=row.item.arch),
            TableCell(text=text.size(row.item.params)),
            TableCell(text=text.mean_sd(row.short_error_pct, row.short_error_sd_pct)),
            TableCell(text=f"{row.short_rank:g}"),
            TableCell(text=text.mean_sd(row.item.error_pct, row.item.error_sd_pct)),
            TableCell(text=f"{row.long_rank:g}"),
            *(TableCell(text="baseline" if row.item.is_baseline else "yes" if on else "no") for on in fronts),
        ),
    )
