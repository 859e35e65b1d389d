"""Predictions of a network counted by class: the confusion matrix, kept as its errors alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rksearch.results.stats import CONFIDENCE, wilson_interval

if TYPE_CHECKING:
    from rksearch.arch.arrays import Integers


MANY_CLASSES = 20
"""Above this number of classes, top-5 errors are measured, and confused pairs are shown instead of whole matrices: of
fewer classes five are a large part, and a matrix fits on a page."""


class ConfusedPair(NamedTuple):
    """Images of class `true` for which class `predicted` was the most probable one, and their number."""

    true: int
    predicted: int
    images: int


class ClassErrors(NamedTuple):
    """Errors on the images of one class.

    Attributes:
        label: index of the class.
        images: number of its images; a mean over trainings where there are several, which differ where one could not
            read an image that another could.
        wrong: number of them that were given another class; a mean likewise.
        error_pct: share of the wrong ones; NaN without an image.
        interval_pct: Wilson's 95 % interval of that share for images like these; (0, 100) without an image.
    """

    label: int
    images: float
    wrong: float
    error_pct: float
    interval_pct: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """A confusion matrix: of each class, the number of images and what the wrong ones were taken for.

    The diagonal follows from the rest, and a network of many classes confuses few pairs: the record holds only those.

    Attributes:
        images: number of images of each class.
        wrong: per true class, pairs of a predicted class and the number of images, by predicted class.

    Raises:
        ValueError: the counts contradict each other.
    """

    images: tuple[int, ...]
    wrong: tuple[tuple[tuple[int, int], ...], ...]

    def __post_init__(self) -> None:
        if len(self.wrong) != len(self.images):
            raise ValueError(
                f"a confusion matrix has one row for each class, but got {len(self.images)} classes and "
                f"{len(self.wrong)} rows"
            )
        for label, (images, row) in enumerate(zip(self.images, self.wrong, strict=True)):
            predicted = [other for other, _ in row]
            fits = all(0 <= other < len(self.images) and other != label for other in predicted)
            if not fits or sorted(set(predicted)) != predicted or any(count < 1 for _, count in row):
                raise ValueError(
                    f"a row lists other classes, rising, with counts from 1 on, but that of class {label} is {row!r}"
                )
            if sum(count for _, count in row) > images:
                raise ValueError(f"class {label} has {images} images, but more of them are wrong: {row!r}")

    @classmethod
    def from_matrix(cls, matrix: Integers) -> Confusion:
        """The record of a matrix (classes, classes) of counts; rows are the true classes."""
        import numpy as np

        pairs = np.argwhere(matrix).tolist()
        return cls.from_pairs(len(matrix), ((label, other, int(matrix[label, other])) for label, other in pairs))

    @classmethod
    def from_pairs(cls, classes: int, pairs: Iterable[tuple[int, int, int]]) -> Confusion:
        """The record of counts without their matrix, which takes gigabytes for tens of thousands of classes.

        Args:
            classes: number of classes.
            pairs: true class, predicted class (equal ones included) and number of images; each pair once, rising.
        """
        images = [0] * classes
        rows: list[list[tuple[int, int]]] = [[] for _ in range(classes)]
        for label, other, count in pairs:
            images[label] += count
            if label != other:
                rows[label].append((other, count))
        return cls(images=tuple(images), wrong=tuple(map(tuple, rows)))

    def matrix(self) -> Integers:
        """The counts (classes, classes), int64; rows are the true classes."""
        import numpy as np

        found = np.zeros((self.classes, self.classes), dtype=np.int64)
        for label, row in enumerate(self.wrong):
            for other, count in row:
                found[label, other] = count
            found[label, label] = self.images[label] - sum(count for _, count in row)
        return found

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.images)

    @property
    def errors(self) -> tuple[int, ...]:
        """Number of images of each class that were given another one."""
        return tuple(sum(count for _, count in row) for row in self.wrong)

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(self.images)

    def by_class(self, trainings: int = 1) -> tuple[ClassErrors, ...]:
        """The errors of each class, in the order of the classes.

        Args:
            trainings: number of trainings on the same images whose counts were added here. They do not add images, so
                intervals are no narrower for them: counts are means over the trainings.
        """
        found = []
        for label, (added, row) in enumerate(zip(self.images, self.wrong, strict=True)):
            wrong = sum(count for _, count in row) / trainings
            images = added / trainings if added % trainings else added // trainings
            low, high = wilson_interval(wrong, images, CONFIDENCE)
            error = 100 * wrong / images if images else math.nan
            found.append(ClassErrors(label, images, wrong, error, (100 * low, 100 * high)))
        return tuple(found)

    def pairs(self, most: int | None = None) -> tuple[ConfusedPair, ...]:
        """Confused pairs of classes, the most frequent first and then by class; at most `most` of them."""
        found = [ConfusedPair(label, other, count) for label, row in enumerate(self.wrong) for other, count in row]
        found.sort(key=lambda pair: (-pair.images, pair.true, pair.predicted))
        return tuple(found[:most])


def balanced_error_pct(images: Sequence[int], wrong: Sequence[int]) -> float:
    """Mean over the classes of each class's error, in percent; classes without an image do not count.

    It is one minus scikit-learn's `balanced_accuracy_score`. NaN where no class has an image.

    Args:
        images, wrong: number of images of each class, and of those that were given another class.
    """
    errors = [100 * w / n for n, w in zip(images, wrong, strict=True) if n]
    return math.fsum(errors) / len(errors) if errors else math.nan


def pooled(confusions: Sequence[Confusion]) -> Confusion:
    """The counts of several trainings, added.

    Raises:
        ValueError: there are none, or their classes differ in number.
    """
    if len({confusion.classes for confusion in confusions}) != 1:
        raise ValueError(f"matrices of one size are needed, but got {[c.classes for c in confusions]}")
    added: list[Counter[int]] = [Counter() for _ in confusions[0].images]
    for confusion in confusions:
        for counts, row in zip(added, confusion.wrong, strict=True):
            counts.update(dict(row))
    return Confusion(
        images=tuple(map(sum, zip(*(confusion.images for confusion in confusions), strict=True))),
        wrong=tuple(tuple(sorted(counts.items())) for counts in added),
    )
