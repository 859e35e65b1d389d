"""Errors that a pass over images measures, beside scikit-learn, and what the pass asks of the host."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rksearch.arch import parse
from rksearch.bench.allocation import allocated_peak
from rksearch.data.batches import DeviceImages
from rksearch.data.facts import dataset
from rksearch.data.images import load_images
from rksearch.models import build
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.confusion import Confusion, balanced_error_pct
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.training import trial as trial_module
from rksearch.training.execution import Execution
from rksearch.training.memory import footprint
from rksearch.training.trainer import Pass, evaluate, rank_of
from rksearch.training.trial import run_trial
from tests.helpers.trainings import CPU, DATA, images, trainer

COUNT = 700
"""Images; more than a batch holds when `batches` is given 256."""


class Given(nn.Module):
    """Gives the logits of a table: an image holds the index of its row in its first two pixels."""

    logits: Tensor

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, images: Tensor) -> Tensor:
        places = images[:, 0, 0, 0].round().long() * 200 + images[:, 0, 0, 1].round().long()
        return self.logits[places]


PLAIN = replace(DATA, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def pass_of(logits: Tensor, labels: Tensor, device: torch.device = CPU) -> Pass:
    count = len(labels)
    pixels = torch.zeros((count, 3, 2, 2), dtype=torch.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = torch.arange(count) // 200, torch.arange(count) % 200
    return evaluate(Given(logits).to(device), DeviceImages(pixels, labels, PLAIN, device), "fp32")


def unbalanced(classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than not, and labels of which half are of class 0."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (COUNT,), generator=generator)
    labels[: COUNT // 2] = 0
    logits = torch.randn((COUNT, classes), generator=generator)
    logits[torch.arange(COUNT), labels] += 1.5
    return logits, labels


@pytest.mark.parametrize("classes", [10, 100])
def test_a_device_without_float64_counts_the_same_errors(monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    logits, labels = unbalanced(classes)
    expected = pass_of(logits, labels)
    monkeypatch.setattr("rksearch.training.trainer.widest_float", lambda device: torch.float32)
    found = pass_of(logits, labels)
    assert found._replace(loss=expected.loss) == expected
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 20, 21, 100])
def test_errors_are_scikit_learns(classes: int) -> None:
    logits, labels = unbalanced(classes)
    found = pass_of(logits, labels)
    predicted = logits.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many classes, some may have no image
        balanced = sk.balanced_accuracy_score(labels, predicted)
    assert found.error_pct == 100 * int((predicted != labels).sum()) / COUNT
    assert found.balanced_error_pct == pytest.approx(100 * (1 - balanced), abs=1e-9)
    assert found.confusion is not None
    expected = sk.confusion_matrix(labels, predicted, labels=range(classes))
    assert found.confusion.matrix().tolist() == expected.tolist()
    if classes <= 20:
        assert found.top5_error_pct is None
    else:
        score = sk.top_k_accuracy_score(labels, logits.numpy(), k=5, labels=range(classes))
        assert found.top5_error_pct == pytest.approx(100 * (1 - score), abs=1e-9)
    loss = nn.functional.cross_entropy(logits.double(), labels)
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 20, 21, 100, 1000])
def test_numbers_are_those_of_the_whole_matrix_to_the_last_bit(classes: int) -> None:
    logits, labels = unbalanced(classes)
    found = pass_of(logits, labels)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    for label, predicted in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
        matrix[label, predicted] += 1
    wrong = matrix.sum(1) - matrix.diagonal()
    assert found.confusion == Confusion.from_matrix(matrix)
    assert found.error_pct == 100 * int(wrong.sum()) / COUNT
    assert found.balanced_error_pct == balanced_error_pct(matrix.sum(1).tolist(), wrong.tolist())


@pytest.mark.parametrize("mirrored", [False, True])
def test_an_evaluation_of_many_classes_takes_what_the_plan_says(mirrored: bool) -> None:
    """A matrix of 21,841 classes takes 3.6 GiB, and was copied."""
    classes, count = 21_841, 64
    data = replace(PLAIN, height=8, width=8, classes=classes, class_names=(), flip=True)
    spec = parse("ResNet-8")
    shown = DeviceImages(torch.zeros((count, 3, 8, 8), dtype=torch.uint8), torch.arange(count), data, CPU)
    model = build(spec, data)
    peak = allocated_peak(lambda: evaluate(model, shown, "fp32", mirrored=mirrored), CPU)
    predicted = footprint(spec, data, 2, "fp32", eval_batch_size=count)
    # Beside what an evaluation by itself lacks, or finds there.
    assert predicted.evaluation_peak - predicted.weights - predicted.momentum == pytest.approx(peak, rel=0.15)
    assert evaluate(model, shown, "fp32").confusion is not None


def test_the_balanced_error_is_another_number_than_the_error() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    found = pass_of(torch.tensor([[1.0, 0.0]]).repeat(100, 1), labels)
    assert (found.error_pct, found.balanced_error_pct) == (10.0, 50.0)


def test_equal_logits_rank_as_argmax_has_them_and_none_counts_as_right_by_chance() -> None:
    logits = torch.zeros((6, 30))
    assert rank_of(logits, torch.arange(6) * 5).tolist() == [0, 5, 10, 15, 20, 25]
    assert logits.argmax(1).tolist() == [0] * 6
    assert pass_of(logits, torch.arange(6)).top5_error_pct == pytest.approx(100 / 6)
    logits[:, 29] = float("nan")
    assert rank_of(logits, torch.arange(6)).tolist() == [1, 2, 3, 4, 5, 6], "what is no number comes first"
    assert rank_of(torch.full((1, 30), float("nan")), torch.tensor([0])).item() == 30


def test_ranks_are_those_of_a_sort() -> None:
    logits, labels = unbalanced(40, seed=3)
    logits = logits.to(torch.bfloat16).float()  # makes ties
    order = logits.argsort(dim=1, descending=True, stable=True)
    assert rank_of(logits, labels).tolist() == (order == labels[:, None]).int().argmax(1).tolist()
    assert torch.equal(rank_of(logits, labels) == 0, logits.argmax(1) == labels)


WAITS = ("_local_scalar_dense", "nonzero", "bincount", "unique", "masked_select")


class Operations(TorchDispatchMode):
    """Names of the operations that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_nothing_in_the_loop_makes_the_host_wait() -> None:
    """Operations whose result the host must know, which on a CUDA device wait for it, come after the last batch."""
    logits, labels = unbalanced(30)
    with Operations() as ran:
        pass_of(logits, labels)
    last = max(i for i, name in enumerate(ran.names) if name.startswith("cat"))
    assert sum(name.startswith("argmax") for name in ran.names[:last]) == 3
    assert [name for name in ran.names[:last] if name.startswith(WAITS)] == []


@pytest.mark.gpu
def test_a_pass_on_a_gpu_waits_once_and_counts_as_on_a_cpu() -> None:
    logits, labels = unbalanced(100)
    device = torch.device("cuda")
    pass_of(logits, labels, device)
    count = len(labels)
    pixels = torch.zeros((count, 3, 2, 2), dtype=torch.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = torch.arange(count) // 200, torch.arange(count) % 200
    shown, model = DeviceImages(pixels, labels, PLAIN, device), Given(logits).to(device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            found = evaluate(model, shown, "fp32")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in seen if "synchroniz" in str(w.message)]
    assert len(waits) == 1, waits
    expected = pass_of(logits, labels)
    assert found._replace(loss=0.0) == expected._replace(loss=0.0)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


def predictions(model: nn.Module, pixels: Tensor, data: Any) -> Tensor:
    """Logits of all images at once, computed without the pass."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (data.mean, data.std))
    with torch.no_grad():
        return model.eval()((pixels.float() - mean) / std)


def test_each_epoch_of_a_training_has_the_errors_of_its_weights() -> None:
    made = trainer("ResNet-8")
    while not made.done:
        epoch = made.run_epoch()
        pixels, labels = images(20, 2)
        predicted = predictions(made.model, pixels, DATA).argmax(1)
        expected = 100 * (1 - sk.balanced_accuracy_score(labels, predicted))
        assert epoch.balanced_val_error_pct == pytest.approx(expected, abs=1e-9)
        assert epoch.top5_val_error_pct is None
        assert made.validation is not None
        assert made.validation.confusion is not None
        expected_matrix = sk.confusion_matrix(labels, predicted, labels=range(10))
        assert made.validation.confusion.matrix().tolist() == expected_matrix.tolist()


def test_a_trial_records_its_predictions_and_a_reading_those_of_the_test_set(tmp_path: Path) -> None:
    spec = TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short", epochs=2), train_images=60)
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu", precision="fp32", threads=1)
    result = run_trial(spec, execution)
    last = result.epochs[-1]
    assert result.val_confusion is not None
    assert result.val_confusion.total == result.images.val
    wrong = [sum(n for _, n in row) for row in result.val_confusion.wrong]
    assert last.val_error_pct == 100 * sum(wrong) / result.val_confusion.total
    by_class = [100 * w / n for w, n in zip(wrong, result.val_confusion.images, strict=True)]
    assert last.balanced_val_error_pct == pytest.approx(np.mean(by_class), abs=1e-9)
    assert from_plain(TrialResult, to_plain(result)) == result
    assert run_trial(spec, execution) == result, "from its checkpoint"

    reading = trial_module.test_trial(spec, execution)
    assert reading.test_confusion is not None
    assert reading.test_confusion.total == reading.test_images
    labels = load_images(dataset("digits"), tmp_path, download=False).test_labels
    assert list(reading.test_confusion.images) == torch.bincount(labels, minlength=10).tolist()
    assert reading.balanced_test_error_pct == pytest.approx(
        np.mean([c.error_pct for c in reading.test_confusion.by_class()]), abs=1e-9
    )


def test_a_training_on_the_validation_images_too_has_no_such_errors(tmp_path: Path) -> None:
    spec = TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short", epochs=1), train_images=60, role="final")
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu", precision="fp32", threads=1)
    result = run_trial(spec, execution)
    assert result.val_confusion is None
    assert result.epochs[-1].balanced_val_error_pct is None
    assert trial_module.test_trial(spec, execution).test_confusion is not None
