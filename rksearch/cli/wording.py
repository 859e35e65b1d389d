"""Errors of a network in words, as commands print them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rksearch.results.confusion import MANY_CLASSES, Confusion
from rksearch.results.records import Epoch, TestResult
from rksearch.space.plan import TOP1

PRINTED_PAIRS = 5
"""Number of confused pairs that are printed for a network of many classes."""


def validated_text(epoch: Epoch) -> str:
    """The errors after an epoch: `validation error 12.34 %, balanced 20.12 %, top-5 2.10 %`; without those missing."""
    return f"{TOP1.title} {epoch.val_error_pct:.2f} %{_others(epoch.balanced_val_error_pct, epoch.top5_val_error_pct)}"


def tested_text(result: TestResult) -> str:
    """The errors of a reading of the test set, in the words of `validated_text`."""
    others = _others(result.balanced_test_error_pct, result.top5_test_error_pct)
    return f"{TOP1.test_title} {result.test_error_pct:.2f} %{others}"


def _others(balanced_pct: float | None, top5_pct: float | None) -> str:
    known = (("balanced", balanced_pct), ("top-5", top5_pct))
    return "".join(f", {name} {value:.2f} %" for name, value in known if value is not None)


def classes_text(confusion: Confusion | None, names: Sequence[str] = ()) -> str:
    """Errors by class with 95 % intervals, in a line; the most confused pairs where there are many classes.

    Args:
        confusion: the predictions; None gives an empty line.
        names: names of the classes, by label; their labels where there are none.
    """
    if confusion is None:
        return ""
    names = names or [str(label) for label in range(confusion.classes)]
    if confusion.classes > MANY_CLASSES:
        pairs = confusion.pairs(PRINTED_PAIRS)
        found = (f"{names[p.true]} as {names[p.predicted]} {p.images} of {confusion.images[p.true]}" for p in pairs)
        return f"most confused: {'; '.join(found) or 'none'}"
    by_class = (
        f"{names[c.label]} {c.error_pct:.1f} % ({c.interval_pct[0]:.1f} to {c.interval_pct[1]:.1f}, {c.images} images)"
        for c in confusion.by_class()
        if not math.isnan(c.error_pct)
    )
    return f"by class: {'; '.join(by_class)}"
