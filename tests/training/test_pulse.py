"""The pulse of a training, with a clock of the test's."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from rksearch.recipes.shipped import recipe
from rksearch.results.records import TrialSpec
from rksearch.training.execution import Execution
from rksearch.training.pulse import LONGEST_GAP_S, Pulse
from rksearch.training.trial import run_trials


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.waited_s = 0.0

    def pulse(self) -> Pulse:
        return Pulse(clock=lambda: self.now_s, waited_s=lambda: self.waited_s)


def test_a_part_is_as_old_as_its_beats_say_and_is_measured_by_those_before() -> None:
    clock = Clock()
    pulse = clock.pulse()
    for lasted_s in (3.0, 1.0, 2.0):
        pulse.begin("step")
        clock.now_s += lasted_s
    pulse.begin("step")
    clock.now_s += 2
    beat = pulse.beat()
    assert (beat.part, beat.lasted_s, beat.longest_s) == ("step", 2.0, 3.0)
    clock.now_s += 2
    assert pulse.beat().lasted_s == 4.0
    pulse.begin("save")
    beat = pulse.beat()
    assert (beat.part, beat.lasted_s, beat.longest_s) == ("save", 0.0, None)


def test_suspended_and_stolen_time_does_not_count() -> None:
    clock = Clock()
    pulse = clock.pulse()
    pulse.begin("step")
    pulse.beat()
    clock.now_s += 3600  # the process was stopped
    assert pulse.beat().lasted_s == LONGEST_GAP_S
    clock.now_s += 3
    clock.waited_s += 2.5  # others had its CPU
    assert pulse.beat().lasted_s == LONGEST_GAP_S + 0.5
    clock.now_s += 1
    clock.waited_s += 2
    assert pulse.beat().lasted_s == LONGEST_GAP_S + 0.5, "never backwards"


def test_a_thread_that_spins_beside_others_waits_for_its_cpu() -> None:
    """By the system's own count: threads of this interpreter exclude each other, so processes would be needed to see
    it grow; that it is a number that never falls is what holds anywhere."""
    pulse = Pulse()
    seen = []
    thread = threading.Thread(target=lambda: seen.extend([pulse._waited_s(), pulse._waited_s()]))
    thread.start()
    thread.join()
    assert 0 <= seen[0] <= seen[1]


def test_a_training_says_what_it_is_at(tmp_path: Path) -> None:
    parts: list[str] = []
    spec = TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short", epochs=2), train_images=100)
    execution = Execution(work_dir=str(tmp_path), data_dir="")
    (result,) = run_trials([spec], execution, on_part=parts.append)
    assert result.status == "complete"
    assert parts[0] == "load"
    steps = -(-100 // spec.recipe.batch_size)
    assert parts.count("step") == 2 * steps
    assert parts.count("validate") == parts.count("save") == parts.count("wait") == 2
    assert parts.index("build") < parts.index("prepare") < parts.index("step") < parts.index("validate")
    before = len(parts)
    run_trials([spec], execution, on_part=parts.append)
    assert "step" not in parts[before:]


def test_a_step_costs_next_to_nothing() -> None:
    pulse = Pulse()
    began = time.perf_counter()
    for _ in range(10_000):
        pulse.begin("step")
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("count", [2])
def test_seeds_together_say_it_too(tmp_path: Path, count: int) -> None:
    parts: list[str] = []
    one = recipe("short", epochs=1)
    specs = [
        TrialSpec(arch="ResNet-8", dataset="digits", recipe=one, train_images=100, replicate=i) for i in range(count)
    ]
    run_trials(specs, Execution(work_dir=str(tmp_path), data_dir=""), on_part=parts.append)
    assert parts.count("step") == -(-100 // one.batch_size)
    assert parts.count("validate") == count
