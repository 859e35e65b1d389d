import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.bench.recipes import trainings as trainings_module
from rksearch.bench.recipes.gaps import LIKE_SIZE, family_gaps, pairs_of_like_size
from rksearch.bench.recipes.judging import judged, recipe_standings
from rksearch.bench.recipes.page import markdown, to_json
from rksearch.bench.recipes.trainings import (
    NETWORKS,
    RecipeConditions,
    RecipeTraining,
    Wanted,
    train_all,
    wanted_trainings,
    without_each_term,
)
from rksearch.data.facts import dataset
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.environment import Environment
from rksearch.training import inputs
from tests.helpers.command_line import Answer, rksearch
from tests.helpers.documents import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("RKNet-k4-m1_1_1-1x1_1x1_1x1", "DenseNet-10-k4", "ResNet-8")


def trained(
    recipe_: str, epochs: int, replicate: int, arch: str, error_pct: float, time_s: float = 1.0
) -> RecipeTraining:
    return RecipeTraining(
        recipe=recipe_, epochs=epochs, replicate=replicate, arch=arch, val_errors_pct=(error_pct,), time_s=time_s
    )


def test_the_networks_are_neighbours_in_size_and_three_are_baselines() -> None:
    costs = [cost(parse(name), dataset("cifar10")) for name in NETWORKS]
    assert len(set(NETWORKS)) == 12
    assert all(10_000 < own.params < 80_000 and own.macs < 12.5e6 for own in costs)
    assert sum(not name.startswith("RKNet") for name in NETWORKS) == 3
    assert all(parse(name).name == name for name in NETWORKS)


def test_short_trainings_share_no_seed_with_the_long_ones_that_they_are_compared_with() -> None:
    wanted = wanted_trainings(["a", "b"], NETWORKS, [2, 4, 8, 16], seeds=2)
    assert sum(one.epochs for one in wanted) == 2 * 12 * (2 + 4 + 8 + 2 * 16) == 1_104
    assert len(set(wanted)) == len(wanted)
    assert {one.replicate for one in wanted if one.epochs == 16} == {0, 1}
    assert {one.replicate for one in wanted if one.epochs < 16} == {2}
    assert [one.epochs for one in wanted] == sorted(one.epochs for one in wanted)


def test_each_term_of_a_recipe_is_replaced_alone() -> None:
    proposal, short = recipe(ROOT / "reports" / "recipes" / "proposal.yaml"), recipe("short")
    found = without_each_term(proposal, short)
    assert found.pop("proposal") == proposal
    assert set(found) == {
        "proposal without schedule, warmup",
        "proposal without batch_size, lr",
        "proposal without weight_decay",
        "proposal without decay_norms_and_biases",
        "proposal without label_smoothing",
        "proposal without translation",
        "proposal without alternating_flip",
    }
    for key, own in found.items():
        changed = key.removeprefix("proposal without ").split(", ")
        for field in proposal.__dataclass_fields__:
            expected = short if field in changed else proposal
            assert getattr(own, field) == getattr(expected, field), (key, field)


def test_fast_has_the_terms_whose_removal_was_measured_to_raise_the_error() -> None:
    """From the committed trainings of the proposal, by a t-interval written out here."""
    errors: dict[str, dict[str, float]] = {}
    for line in (ROOT / "reports" / "recipes" / "terms" / "trainings.jsonl").read_text().splitlines()[1:]:
        one = json.loads(line)["training"]
        errors.setdefault(one["recipe"], {})[one["arch"]] = one["val_errors_pct"][-1]
    whole, fast, short = errors.pop("proposal"), recipe("fast"), recipe("short")
    assert len(errors) == 7
    for key, own in errors.items():
        changes = np.array([own[arch] - whole[arch] for arch in NETWORKS])
        low, _ = stats.t.interval(0.95, len(changes) - 1, loc=changes.mean(), scale=stats.sem(changes))
        for field in key.removeprefix("proposal without ").split(", "):
            assert (getattr(fast, field) != getattr(short, field)) == (low > 0), (key, low)


def test_lengths_are_judged_by_means_over_networks_and_seeds() -> None:
    """Against sums and a t-interval written out here."""
    networks = ["a", "b", "c", "d"]
    one = {("x", "a"): 50.0, ("x", "b"): 40, ("x", "c"): 30, ("x", "d"): 35,
           ("y", "a"): 45.0, ("y", "b"): 41, ("y", "c"): 28, ("y", "d"): 30}  # fmt: skip
    trainings = [trained(r, 1, 2, n, one[r, n], time_s=2.0 if r == "x" else 1.5) for r, n in product("xy", networks)]
    final = {"a": (20.0, 22.0), "b": (18, 18), "c": (10, 13), "d": (12, 11)}
    trainings += [trained(r, 2, i, n, final[n][i]) for r, n, i in product("xy", networks, (0, 1))]
    found = {(own.recipe, own.epochs): own for own in judged(trainings, ["x", "y"])}
    assert found["x", 1].val_error_pct == 38.75
    assert found["x", 2].val_error_pct == 15.5
    assert (found["x", 1].seeds, found["x", 2].seeds) == (1, 2)
    assert found["y", 1].time_ratio == 0.75
    # a 50, b 40, d 35, c 30 against a 21, b 18, d 11.5, c 11.5: the last two are tied.
    ranks = found["x", 1].ranks
    assert ranks is not None
    assert ranks.value == pytest.approx(stats.spearmanr([4, 3, 1, 2], [4, 3, 1.5, 1.5]).statistic)
    assert ranks.interval is None  # four networks are too few for one
    # One seed of the longest, against the other: 20 18 10 12 and 22 18 13 11.
    own = found["x", 2].ranks
    assert own is not None
    assert own.value == pytest.approx(stats.spearmanr([20, 18, 10, 12], [22, 18, 13, 11]).statistic)
    difference = found["y", 1].against_first
    assert difference is not None
    values = np.array([-5.0, 1, -2, -5])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (difference.value, difference.low, difference.high) == pytest.approx((-2.75, low, high))
    assert found["x", 1].against_first is None
    assert found["y", 1].ranks_against_first is None
    # y 45 41 28 30 against x 50 40 30 35: the first order with c and d as they are.
    order = found["y", 1].order_of_first
    assert order is not None
    assert order.value == pytest.approx(stats.spearmanr([45, 41, 28, 30], [50, 40, 30, 35]).statistic) == 1
    assert found["x", 1].order_of_first is None


def test_correlations_of_few_networks_have_intervals_that_few_ranks_allow() -> None:
    """Bonett and Wright's, and Zou's of a difference, written out here."""
    short = {"x": [1, 2, 3, 4, 5, 6], "y": [2, 1, 3, 4, 6, 5]}
    trainings = [trained(r, 1, 1, n, own) for r in "xy" for n, own in zip("abcdef", short[r], strict=True)]
    trainings += [trained(r, 2, 0, n, own) for r in "xy" for n, own in zip("abcdef", [1, 3, 2, 4, 5, 6], strict=True)]
    found = {(own.recipe, own.epochs): own for own in judged(trainings, ["x", "y"])}

    def expected(rho: float) -> tuple[float, float]:
        reach = stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / 3)
        return np.tanh(np.arctanh(rho) - reach), np.tanh(np.arctanh(rho) + reach)

    x, y = 1 - 6 * 2 / 210, 1 - 6 * (1 + 4 + 1 + 1 + 1) / 210  # sums of squared differences of ranks: 2, and 8
    for recipe_, rho in (("x", x), ("y", y)):
        ranks = found[recipe_, 1].ranks
        assert ranks is not None
        assert ranks.value == pytest.approx(rho)
        assert ranks.interval == pytest.approx(expected(rho))
    change = found["y", 1].ranks_against_first
    assert change is not None
    (low_x, high_x), (low_y, high_y) = expected(x), expected(y)
    below, above = np.hypot(y - low_y, high_x - x), np.hypot(high_y - y, x - low_x)
    assert (change.value, change.low, change.high) == pytest.approx((y - x, y - x - below, y - x + above))
    # Equal orders of six networks are no proof of a perfect agreement.
    order = found["y", 2].order_of_first
    assert order is not None
    assert order.value == 1
    assert order.interval is not None
    assert order.interval[0] < 0.7


def test_networks_stand_in_the_order_of_the_first_recipe_with_their_ranks_in_each() -> None:
    final: dict[str, dict[str, tuple[float, float]]] = {
        "x": {"a": (20, 22), "b": (18, 18), "c": (10, 14)},
        "y": {"a": (12, 12), "b": (12, 12), "c": (30, 31)},
    }
    trainings = [trained(r, 2, i, n, final[r][n][i]) for r, n, i in product("xy", "abc", (1, 0))]
    trainings += [trained(r, 1, 2, n, 1.0) for r, n in product("xy", "abc")]  # shorter: not what is shown
    found = recipe_standings(trainings, ["x", "y"])
    assert [(one.recipe, one.arch, one.val_errors_pct, one.val_error_pct, one.rank) for one in found] == [
        ("x", "c", (10, 14), 12, 1),
        ("x", "b", (18, 18), 18, 2),
        ("x", "a", (20, 22), 21, 3),
        ("y", "c", (30, 31), 30.5, 3),
        ("y", "b", (12, 12), 12, 1.5),
        ("y", "a", (12, 12), 12, 1.5),
    ]


def test_a_failed_training_counts_as_an_error_of_100() -> None:
    trainings = [trained("x", 1, 0, n, 20) for n in "abc"] + [trained("y", 1, 0, n, 20) for n in "ab"]
    trainings.append(
        RecipeTraining(
            recipe="y", epochs=1, replicate=0, arch="c", val_errors_pct=(), time_s=1, failure="non_finite_loss"
        )
    )
    found = judged(trainings, ["x", "y"])
    assert [own.failed for own in found] == [0, 1]
    assert found[1].val_error_pct == pytest.approx(140 / 3)
    assert found[0].ranks is None  # one length with one seed has nothing to be compared with
    assert found[1].order_of_first is None  # equal errors have no order
    with pytest.raises(ValueError, match="three networks"):
        judged(trainings[:-1], ["x", "y"])


FAMILIES = {
    "RKNet-k8-m2_4_6-1x2s_1x2s_1x2s": 50_586,
    "RKNet-k8-m2_4_6-1x2_1x2_1x2": 95_514,
    "DenseNet-13-k8": 39_370,
    "DenseNet-13-k12": 86_650,
    "ResNet-8": 75_290,
    "ResNet-14": 172_506,
}
"""Two networks of each of three families, with their parameters on CIFAR-10."""

SMALL_RKNET, LARGE_RKNET, SMALL_DENSE, LARGE_DENSE, SMALL_RESNET, LARGE_RESNET = FAMILIES


def test_networks_are_paired_with_the_nearest_of_each_other_family() -> None:
    assert {name: cost(parse(name), dataset("cifar10")).params for name in FAMILIES} == FAMILIES
    assert pairs_of_like_size(FAMILIES) == [
        (SMALL_RKNET, SMALL_DENSE),
        (LARGE_RKNET, LARGE_DENSE),
        (SMALL_RKNET, SMALL_RESNET),
        (LARGE_RKNET, SMALL_RESNET),
        (LARGE_RKNET, LARGE_RESNET),
        (SMALL_DENSE, SMALL_RESNET),
        (LARGE_DENSE, SMALL_RESNET),
        (LARGE_DENSE, LARGE_RESNET),
    ]
    assert all(1 / LIKE_SIZE <= FAMILIES[a] / FAMILIES[b] <= LIKE_SIZE for a, b in pairs_of_like_size(FAMILIES))
    assert pairs_of_like_size({SMALL_DENSE: 39_370, LARGE_RESNET: 172_506}) == []  # more than twice as large
    assert pairs_of_like_size({SMALL_RKNET: 50_586, LARGE_RKNET: 95_514}) == []  # of one family


def family_trainings(shift: float, seeds: int = 4) -> list[RecipeTraining]:
    """Made-up trainings: RKNets have 2 points less than DenseNets of like size by `fast` and `third`, and by `triple`
    `shift` points more than that."""
    noise = np.random.default_rng(5).normal(scale=0.1, size=(3, 6, seeds))
    level = {SMALL_RKNET: 30.0, LARGE_RKNET: 28, SMALL_DENSE: 32, LARGE_DENSE: 30, SMALL_RESNET: 25, LARGE_RESNET: 24}
    return [
        trained(r, 8, i, n, level[n] + noise[k, m, i] + (shift if r == "triple" and n.startswith("RKNet") else 0))
        for k, r in enumerate(RATES)
        for m, n in enumerate(FAMILIES)
        for i in range(seeds)
    ]


RATES = ("fast", "third", "triple")


@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
def test_gaps_between_families_are_those_of_a_plain_computation(shift: float) -> None:
    """Everything written out: means, Student's t by SciPy, and Bonferroni's factor."""
    trainings = family_trainings(shift)
    errors = {(one.recipe, one.arch, one.replicate): one.val_error_pct for one in trainings}

    def gaps(recipe_: str, a: str, b: str) -> np.ndarray:
        return np.array([errors[recipe_, a, i] - errors[recipe_, b, i] for i in range(4)])

    found = {(gap.archs, gap.recipe): gap for gap in family_gaps(trainings, RATES, "cifar10")}
    pairs = pairs_of_like_size(FAMILIES)
    assert list(found) == [(pair, recipe_) for pair in pairs for recipe_ in RATES]
    changed, turned = {}, {}
    for (a, b), recipe_ in found:
        own, first = gaps(recipe_, a, b), gaps("fast", a, b)
        gap = found[(a, b), recipe_]
        assert (gap.params, gap.seeds) == ((FAMILIES[a], FAMILIES[b]), 4)
        low, high = stats.t.interval(0.95, 3, loc=own.mean(), scale=stats.sem(own))
        assert (gap.points.value, gap.points.low, gap.points.high) == pytest.approx((own.mean(), low, high))
        if recipe_ == "fast":
            assert gap.change is None
            continue
        assert gap.change is not None
        change, points = own - first, gap.change.points
        low, high = stats.t.interval(0.95, 3, loc=change.mean(), scale=stats.sem(change))
        assert (points.value, points.low, points.high) == pytest.approx((change.mean(), low, high))
        changed[(a, b), recipe_] = stats.ttest_rel(own, first).pvalue
        both = max(stats.ttest_1samp(own, 0).pvalue, stats.ttest_1samp(first, 0).pvalue)
        turned[(a, b), recipe_] = both if own.mean() * first.mean() < 0 else 1.0
    for name, raw in (("p_changed", changed), ("p_reversed", turned)):
        for key, p in raw.items():
            assert getattr(found[key].change, name) == pytest.approx(min(1.0, len(raw) * p)), (key, name)
    reversed_pairs = {(pair, r) for (pair, r), gap in found.items() if gap.change and gap.change.p_reversed < 0.05}
    expected = [((SMALL_RKNET, SMALL_DENSE), "triple"), ((LARGE_RKNET, LARGE_DENSE), "triple")]
    assert reversed_pairs == (set(expected) if shift == 4 else set())


def test_times_of_different_conditions_are_not_compared_on_the_page() -> None:
    """A comparison may be resumed on another machine, or with another number of trainings at a time."""
    old = family_trainings(0.0)
    side_by_side = "of its time (not side by side: a difference of some percent says nothing)."
    own = [replace(one, processor="A", jobs=2) for one in old]
    assert page(own) == page(old)
    assert side_by_side in page(old)
    resumed = [replace(one, processor="B", jobs=1) if one.recipe == "triple" else one for one in own]
    for mixed, named in (
        (resumed, "A with 2 trainings at a time and B with 1 training at a time"),
        ([*old[:5], *own[5:]], "A with 2 trainings at a time and conditions that are not recorded"),
    ):
        assert side_by_side not in page(mixed)
        assert "of different conditions, which are named below: the ratios say nothing of the recipes)." in page(mixed)
        assert f"times are the processor's. Times are of {named}. The networks:" in page(mixed)


def test_lines_of_earlier_versions_are_read() -> None:
    line = to_plain(trained("x", 1, 0, "a", 3.0))
    assert from_plain(RecipeTraining, {key: line[key] for key in line.keys() - {"processor", "jobs"}}) == trained(
        "x", 1, 0, "a", 3.0
    )


def test_reading_the_images_is_no_part_of_a_training_s_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def clock() -> float:
        order.append("clock")
        return 0.0

    monkeypatch.setattr(trainings_module.time, "process_time", clock)
    usual = inputs._loaded.__wrapped__

    def loaded(*words: object) -> object:
        order.append("images")
        return usual(*words)

    monkeypatch.setattr(inputs, "_loaded", lru_cache(maxsize=1)(loaded))
    conditions = RecipeConditions(
        dataset="digits", train_images=20, recipes={"short": recipe("short")}, device="cpu", precision="fp32"
    )
    wanted = [Wanted(1, replicate, "short", "ResNet-8") for replicate in (0, 1)]
    found = list(train_all(conditions, wanted, str(tmp_path), processor="A", jobs=1))
    assert order == ["images", *["clock"] * 4]
    assert {(one.processor, one.jobs) for one in found} == {("A", 1)}


def page(trainings: list[RecipeTraining], **made_with: Any) -> str:
    own = {name: recipe("fast", lr=lr) for name, lr in (("fast", 0.1), ("third", 0.0333), ("triple", 0.3))}
    conditions = RecipeConditions(dataset="cifar10", train_images=8000, recipes=own, device="cpu", precision="bf16")
    environment: dict[str, Any] = {
        "command": ["rksearch"],
        "trained_with": ["1" * 40],
        "commit": "2" * 40,
        "torch": "2",
        "cpu": "one",
    }
    environment |= made_with
    found = judged(trainings, RATES)
    assert len(to_json(found, trainings, conditions, environment)["gaps"]) == len(
        family_gaps(trainings, RATES, "cifar10")
    )
    return markdown(found, trainings, conditions, environment)


def test_a_page_says_whether_the_order_of_the_families_changes() -> None:
    flips, same = page(family_trainings(4.0)), page(family_trainings(0.0))
    assert "in brackets: `third` lr 0.0333 (0.1); `triple` lr 0.3 (0.1).\n" in flips
    assert (
        f"beyond chance, the sign is another than by `fast` for `{SMALL_RKNET}` − `{SMALL_DENSE}` by `triple` and "
        f"`{LARGE_RKNET}` − `{LARGE_DENSE}` by `triple`; 5 of 16 changes are beyond chance."
    ) in flips
    assert "none changes its sign against `fast` beyond chance; none of 16 changes is beyond chance." in same
    assert "with 4, that of the median change reaches ±" in same
    assert f"| {SMALL_RKNET} − {SMALL_DENSE} | 50,586 and 39,370 | " in same
    assert "from the same initial weights: this correlation is higher" in same
    # A single length has only the agreement of its own seeds.
    assert "worse ranks" not in flips + same
    few = page(family_trainings(4.0, seeds=2))
    assert "takes 3 seeds of the longest trainings or more, which have 2." in few
    assert "## Gaps" not in few
    resnets = [one for one in family_trainings(0.0) if "ResNet" in one.arch]
    resnets += [trained(one.recipe, 8, one.replicate, "ResNet-20", 20.0) for one in resnets if one.arch == SMALL_RESNET]
    assert "families" not in page(resnets)


def test_a_page_says_which_trainings_and_page_were_made_with_uncommitted_changes() -> None:
    clean = "Trained with 111111111111; page by 2222222222222222222222222222222222222222, torch 2, one.\n"
    assert page(family_trainings(0.0)).endswith(f"\n\n{clean}")
    codes = [Environment(commit="1" * 40, dirty=True).code, Environment(commit="3" * 40, dirty=False).code]
    changed = page(family_trainings(0.0), trained_with=codes, dirty=True)
    assert changed.endswith(
        "Trained with 111111111111, with uncommitted changes, 333333333333; "
        "page by 2222222222222222222222222222222222222222, with uncommitted changes, torch 2, one.\n"
    )
    installed = page(family_trainings(0.0), trained_with=[Environment().code], commit=None, dirty=None)
    assert installed.endswith("Trained with none; page by no commit, torch 2, one.\n")


@pytest.mark.slow
def test_a_comparison_is_resumed_from_its_committed_trainings(tmp_path: Path) -> None:
    arguments = (
        "bench", "recipes", *SMALL, "--dataset", "digits", "--train-images", "64", "--epochs", "1,2", "--seeds", "1",
        "--device", "cpu", "--jobs", "1", "--out", str(tmp_path),
    )  # fmt: skip
    first = rksearch(*arguments, "--json")
    assert first.returncode == 0, first.stderr
    path = tmp_path / "trainings.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 2 * 3 * (1 + 1)
    for line in lines[1:]:
        assert len(json.loads(line)["training"]["val_errors_pct"]) == json.loads(line)["training"]["epochs"]
    # One line torn, as by a kill: that training runs again, and no other.
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    again = rksearch(*arguments)
    assert again.returncode == 0, again.stderr
    assert "1 of 1: " in again.stdout
    made = path.read_bytes().splitlines(keepends=True)
    assert made[:-1] == lines[:-1]
    torn, whole = (json.loads(own[-1])["training"] for own in (lines, made))
    assert {**torn, "time_s": 0} == {**whole, "time_s": 0}
    page = (tmp_path / "README.md").read_text()
    assert "`fast` has " in page
    assert "## Each network after 2 epochs" in page
    assert all(f"| {name} |" in page for name in SMALL)
    assert "<svg" in (tmp_path / "errors.svg").read_text()
    # Other conditions do not mix with these.
    other = rksearch(*arguments, "--train-images", "200")
    assert (other.returncode, len(other.stderr.strip().splitlines())) == (2, 1)
    assert "train_images 64, not 200" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ResNet-8", "ResNet-20"), "three networks"),
        (("--epochs", "2,x"), "whole numbers from 1"),
        (("--epochs", "0"), "whole numbers from 1"),
        (("--recipe", "short"), "two or more of different names"),
        (("--recipe", "short", "--recipe", "paper_imagenet_256"), "scale_aspect"),
        (("--train-images", "5"), "one per class"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    code, _, errors = answer("bench", "recipes", "--dataset", "digits", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert said in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_a_result_is_of() -> None:
    assert trained("x", 2, 1, "a", 3.0).wanted == Wanted(2, 1, "x", "a")
