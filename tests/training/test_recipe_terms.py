"""Each term of a recipe against a naive computation of it; all of them resumed, recorded and trained together."""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from rksearch.arch import parse
from rksearch.data.augmentation import mixed
from rksearch.data.batches import DeviceImages, _beta
from rksearch.data.facts import dataset
from rksearch.errors import DataError, TrialFailed
from rksearch.models import build
from rksearch.recipes.recipe import LEAST, LEAST_MIXUP, MOST, Recipe
from rksearch.results.records import TrialSpec
from rksearch.training.engine.optimizer import parameter_groups
from rksearch.training.execution import Execution
from rksearch.training.memory import plan_memory
from rksearch.training.seed_groups import SeedGroup
from rksearch.training.trainer import Trainer, batches_of, evaluate, final_weights, seed_everything
from rksearch.training.trial import finished_weights, run_trial, test_trial
from tests.helpers.recorded import Recorder
from tests.helpers.trainings import CPU, DATA, RECIPE, assert_same_training, images, trainer

pytestmark = pytest.mark.usefixtures("one_thread")

test_trial.__test__ = False  # type: ignore[attr-defined]
NETWORK = "RKNet-BC-k4-m1_1-1x1_1x1"
COUNT = 40
PLAIN = replace(RECIPE, epochs=4)

TERMS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "lr": 0.002, "beta2": 0.99},
    "plain sgd": {"momentum": 0.0, "nesterov": False},
    "one cycle": {"schedule": "one_cycle", "warmup": 0.3},
    "label smoothing": {"label_smoothing": 0.2},
    "no decay on norms": {"decay_norms_and_biases": False},
    "cutout": {"cutout": 5},
    "translation": {"translation": 2},
    "alternating flip": {"alternating_flip": True},
    "mixup": {"mixup": 0.7},
    "RandAugment": {"randaugment": 2, "randaugment_magnitude": 12},
    "ema": {"ema": 0.8},
    "flip averaging": {"flip_averaging": True},
    "clipping": {"clip_grad_norm": 0.5},
    "micro-batches": {"micro_batch_size": 6},
    "all": {
        **{"optimizer": "adamw", "lr": 0.002, "schedule": "one_cycle", "label_smoothing": 0.1, "cutout": 3},
        **{"translation": 1, "alternating_flip": True, "mixup": 0.3, "randaugment": 1, "ema": 0.7},
        **{"flip_averaging": True, "clip_grad_norm": 1.0, "micro_batch_size": 5, "decay_norms_and_biases": False},
    },
}


def run(recipe: Recipe, epochs: int = 4, *, name: str = NETWORK, **options: Any) -> Trainer:
    made = trainer(name, count=COUNT, recipe=recipe, **options)
    for _ in range(epochs):
        made.run_epoch()
    return made


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


def assert_same_states(one: Trainer, other: Trainer) -> None:
    assert_same_training(one, other)
    weights, expected = final_weights(one.state_dict()), final_weights(other.state_dict())
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def assert_resumes_exactly(recipe: Recipe) -> None:
    whole = run(recipe)
    state = through_a_file(run(recipe, 2).state_dict())
    resumed = trainer(NETWORK, count=COUNT, recipe=recipe, seed=99)  # another start: all must come from the state
    resumed.load_state_dict(state)
    while not resumed.done:
        resumed.run_epoch()
    assert_same_states(resumed, whole)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_changes_the_training_and_resumes_exactly(term: str) -> None:
    recipe = replace(PLAIN, **TERMS[term])
    assert_resumes_exactly(recipe)
    plain, changed = run(PLAIN), run(recipe)
    assert [replace(e, train_time_s=0) for e in plain.epochs] != [replace(e, train_time_s=0) for e in changed.epochs]


def off_or(values: st.SearchStrategy[Any], off: Any = 0) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(off), values)


RECIPES = st.builds(
    lambda **terms: replace(PLAIN, **terms),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    lr=st.sampled_from([0.001, 0.01]),
    schedule=st.sampled_from(["step", "cosine", "one_cycle"]),
    warmup=st.sampled_from([0.0, 0.25, 0.9]),
    batch_size=st.sampled_from([13, 16, 40]),
    micro_batch_size=off_or(st.sampled_from([2, 5, 13])),
    decay_norms_and_biases=st.booleans(),
    label_smoothing=off_or(st.floats(0.05, 0.5), 0.0),
    mixup=off_or(st.floats(0.1, 2.0), 0.0),
    clip_grad_norm=off_or(st.floats(0.1, 3.0), 0.0),
    ema=off_or(st.floats(0.1, 0.99), 0.0),
    translation=off_or(st.integers(1, 15)),
    alternating_flip=st.booleans(),
    cutout=off_or(st.integers(1, 20)),
    randaugment=off_or(st.integers(1, 3)),
    randaugment_magnitude=st.integers(0, 30),
    flip_averaging=st.booleans(),
)


@pytest.mark.parametrize(
    "terms",
    [
        {"mixup": LEAST_MIXUP},
        {"mixup": MOST},
        {"clip_grad_norm": LEAST},
        {"clip_grad_norm": MOST},
        {"lr": LEAST},
        {"weight_decay": LEAST},
    ],
)
def test_the_ends_of_a_term_can_be_trained(terms: dict[str, Any]) -> None:
    made = run(replace(PLAIN, **terms), 1)
    assert math.isfinite(made.epochs[0].train_loss)


def test_the_least_mixup_is_drawn_as_its_distribution_says() -> None:
    """With smaller ones, both of torch's gamma variates become 0, and their shares 0.5."""
    shares = _beta(LEAST_MIXUP, 20_000, torch.Generator().manual_seed(0)).double().numpy()
    for x in (1e-6, 0.1, 0.5, 0.9):
        assert (shares <= x).mean() == pytest.approx(stats.beta(LEAST_MIXUP, LEAST_MIXUP).cdf(x), abs=0.015)
    assert (shares == 0.5).sum() == 0


@settings(max_examples=8, deadline=None, derandomize=True)
@given(recipe=RECIPES)
def test_any_recipe_trained_two_and_two_epochs_is_trained_four(recipe: Recipe) -> None:
    assert_resumes_exactly(recipe)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_recorded_or_beside_other_seeds_is_what_it_is_alone(term: str) -> None:
    recipe = replace(PLAIN, **TERMS[term])
    alone = [run(recipe, 2, seed=seed) for seed in (3, 4)]
    together = [trainer(NETWORK, count=COUNT, recipe=recipe, seed=seed) for seed in (3, 4)]
    group = SeedGroup(together, Recorder())
    for _ in range(2):
        found = group.run_epoch()
        assert not any(isinstance(epoch, TrialFailed) for epoch in found), found
    for one, other in zip(together, alone, strict=True):
        assert_same_states(one, other)


# -- optimiser and loss


def groups(name: str, **terms: Any) -> list[tuple[float, set[str]]]:
    model = build(parse(name), DATA)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    found = parameter_groups(model, replace(PLAIN, **terms))
    assert sum(len(group["params"]) for group in found) == len(names)
    return [(group["weight_decay"], {names[id(parameter)] for parameter in group["params"]}) for group in found]


def test_what_decays_is_a_choice() -> None:
    learned = "RKNet-BC-k4-m1_1-2x1@heun2+train_2x1@heun2+hlearn"
    coefficients = {"period1.method.a", "period1.method.b", "period2.method.h"}
    ((_, everything),) = groups(learned, decay_coefficients=True)
    assert coefficients < everything
    (decay, rest), (none, spared) = groups(learned)
    assert (decay, none) == (PLAIN.weight_decay, 0.0)
    assert spared == coefficients
    assert rest == everything - coefficients
    _, (_, spared) = groups(learned, decay_norms_and_biases=False, decay_coefficients=True)
    assert coefficients.isdisjoint(spared)
    assert all("norm" in name or name.endswith(".bias") for name in spared)
    assert spared == {name for name in everything - coefficients if "norm" in name or name.endswith("bias")}
    assert len(groups("ResNet-8")) == 1, "nothing learns coefficients there"


@pytest.mark.parametrize("spared", [False, True])
def test_adamw_is_torchs(spared: bool) -> None:
    recipe = replace(PLAIN, optimizer="adamw", lr=0.003, momentum=0.8, beta2=0.95, weight_decay=0.3)
    recipe = replace(recipe, decay_norms_and_biases=not spared)
    ours, theirs = (trainer(NETWORK, count=COUNT, recipe=recipe) for _ in range(2))
    for _ in range(2):
        ours.run_epoch()
    model, source = theirs.model, theirs._train
    decayed = [p for p in model.parameters() if p.ndim > 1 or not spared]
    others = [p for p in model.parameters() if not (p.ndim > 1 or not spared)]
    options = [{"params": part, "weight_decay": wd} for part, wd in ((decayed, 0.3), (others, 0.0)) if part]
    optimizer = torch.optim.AdamW(options, betas=(0.8, 0.95), foreach=False)
    step = 0
    for _ in range(2):
        model.train()
        for x, y in source.epoch():
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr_at(step, source.steps_per_epoch)
            step += 1
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    for (name, p), q in zip(ours.model.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-3, atol=1e-5), name


def stepped(recipe: Recipe, after: Callable[[Trainer], None] = lambda made: None) -> tuple[Trainer, Trainer]:
    """Two equal trainings, of which the first has taken the first step of an epoch; `after` is called each step."""
    one, other = (trainer(NETWORK, count=COUNT, recipe=recipe) for _ in range(2))
    one.prepare()
    one.begin_epoch(1)
    one.take_steps(1)
    after(one)
    return one, other


def test_label_smoothing_is_the_cross_entropy_with_smoothed_labels() -> None:
    one, other = stepped(replace(PLAIN, label_smoothing=0.3))
    x, y = next(iter(other._train.epoch()))
    other.model.train()
    target = 0.7 * F.one_hot(y, DATA.classes) + 0.3 / DATA.classes
    expected = -(target * other.model(x).log_softmax(1)).sum(1).mean()
    assert one.step.losses[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert evaluate(one.model, images_of(20), "fp32").loss == pytest.approx(
        F.cross_entropy(one.model.eval()(normalised(20)), images(20, 2)[1]).item(), rel=1e-4
    ), "validation is not smoothed"


def images_of(count: int) -> DeviceImages:
    return DeviceImages(*images(count, 2), DATA, CPU)


def normalised(count: int) -> Tensor:
    (batch, _), *_ = images_of(count).batches()
    return batch


def test_clipping_bounds_the_step() -> None:
    plain = replace(PLAIN, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="step", warmup=0.0)
    for most, bound in ((1e-3, True), (1e6, False)):
        one, other = stepped(replace(plain, clip_grad_norm=most))
        change = torch.cat(
            [(p - q).flatten() for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True)]
        )
        length = change.norm().item() / plain.lr
        assert length == pytest.approx(most, rel=1e-2) if bound else length > 0.01
    free = run(PLAIN, 1)
    assert_same_training(run(replace(PLAIN, clip_grad_norm=1e9), 1), free)


def test_mixup_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = v2.MixUp(alpha=0.4, num_classes=DATA.classes)
    one, other = stepped(replace(PLAIN, mixup=0.4))
    draws = other._train.draw()
    assert draws.share is not None
    shares = other._train.draw().share
    assert shares is not None
    assert not torch.equal(draws.share, shares)
    x, y = next(iter(other._train.apply(draws)))
    monkeypatch.setattr(transform, "make_params", lambda inputs: {"lam": float(draws.share[0])})
    images_mixed, labels = transform(x, y)
    assert torch.allclose(mixed(x, draws.share[:1]), images_mixed, atol=1e-6)
    other.model.train()
    expected = F.cross_entropy(other.model(images_mixed), labels)
    assert one.step.losses[0].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_shares_of_mixup_have_the_beta_distribution() -> None:
    many = replace(PLAIN, mixup=0.5, batch_size=2)
    source = batches_of(DeviceImages(*images(8000, 1), DATA, CPU), DATA, many, 1)
    share = source.draw().share
    assert share is not None
    assert share.shape == (4000,)
    assert share.mean().item() == pytest.approx(0.5, abs=0.03)
    assert share.var().item() == pytest.approx(0.125, abs=0.01)  # 1 / (4 (2 alpha + 1))


# -- micro-batches


class FrozenNorms(nn.Module):
    """A network whose batch norms normalise by their running statistics, in training too."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> "FrozenNorms":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x)
        return found


def accumulated(micro: int, *, frozen: bool, **terms: Any) -> Trainer:
    recipe = replace(PLAIN, batch_size=19, micro_batch_size=micro, **terms)
    seed_everything(3)
    model = build(parse(NETWORK), DATA)
    source = batches_of(DeviceImages(*images(COUNT, 1), DATA, CPU), DATA, recipe, 5)
    made = Trainer(FrozenNorms(model) if frozen else model, source, images_of(20), recipe, "fp32")
    for _ in range(2):
        made.run_epoch()
    return made


@pytest.mark.parametrize("terms", [{}, {"mixup": 0.5, "label_smoothing": 0.1, "clip_grad_norm": 0.5}])
def test_micro_batches_are_the_large_batch_where_norms_are_frozen(terms: dict[str, Any]) -> None:
    whole, parts = accumulated(0, frozen=True, **terms), accumulated(6, frozen=True, **terms)
    assert parts.step_losses == pytest.approx(whole.step_losses, rel=1e-4)
    assert [e.train_error_pct for e in parts.epochs] == [e.train_error_pct for e in whole.epochs]
    for (name, p), q in zip(whole.model.named_parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-3, atol=1e-5), name


def test_batch_norms_see_the_micro_batches() -> None:
    whole, parts = accumulated(0, frozen=False), accumulated(6, frozen=False)
    counted = [made.model.get_submodule("head.norm").num_batches_tracked for made in (whole, parts)]
    assert [int(count) for count in counted] == [
        2 * 3,
        2 * (3 + 3 + 1),
    ]  # 40 images are 19 + 19 + 2, and 19 are 6 + 6 + 7
    assert parts.step_losses != pytest.approx(whole.step_losses, rel=1e-3)


# -- averages


def test_the_average_is_the_naive_one_and_what_is_evaluated() -> None:
    made = trainer(NETWORK, count=COUNT, recipe=replace(PLAIN, ema=0.6))
    expected = {name: value.clone() for name, value in made.model.state_dict().items()}
    made.prepare()
    made.begin_epoch(1)
    for size in made.step.sizes:
        made.step.take(size, made.model)
        for name, value in made.model.state_dict().items():
            old = expected[name]
            expected[name] = 0.6 * old + 0.4 * value if value.is_floating_point() else value.clone()
    found = final_weights(made.state_dict())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-5, atol=1e-7), name
    epoch = made.end_epoch(made.end_pass(1), 1.0)
    assert epoch.val_loss != evaluate(made.model, images_of(20), "fp32").loss
    other = build(parse(NETWORK), DATA)
    other.load_state_dict(found)
    other.to(memory_format=torch.channels_last)
    assert epoch.val_loss == evaluate(other, images_of(20), "fp32").loss
    own = made.state_dict()["model"]
    assert any(not torch.equal(own[name], found[name]) for name in found), "the training goes on from its own weights"


def test_a_network_that_shares_weights_is_averaged_under_all_its_names() -> None:
    made = run(replace(PLAIN, ema=0.5), 1, name="RKNet-BC-k4-m1_1-1x2s_1x1")
    weights = final_weights(made.state_dict())
    assert weights.keys() == made.model.state_dict().keys()
    seed_everything(0)
    other = build(parse("RKNet-BC-k4-m1_1-1x2s_1x1"), DATA)
    other.load_state_dict(weights)
    assert evaluate(other, images_of(20), "fp32").loss == pytest.approx(made.epochs[-1].val_loss, rel=1e-5)


def test_outputs_are_averaged_over_mirror_images_where_the_data_set_allows_them() -> None:
    made = run(PLAIN, 1)
    pixels, labels = normalised(20), images(20, 2)[1]
    model = made.model.eval()
    with torch.no_grad():
        logits = (model(pixels) + model(pixels.flip(3))) / 2
    found = evaluate(model, images_of(20), "fp32", mirrored=True)
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    still = DeviceImages(*images(20, 2), replace(DATA, flip=False), CPU)
    assert evaluate(model, still, "fp32", mirrored=True) == evaluate(model, images_of(20), "fp32")


def test_a_trial_keeps_and_tests_the_average(tmp_path: Path) -> None:
    recipe = Recipe(name="x", epochs=2, batch_size=32, lr=0.05, ema=0.9, schedule="cosine")
    spec = TrialSpec(arch="RKNet-BC-k2-m1_1-1x1_1x1", dataset="digits", recipe=recipe, train_images=100)
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), precision="fp32")
    result = run_trial(spec, execution)
    plain = run_trial(replace(spec, recipe=replace(recipe, ema=0.0)), replace(execution, work_dir=str(tmp_path / "b")))
    assert [e.train_loss for e in result.epochs] == [e.train_loss for e in plain.epochs]
    assert result.epochs[-1].val_loss != plain.epochs[-1].val_loss
    model = build(parse(spec.arch), dataset("digits"))
    model.load_state_dict(finished_weights(spec, tmp_path))
    tested = test_trial(spec, execution)
    assert (
        tested.test_loss
        != test_trial(
            replace(spec, recipe=replace(recipe, ema=0.0)), replace(execution, work_dir=str(tmp_path / "b"))
        ).test_loss
    )
    assert run_trial(spec, execution) == result


# -- what cannot be done


def test_images_in_memory_have_no_augmentation_of_streamed_ones(tmp_path: Path) -> None:
    recipe = Recipe(name="x", epochs=1, augmentation="scale_aspect")
    spec = TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe, train_images=100)
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), precision="fp32")
    with pytest.raises(DataError, match=r"asks for the augmentation scale_aspect, .* those of digits lie in memory"):
        run_trial(spec, execution)


@pytest.mark.parametrize(
    ("terms", "changes", "message"),
    [
        ({"translation": 16}, {}, "translation 16 and those of cifar10 have 16 pixels; lower it"),
        ({"randaugment": 1}, {"channels": 2, "mean": (1, 1), "std": (1, 1)}, "for images of 1 or 3 channels.*have 2"),
    ],
)
def test_a_term_that_does_not_suit_the_images_is_refused(
    terms: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    data = replace(DATA, **changes)
    pixels = torch.zeros(4, data.channels, 16, 16, dtype=torch.uint8)
    shown = DeviceImages(pixels, torch.arange(4), data, CPU)
    with pytest.raises(DataError, match=message):
        batches_of(shown, data, replace(PLAIN, **terms), 1)
    batches_of(shown, data, replace(PLAIN, augment=False), 1)


def test_memory_is_planned_for_what_terms_hold() -> None:
    spec = parse("DenseNet-BC-16-k4")

    def peak(**terms: Any) -> int:
        return plan_memory(spec, DATA, replace(PLAIN, batch_size=64, **terms), "fp32", 2**40).predicted_peak_bytes

    params = sum(p.numel() for p in build(spec, DATA).parameters())
    assert peak(optimizer="adamw") == peak() + 4 * params
    assert peak(ema=0.9) > peak() + 4 * params
    assert peak(micro_batch_size=16) < peak() / 2
    resident = [
        plan_memory(spec, DATA, recipe, "fp32", 2**40, images=1000).predicted_peak_bytes
        for recipe in (PLAIN, replace(PLAIN, randaugment=1))
    ]
    assert resident[1] - resident[0] == 1000 * 3 * 16 * 16
