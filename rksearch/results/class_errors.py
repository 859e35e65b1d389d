"""Errors by class of the networks on the front: their confusion matrices, means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rksearch.results.confusion import MANY_CLASSES, ClassErrors, ConfusedPair, Confusion, pooled
from rksearch.results.history import History
from rksearch.results.summaries import ArchSummary

SHOWN_PAIRS = 20
"""Number of confused pairs that stand for the matrix of a network of many classes."""

ImagePart = Literal["validation", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassErrorTable:
    """Errors of one network by class, over the images of one part.

    Attributes:
        arch: the network.
        part: the images: those held out for validation, or the test set.
        trainings: number of trainings. All of them predict the same images, so counts are means over them.
        names: names of the classes, by label.
        classes: errors of each class, by label.
        pairs: the most confused pairs, their images summed over the trainings, the most frequent first.
        matrix: images of each true class (row) by predicted class, summed over the trainings; None where there are too
            many classes to show it.
    """

    arch: str
    part: ImagePart
    trainings: int
    names: tuple[str, ...]
    classes: tuple[ClassErrors, ...]
    pairs: tuple[ConfusedPair, ...]
    matrix: tuple[tuple[int, ...], ...] | None


def class_error_tables(items: Iterable[ArchSummary], history: History) -> Iterator[ClassErrorTable]:
    """The tables of some networks, validation images before test images; none where predictions were not recorded."""
    known = history.data.class_names if history.data else ()
    for item in items:
        parts: tuple[tuple[ImagePart, tuple[Confusion, ...]], ...] = (
            ("validation", item.val_confusions),
            ("test", item.test_confusions),
        )
        for part, confusions in parts:
            if confusions and len({confusion.classes for confusion in confusions}) == 1:
                yield _table(item.arch, part, confusions, known)


def _table(arch: str, part: ImagePart, confusions: Sequence[Confusion], known: tuple[str, ...]) -> ClassErrorTable:
    total = pooled(confusions)
    many = total.classes > MANY_CLASSES
    return ClassErrorTable(
        arch=arch,
        part=part,
        trainings=len(confusions),
        names=known if len(known) == total.classes else tuple(map(str, range(total.classes))),
        classes=total.by_class(trainings=len(confusions)),
        pairs=total.pairs(SHOWN_PAIRS),
        matrix=None if many else tuple(map(tuple, total.matrix().tolist())),
    )
