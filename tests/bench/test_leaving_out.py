import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from rksearch.arch import parse
from rksearch.bench.kernels import names
from rksearch.bench.leaving_out import KINDS, Gain, Kept, bench_leaving_out, saved_pct, smallest_set
from rksearch.bench.settings import BenchSettings
from rksearch.data.facts import dataset
from rksearch.errors import DeviceError
from rksearch.training.throughput import ImageSource
from tests.helpers.command_line import rksearch

GAINS = {"a": 10.0, "b": 4.0, "c": 1.0, "d": 0.5, "e": -1.0}


def added(sets: Sequence[Kept]) -> dict[Kept, float]:
    """Kernels whose gains add up, except that `b` saves what `c` saves too."""
    return {kept: sum(GAINS[k] for k in kept) + (1.0 if "b" in kept and "c" not in kept else 0.0) for kept in sets}


def test_the_smallest_set_is_found_greedily() -> None:
    kept, removals = smallest_set(frozenset(GAINS), added)
    # Of 14.5 at first: without e 15.5, then without c 15.5 (b does its work), without d 15; a or b alone are too few.
    assert kept == {"a", "b"}
    assert [one.kernel for one in removals] == ["e", "c", "d"]
    assert [one.share_kept for one in removals] == pytest.approx([15.5 / 14.5, 15.5 / 14.5, 15 / 14.5])


def test_nothing_stays_where_all_gain_nothing() -> None:
    kept, removals = smallest_set(frozenset("ab"), lambda sets: dict.fromkeys(sets, -0.1))
    assert kept == frozenset()
    assert removals == []


def test_one_kernel_that_gains_stays() -> None:
    assert smallest_set(frozenset("a"), added) == (frozenset("a"), [])


def test_a_gain_is_the_share_of_the_time_that_is_saved_in_pooled_rounds() -> None:
    assert saved_pct(1.25) == pytest.approx(20)
    found = Gain.between([[1.0, 2.0, 4.0], [3.0, 6.0, 9.0]], [[0.8, 1.6, 3.2], [2.7, 5.4, 8.1]])
    assert found.runs_pct == pytest.approx((20, 10))
    assert found.median_pct == pytest.approx(saved_pct((1 / 0.8 + 1 / 0.9) / 2))
    assert found.low_pct == pytest.approx(10)
    assert found.high_pct == pytest.approx(20)
    assert found.best_pct == pytest.approx(20)


def test_kernels_are_left_out_only_where_they_do_something() -> None:
    assert set(names(compiled=False, precision="bf16")) - set(names(compiled=False, precision="fp32")) == {
        "parts of gradients"
    }
    assert "compiled norms" in names(compiled=True, precision="fp32")
    assert "norms over pixels" not in names(compiled=True, precision="bf16")


def test_the_kinds_are_networks_of_every_sort() -> None:
    assert {parse(kind).family for kind in KINDS} == {"dense", "dense_bc", "residual", "densenet_bc", "resnet"}


def test_a_gpu_is_refused() -> None:
    settings = BenchSettings(device=torch.device("cuda"), precision="fp32")
    with pytest.raises(DeviceError, match="CPU alone, but got cuda; use cpu"):
        bench_leaving_out(["ResNet-8"], ImageSource(dataset("digits"), None, 0), settings, runs=1)


@pytest.mark.slow
def test_bench_optimisations_measures_what_each_kernel_gains(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = rksearch(
        *("bench", "optimisations", "ResNet-8", "RKNet-k4-m2-2x1", "--dataset", "digits", "--device", "cpu"),
        *("--precision", "fp32", "--compile", "off", "--batch-size", "8", "--rounds", "3", "--steps", "1"),
        *("--runs", "2", "--threads", "1", "--to", str(path)),
        timeout_s=900,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    expected = set(names(compiled=False, precision="fp32"))
    assert [case["network"] for case in found["cases"]] == ["ResNet-8", "RKNet-k4-m2-2x1"]
    for case in found["cases"]:
        assert set(case["each"]) == expected
        assert set(case["turns_s"]) == {
            "tuned",
            "ours with none",
            f"ours with {', '.join(sorted(expected))}",
            *(f"ours with {', '.join(sorted(expected - {kernel}))}" for kernel in expected),
        }
        assert all([len(run) for run in runs] == [3, 3] for runs in case["turns_s"].values())
        assert len(case["all_over_tuned"]["runs_pct"]) == 2
    (smallest,) = found["smallest"]
    gone = {removal["kernel"] for removal in smallest["removals"]}
    assert (not smallest["kernels"]) or set(smallest["kernels"]) | gone == expected
    assert "over the tuned loop" in done.stdout
    assert "smallest set, eager:" in done.stdout
