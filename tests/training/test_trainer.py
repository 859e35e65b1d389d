import io
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rksearch.data.batches import DeviceImages, TrainBatches
from rksearch.data.facts import dataset
from rksearch.errors import DataError, TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.results.records import Epoch
from rksearch.training.engine.device import has_native_bf16
from rksearch.training.engine.precision import Precision
from rksearch.training.trainer import Trainer, as_trial_failure, evaluate, seed_everything

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
DATA = dataset("digits")
RECIPE = Recipe(name="short", epochs=5, batch_size=16, lr=0.05, schedule="cosine", warmup=0.2)
PRECISIONS: list[Precision] = ["fp32", "bf16"]


def network() -> nn.Module:
    """Convolutions, batch norms and dropout: every kind of state that a training carries."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8, 10),
    )


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    pixels = torch.randint(0, 128, (count, 1, 8, 8), generator=generator)
    pixels[torch.arange(count), 0, labels % 8] += 120
    return pixels.to(torch.uint8), labels


def trainer(precision: Precision = "fp32", recipe: Recipe = RECIPE, seed: int = 7) -> Trainer:
    if precision == "bf16" and not has_native_bf16(CPU):
        pytest.skip("this CPU has no bf16")
    seed_everything(seed)
    train = DeviceImages(*images(70, 1), DATA, CPU)
    batches = TrainBatches(train, DATA, batch_size=recipe.batch_size, augment=recipe.augment, seed=seed)
    return Trainer(network(), batches, DeviceImages(*images(30, 2), DATA, CPU), recipe, precision)


def without_times(epochs: list[Epoch]) -> list[tuple[object, ...]]:
    return [(e.epoch, e.lr, e.train_loss, e.train_error_pct, e.val_loss, e.val_error_pct) for e in epochs]


def through_a_file(state: dict[str, object]) -> dict[str, object]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(precision: Precision) -> None:
    whole = trainer(precision)
    while not whole.done:
        whole.run_epoch()

    first = trainer(precision)
    for _ in range(3):
        first.run_epoch()
    state = through_a_file(first.state_dict())
    resumed = trainer(precision, seed=12345)  # another start: everything must come from the saved state
    resumed.load_state_dict(state)
    while not resumed.done:
        resumed.run_epoch()

    assert without_times(resumed.epochs) == without_times(whole.epochs)
    assert resumed.epochs[:3] == first.epochs
    expected = whole.model.state_dict()
    assert any("running_var" in name for name in expected)
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_seeds_make_a_difference_and_nothing_else_does() -> None:
    histories = []
    for seed in (1, 1, 2):
        run = trainer(seed=seed)
        run.run_epoch()
        histories.append(without_times(run.epochs))
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_an_epoch_equals_a_naive_loop(schedule: str) -> None:
    recipe = Recipe(name="x", epochs=4, batch_size=23, lr=0.05, schedule=schedule, warmup=0.3, weight_decay=0.01)
    ours = trainer(recipe=recipe)
    theirs = trainer(recipe=recipe)
    seed_everything(0)
    found = [ours.run_epoch() for _ in range(3)][-1]

    seed_everything(0)
    model, source = theirs.model, theirs._train
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    step = 0
    for _ in range(3):
        model.train()
        total, wrong, lrs = 0.0, 0, []
        for x, y in source.epoch():
            lrs.append(recipe.lr_at(step, 3))  # 70 images are batches of 23, 23 and 24, not 23, 23, 23 and 1
            step += 1
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            total += loss.item() * len(y)
            wrong += int((logits.argmax(1) != y).sum())
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for p, g, v in zip(model.parameters(), gradients, velocity, strict=True):
                    g = g + recipe.weight_decay * p
                    v.mul_(recipe.momentum).add_(g)
                    p -= lrs[-1] * (g + recipe.momentum * v)
        model.eval()
        with torch.no_grad():
            pixels, labels = images(30, 2)
            logits = model((pixels.float() - DATA.mean[0]) / DATA.std[0])
            val_loss, val_wrong = F.cross_entropy(logits, labels).item(), int((logits.argmax(1) != labels).sum())
    assert found.lr == lrs[0]
    assert found.train_loss == pytest.approx(total / 70, rel=1e-4)
    assert found.train_error_pct == pytest.approx(100 * wrong / 70)
    assert found.val_loss == pytest.approx(val_loss, rel=1e-3)
    assert found.val_error_pct == pytest.approx(100 * val_wrong / 30)
    for (name, p), q in zip(ours.model.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-3, atol=1e-5), name


def test_it_learns() -> None:
    run = trainer(recipe=Recipe(name="x", epochs=12, batch_size=8, schedule="cosine", augment=False))
    while not run.done:
        run.run_epoch()
    assert run.epochs[-1].train_loss < 0.8 * run.epochs[0].train_loss
    assert run.epochs[-1].val_error_pct < 70  # chance is 90
    assert [e.epoch for e in run.epochs] == list(range(1, 13))
    assert all(e.train_time_s > 0 for e in run.epochs)


def test_a_loss_that_is_not_finite_fails_with_its_place() -> None:
    run = trainer(recipe=Recipe(name="paper", epochs=2, batch_size=16, lr=1e30))
    with pytest.raises(
        TrialFailed, match=r"became (nan|inf) at step \d of 5 of epoch 1 .*1e\+30.*use a lower lr"
    ) as error:
        run.run_epoch()
    assert error.value.kind == "non_finite_loss"
    assert run.epochs == []


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_loss_that_weight_decay_has_spoilt_says_so(optimizer: str) -> None:
    """A lower rate might help, but hardly one that trains."""
    run = trainer(recipe=Recipe(name="own", epochs=4, batch_size=16, optimizer=optimizer, lr=0.01, weight_decay=1e30))
    with pytest.raises(TrialFailed, match=r"use a lower weight_decay than 1e\+30: times lr it must be below 1$"):
        run.run_epoch()


def test_a_validation_loss_that_is_not_finite_fails_too() -> None:
    run = trainer()
    norm = run.model[1]
    norm.register_forward_hook(lambda module, x, out: out if module.training else out * math.nan)
    with pytest.raises(TrialFailed, match="became nan in the validation after epoch 1") as error:
        run.run_epoch()
    assert error.value.kind == "non_finite_loss"


def test_evaluation_equals_a_direct_computation_and_changes_nothing() -> None:
    run = trainer()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    pixels, labels = images(517, 3)
    loss, error_pct, *_ = evaluate(run.model, DeviceImages(pixels, labels, DATA, CPU), "fp32")
    assert not run.model.training
    with torch.no_grad():
        logits = run.model((pixels.float() - DATA.mean[0]) / DATA.std[0])
    assert loss == pytest.approx(F.cross_entropy(logits.double(), labels).item(), rel=1e-5)
    assert error_pct == pytest.approx(100 * (logits.argmax(1) != labels).double().mean().item(), abs=0.2)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), "out_of_memory", "use a smaller batch"),
        (MemoryError(), "out_of_memory", "out of memory while testing"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory", "out of memory"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), "out_of_memory", "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out_of_memory", "out of memory"),
        (ZeroDivisionError("by\nzero"), "error", "ZeroDivisionError while testing: by zero"),
    ],
)
def test_unexpected_errors_become_failures_of_one_line(error: Exception, kind: str, message: str) -> None:
    with pytest.raises(TrialFailed, match=message) as failure, as_trial_failure("testing"):
        raise error
    assert failure.value.kind == kind
    assert "\n" not in str(failure.value)
    assert failure.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), DataError("no data")])
def test_interruptions_and_deliberate_errors_go_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, as_trial_failure("testing"):
        raise error
    assert caught.value is error
