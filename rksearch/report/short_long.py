"""Short beside long trainings in the words and cells of page and README."""

from __future__ import annotations

import math

from rksearch.report import text
from rksearch.report.class_errors import Grid
from rksearch.results.short_long import ShortLong
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
        sentences.append(
            f"{len(found.left)} of the {was} networks of the short front have left it: {text.listing(found.left)}."
        )
    elif was:
        sentences.append(f"All {was} networks of the short front that are trained are on the long one.")
    return sentences


def short_long_grid(found: ShortLong, metric: ErrorMetric) -> Grid:
    """One row per network, by rising parameters."""
    error = metric.title.capitalize()
    head = ("Architecture", "Parameters", f"{error}, short", "Place", f"{error}, long", "Place", "Front, short", "long")
    rows = [
        (
            row.item.arch,
            text.size(row.item.params),
            text.mean_sd(row.short_error_pct, row.short_error_sd_pct),
            f"{row.short_rank:g}",
            text.mean_sd(row.item.error_pct, row.item.error_sd_pct),
            f"{row.long_rank:g}",
            "baseline" if row.item.is_baseline else "yes" if row.on_short_front else "no",
            "baseline" if row.item.is_baseline else "yes" if row.on_long_front else "no",
        )
        for row in found.rows
    ]
    return Grid(head=head, rows=tuple(rows), numeric=(False, True, True, True, True, True, False, False))
