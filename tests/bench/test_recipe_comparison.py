import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.bench.recipes.judging import judged, recipe_standings, spearman
from rksearch.bench.recipes.trainings import NETWORKS, RecipeTraining, Wanted, wanted_trainings, without_each_term
from rksearch.data.facts import dataset
from rksearch.recipes.shipped import recipe
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


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_rank_correlations_are_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array([column], dtype=float) for column in zip(*pairs, strict=True))
    if len(set(a[0])) > 1 and len(set(b[0])) > 1:
        assert spearman(a, b)[0] == pytest.approx(stats.spearmanr(a[0], b[0]).statistic)
    else:
        assert np.isnan(spearman(a, b)[0])


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
    assert ranks.low <= ranks.value <= ranks.high <= 1
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
    same = found["y", 2].ranks_against_first
    assert same is not None
    assert (same.value, same.low, same.high) == (0, 0, 0)
    # y 45 41 28 30 against x 50 40 30 35: the first order with c and d as they are.
    order = found["y", 1].order_of_first
    assert order is not None
    assert order.value == pytest.approx(stats.spearmanr([45, 41, 28, 30], [50, 40, 30, 35]).statistic) == 1
    assert found["x", 1].order_of_first is None


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
