import os
import subprocess
import sys
import time

import pytest

from rksearch.errors import DeviceError, RunError, SpecError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import TrialResult
from rksearch.training import latency as latency_module
from rksearch.training.latency import latency_ms, measure_latency
from tests.helpers.command_line import rksearch, rksearch_json

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
    times = latency_module._times_ms(lambda: float(next(calls)))
    assert times == [float(i) for i in range(3, 23)]


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


def test_a_process_that_dies_is_one_line(monkeypatch):
    monkeypatch.setattr(latency_module.sys, "executable", "/bin/false")
    if not os.path.exists("/bin/false"):
        pytest.skip("this machine has no /bin/false")
    with pytest.raises(RunError, match="that failed: exit code 1"):
        measure_latency(TINY, "digits", device="cpu")


@pytest.mark.slow
def test_the_command_prints_json_with_hardware_and_versions():
    found = rksearch_json("bench", "latency", TINY, "--dataset", "digits", "--batch-size", "2", "--json")
    assert found["environment"]["torch"]
    assert found["environment"]["cpu"]
    [item] = found["latency"]
    assert (item["arch"], item["dataset"], item["batch_size"]) == (TINY, "digits", 2)
    assert item["median_ms"] > 0
