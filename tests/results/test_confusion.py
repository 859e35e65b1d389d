"""Confusion matrices and what follows from them, beside scikit-learn and SciPy."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats  # type: ignore[import-untyped]
from sklearn import metrics as sk

from rksearch.results.codec import from_plain, to_json_bytes, to_plain
from rksearch.results.confusion import Confusion, balanced_error_pct, pooled
from rksearch.results.records import TestResult, TrialResult
from rksearch.results.stats import wilson_interval
from rksearch.space.plan import BALANCED, TOP1

MATRICES = st.integers(2, 8).flatmap(
    lambda classes: st.lists(st.lists(st.integers(0, 5), min_size=classes, max_size=classes), min_size=classes,
                             max_size=classes)
)  # fmt: skip


def of(rows: list[list[int]]) -> Confusion:
    return Confusion.from_matrix(np.array(rows, dtype=np.int64))


@given(MATRICES)
def test_a_record_holds_the_whole_matrix(rows: list[list[int]]) -> None:
    found = of(rows)
    assert found.matrix().tolist() == rows
    assert found.total == sum(map(sum, rows))
    assert from_plain(Confusion, json.loads(json.dumps(to_plain(found)))) == found
    assert {(p.true, p.predicted): p.images for p in found.pairs()} == {
        (i, j): n for i, row in enumerate(rows) for j, n in enumerate(row) if n and i != j
    }


@given(MATRICES, st.integers(1, 3), st.integers(0, 9))
def test_counts_of_several_trainings_are_those_of_added_matrices(rows: list[list[int]], times: int, to: int) -> None:
    """The others have their rows moved, so that they confuse other pairs."""
    matrices = [np.roll(np.array(rows, dtype=np.int64), to * i, axis=0) for i in range(times)]
    found = pooled([Confusion.from_matrix(matrix) for matrix in matrices])
    assert found == Confusion.from_matrix(sum(matrices[1:], start=matrices[0]))
    assert found.errors == tuple(sum(n for _, n in row) for row in found.wrong)


def test_trainings_on_tens_of_thousands_of_classes_are_added_without_their_matrices() -> None:
    classes = 200_000  # whose matrix takes 298 GiB
    one = Confusion.from_pairs(classes, [(0, 0, 3), (0, 7, 1), (classes - 1, 2, 5)])
    assert one.images[0] == 4
    assert pooled([one, one]).pairs() == ((classes - 1, 2, 10), (0, 7, 2))


@given(MATRICES)
@settings(max_examples=60)
def test_balanced_error_and_matrix_are_scikit_learns(rows: list[list[int]]) -> None:
    true = [i for i, row in enumerate(rows) for n in row for _ in range(n)]
    predicted = [j for row in rows for j, n in enumerate(row) for _ in range(n)]
    found = of(rows)
    errors = found.by_class()
    balanced = balanced_error_pct(found.images, [sum(n for _, n in row) for row in found.wrong])
    if not true:
        assert math.isnan(balanced)
        return
    assert sk.confusion_matrix(true, predicted, labels=range(len(rows))).tolist() == found.matrix().tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class may have no image
        assert balanced == pytest.approx(100 * (1 - sk.balanced_accuracy_score(true, predicted)), abs=1e-9)
    for own in errors:
        assert math.isnan(own.error_pct) == (own.images == 0)


def test_the_balanced_error_weighs_each_class_alike() -> None:
    everything_is_0 = of([[90, 0], [10, 0]])
    assert balanced_error_pct(everything_is_0.images, (0, 10)) == 50.0, "top-1 is 10 %"
    assert balanced_error_pct((90, 10, 0), (0, 10, 0)) == 50.0, "a class without images does not count"


@pytest.mark.parametrize(
    ("images", "wrong", "words"),
    [
        ((3,), ((), ()), "one row for each class"),
        ((3, 3), (((0, 1),), ()), "other classes, rising"),
        ((3, 3), (((2, 1),), ()), "other classes, rising"),
        ((3, 3), (((1, 0),), ()), "other classes, rising"),
        ((3, 3, 3), (((2, 1), (1, 1)), (), ()), "other classes, rising"),
        ((3, 3), (((1, 4),), ()), "more of them are wrong"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(
    images: tuple[int, ...], wrong: tuple[tuple[tuple[int, int], ...], ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Confusion(images=images, wrong=wrong)
    plain = {"images": images, "wrong": wrong}
    with pytest.raises(msgspec.ValidationError, match=words):
        from_plain(Confusion, json.loads(json.dumps(plain)))


def test_the_record_of_many_classes_is_short() -> None:
    classes, each = 1000, 50
    matrix = np.zeros((classes, classes), dtype=np.int64)
    rng = np.random.default_rng(0)
    for label in range(classes):
        np.add.at(matrix[label], rng.integers(0, classes, 12), 1)
        matrix[label, label] += each - matrix[label].sum()
    line = to_json_bytes(Confusion.from_matrix(matrix))
    assert len(line) < 150_000, "of a million counts"
    assert from_plain(Confusion, json.loads(line)).matrix().tolist() == matrix.tolist()


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_scipys(counts: tuple[int, int]) -> None:
    events, total = counts
    expected = scipy_stats.binomtest(events, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(events, total, 0.95) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_nothing_is_known_of_a_class_without_images() -> None:
    assert wilson_interval(0, 0, 0.95) == (0.0, 1.0)
    with pytest.raises(ValueError, match="0 <= events <= total"):
        wilson_interval(3, 2, 0.95)


def test_further_trainings_on_the_same_images_narrow_no_interval() -> None:
    one = of([[8, 2], [1, 9]])
    several = pooled([one, one, one])
    assert several.by_class(trainings=3) == one.by_class()
    assert one.by_class()[0].interval_pct == pytest.approx(
        tuple(100 * end for end in wilson_interval(2, 10, 0.95)), abs=1e-12
    )
    with pytest.raises(ValueError, match="matrices of one size"):
        pooled([])
    with pytest.raises(ValueError, match="matrices of one size"):
        pooled([one, of([[1, 0, 0]] * 3)])


EPOCH = {
    "epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_error_pct": 50.0, "val_loss": 1.0, "val_error_pct": 40.0,
    "train_time_s": 1.0,
}  # fmt: skip


def test_records_without_the_new_measurements_are_read_and_written_as_before() -> None:
    epoch = from_plain(TrialResult, {"status": "paused", "epochs": [EPOCH]}).epochs[0]
    assert (epoch.balanced_val_error_pct, epoch.top5_val_error_pct) == (None, None)
    assert epoch.error_pct() == epoch.error_pct(TOP1) == 40.0
    assert math.isnan(epoch.error_pct(BALANCED))
    plain = to_plain(TrialResult(status="complete", epochs=(epoch,)))
    assert plain["epochs"] == [EPOCH]
    assert "val_confusion" not in plain
    reading = TestResult(test_error_pct=1.0, test_loss=None, test_images=10)
    assert to_plain(reading) == {"test_error_pct": 1.0, "test_loss": None, "test_images": 10, "metrics": {}}
    assert reading.error_pct(BALANCED) is None


def test_the_new_measurements_are_written_and_read() -> None:
    confusion = of([[8, 2], [1, 9]])
    (plain_epoch,) = from_plain(TrialResult, {"status": "paused", "epochs": [EPOCH]}).epochs
    epoch = replace(plain_epoch, balanced_val_error_pct=15.0, top5_val_error_pct=2.0)
    result = TrialResult(status="complete", epochs=(epoch,), val_confusion=confusion)
    plain = to_plain(result)
    assert plain["epochs"][0] == {**EPOCH, "balanced_val_error_pct": 15.0, "top5_val_error_pct": 2.0}
    assert plain["val_confusion"] == {"images": [10, 10], "wrong": [[[1, 2]], [[0, 1]]]}
    assert from_plain(TrialResult, plain) == result
    reading = TestResult(
        test_error_pct=15.0, test_loss=1.0, test_images=20, balanced_test_error_pct=15.0, top5_test_error_pct=2.0,
        test_confusion=confusion,
    )  # fmt: skip
    assert from_plain(TestResult, to_plain(reading)) == reading
    with pytest.raises(msgspec.ValidationError, match="balanced_val_error_pct"):
        from_plain(TrialResult, {**plain, "epochs": [{**EPOCH, "balanced_val_error_pct": 101}]})
