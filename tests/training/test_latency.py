import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rksearch.errors import DeviceError, RksearchError, RunError, SpecError, TrialFailed
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import Latency, TrialResult, TrialSpec
from rksearch.search import hanging
from rksearch.training import latency as latency_module
from rksearch.training import lifecycle
from rksearch.training.execution import Execution, trial_dir
from rksearch.training.latency import latency_ms, measure_latency
from rksearch.training.trial import run_trial, run_trials
from tests.helpers.command_line import Answer, rksearch, rksearch_json

TINY = "RKNet-k2-m1-1x1"


def test_latency_is_measured_in_another_process(monkeypatch):
    started = []
    run = subprocess.run

    def spy(command, **kwargs):
        started.append(command)
        return run(command, **kwargs)

    monkeypatch.setattr(latency_module.subprocess, "run", spy)
    small, large = measure_latency(TINY, "digits", device="cpu", precision="fp32", batch_sizes=(1, 256), threads=1)
    assert [command[0] for command in started] == [sys.executable]
    assert (small.batch_size, large.batch_size) == (1, 256)
    for found in (small, large):
        assert (found.device, found.precision, found.threads) == ("cpu", "fp32", 1)
        assert found.repetitions >= 20
        assert found.median_ms > 0
        assert found.iqr_ms >= 0
    result = TrialResult(status="complete", latency_ms=latency_ms([small, large]))
    kept = from_plain(TrialResult, to_plain(result))
    assert kept.latency_ms is not None
    assert kept.latency_ms["256"] == large


def test_repetitions_follow_a_warm_up_and_are_timed_one_by_one(monkeypatch):
    monkeypatch.setattr(latency_module, "WARM_UP_S", 0.0)
    monkeypatch.setattr(latency_module, "MEASURE_S", 0.0)
    calls = iter(range(1000))
    times = latency_module._times_ms(lambda: float(next(calls)), 100.0)
    assert times == [float(i) for i in range(3, 23)]


@pytest.mark.parametrize(
    ("pass_s", "passes"),
    [(1 / 1024, 2000), (1 / 64, 128), (1.0, 20), (10.0, 20), (20.0, 12), (40.0, 6), (100.0, 5), (1000.0, 5)],
)
def test_slow_passes_are_fewer(monkeypatch: pytest.MonkeyPatch, pass_s: float, passes: int) -> None:
    """As those of DenseNet-161 on a CPU for 256 images of ImageNet, of which 23 had not ended in time."""
    now = [0.0]

    def once() -> float:
        now[0] += pass_s
        return 1e3 * pass_s

    monkeypatch.setattr(latency_module.time, "perf_counter", lambda: now[0])
    times = latency_module._times_ms(once, 225.0)
    assert len(times) == passes
    assert now[0] <= max(900.0, (3 + 5) * pass_s), "warm-ups too"


@pytest.mark.timing
def test_a_pass_of_more_images_takes_longer():
    small, large = measure_latency(TINY, "digits", device="cpu", precision="fp32", batch_sizes=(1, 256), threads=1)
    assert large.median_ms > small.median_ms


@pytest.mark.timing
def test_a_pass_takes_as_long_as_the_network():
    timer = latency_module._timer(lambda images: time.sleep(0.01), _Images())
    # The shortest of some: on a busy machine any one of them may be late.
    assert min(timer() for _ in range(10)) == pytest.approx(10, abs=8)


class _Images:
    is_cuda = False


def test_bad_input_is_one_line():
    with pytest.raises(SpecError):
        measure_latency("RKNet-none", "digits")
    with pytest.raises(RunError, match="must be at least 1, but got 1 and \\[0\\]"):
        measure_latency(TINY, "digits", batch_sizes=(0,))
    with pytest.raises(DeviceError):
        measure_latency(TINY, "digits", device="tpu")
    done = rksearch("bench", "latency", "RKNet-none")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def instead_of_python(path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have a shell script in the place of the Python that measures."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(latency_module.sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "raised", "kind", "reason"),
    [
        ("exit 1", RunError, None, "exit code 1"),
        ("echo one >&2; echo no such module >&2; exit 1", RunError, None, "no such module"),
        ("kill -TERM $$", RunError, None, "signal 15 ended it"),  # a batch system ends the whole run
        ("kill -KILL $$", TrialFailed, "out_of_memory", "signal 9 ended it"),
        ("echo alloc >&2; exit 3", TrialFailed, "out_of_memory", "alloc"),
        ("kill -SEGV $$", TrialFailed, "error", "signal 11 ended it"),
    ],
)
def test_a_process_that_dies_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    raised: type[RksearchError],
    kind: str | None,
    reason: str,
) -> None:
    instead_of_python(tmp_path / "python", monkeypatch, script)
    with pytest.raises(raised, match=f"in a process of its own, but that failed: {reason}") as caught:
        measure_latency(TINY, "digits", device="cpu")
    assert getattr(caught.value, "kind", None) == kind
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_a_measurement_that_takes_too_long_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    instead_of_python(tmp_path / "python", monkeypatch, "exec sleep 60")
    monkeypatch.setattr(latency_module, "PROCESS_LIMIT_S", 0.2)
    code, _, errors = answer("bench", "latency", TINY, "--dataset", "digits", "--device", "cpu")
    [line] = errors.splitlines()
    assert code == 1
    assert f"the latency of {TINY} must be measured within 0.2 s, but passes of 1 and 256 images take longer;" in line


def test_a_training_that_measures_is_not_called_hung_before_the_limit_of_the_measurement() -> None:
    assert hanging.FIRST_OF_S["latency"] > latency_module.PROCESS_LIMIT_S


def test_a_network_that_has_too_little_memory_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process whose memory is limited, by torch's own allocator."""
    instead_of_python(tmp_path / "python", monkeypatch, f'ulimit -v 30000000; exec "{sys.executable}" "$@"')
    with pytest.raises(TrialFailed, match="can't allocate memory") as caught:
        measure_latency(TINY, "digits", device="cpu", batch_sizes=(10**9,))
    assert caught.value.kind == "out_of_memory"
    assert "\n" not in str(caught.value)


def test_a_network_whose_latency_cannot_be_measured_fails_before_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its training is a failed one, which the run tries once more alone: the error had ended the whole run."""
    instead_of_python(tmp_path / "python", monkeypatch, "kill -KILL $$")
    spec = TrialSpec(arch=TINY, dataset="digits", recipe=recipe("short", epochs=2), train_images=60)
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu", precision="fp32", latency=True)
    result = run_trial(spec, execution)
    assert (result.status, result.failure) == ("failed", "out_of_memory")
    assert [epoch.epoch for epoch in result.epochs] == [1]
    assert "TrialFailed" in (trial_dir(tmp_path, spec.id) / "error.txt").read_text()
    monkeypatch.undo()
    again = run_trial(spec, execution)
    assert (again.status, len(again.epochs)) == ("complete", 2)
    assert again.epochs[0] == result.epochs[0], "from its checkpoint"
    assert again.image_latency_ms is not None


def test_of_seeds_together_the_one_that_cannot_be_measured_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Latency(batch_size=1, median_ms=1.0, iqr_ms=0.1, repetitions=20, device="cpu", precision="fp32", threads=1)
    answers: list[list[Latency] | TrialFailed] = [[found], TrialFailed("error", "too slow"), [found]]

    def measured(*args: object, **kwargs: object) -> list[Latency]:
        answer = answers.pop(0)
        if isinstance(answer, TrialFailed):
            raise answer
        return answer

    monkeypatch.setattr(lifecycle, "measure_latency", measured)
    spec = TrialSpec(arch=TINY, dataset="digits", recipe=recipe("short", epochs=2), train_images=60)
    specs = [replace(spec, replicate=replicate) for replicate in range(3)]
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu", precision="fp32", latency=True)
    results = run_trials(specs, execution)
    assert answers == [], "each once"
    assert [result.status for result in results] == ["complete", "failed", "complete"]
    assert [result.seeds_together for result in results] == [2, 3, 2]
    assert [result.image_latency_ms for result in results] == [1.0, None, 1.0]
    alone = run_trial(specs[2], replace(execution, latency=False, work_dir=str(tmp_path / "alone")))
    assert [replace(e, train_time_s=0.0) for e in results[2].epochs] == [
        replace(e, train_time_s=0.0) for e in alone.epochs
    ]


def test_memory_that_steps_have_freed_is_returned_before_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(name: str) -> Callable[[], None]:
        return lambda: order.append(name)

    def measured(*args: object, **kwargs: object) -> list[Latency]:
        order.append("measured")
        return []

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", noted("cache emptied"))
    monkeypatch.setattr(lifecycle, "return_freed", noted("heap trimmed"))
    monkeypatch.setattr(lifecycle, "measure_latency", measured)
    spec = TrialSpec(arch=TINY, dataset="digits", recipe=recipe("short", epochs=1), train_images=60)
    execution = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu", precision="fp32", latency=True)
    assert run_trial(spec, execution).status == "complete"
    assert order[:3] == ["cache emptied", "heap trimmed", "measured"]


@pytest.mark.slow
def test_the_command_prints_json_with_hardware_and_versions():
    found = rksearch_json("bench", "latency", TINY, "--dataset", "digits", "--batch-size", "2", "--json")
    assert found["environment"]["torch"]
    assert found["environment"]["cpu"]
    [item] = found["latency"]
    assert (item["arch"], item["dataset"], item["batch_size"]) == (TINY, "digits", 2)
    assert item["median_ms"] > 0
