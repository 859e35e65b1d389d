from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.bench.scheduling import growth_kib, sleep_run
from rksearch.errors import RunError
from rksearch.search.ray.slots import chosen


@given(waiting=st.integers(0, 6), running=st.integers(0, 5), slots=st.integers(1, 5))
def test_a_free_worker_goes_to_a_trial_for_which_no_other_starts(waiting: int, running: int, slots: int) -> None:
    trials: list[Any] = [SimpleNamespace(number=i) for i in range(waiting)]
    trial = chosen([(trial, 1) for trial in trials], slots=slots, running=running)
    # Written out: one slot belongs to the free worker, and the others that are left start those that came first.
    left = max(0, slots - running - 1)
    without_worker = trials[left:]
    if without_worker:
        assert trial is without_worker[0]
    elif trials:
        assert trial is trials[-1]
    else:
        assert trial is None


@given(wants=st.lists(st.integers(1, 4), min_size=1, max_size=6), running=st.integers(0, 4))
def test_what_fills_several_slots_keeps_its_turn(wants: list[int], running: int) -> None:
    trials: list[Any] = [SimpleNamespace(number=i) for i in range(len(wants))]
    trial = chosen(list(zip(trials, wants, strict=True)), slots=4, running=running)
    assert trial is not None
    # Workers for those before it fit into what is left beside the free one.
    assert sum(wants[: trial.number]) <= max(0, 4 - running - 1)
    if wants[0] == 4:
        assert trial is trials[0], "one that wants everything does not wait for those that came after it"


def test_trials_that_cannot_fill_the_slots_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="multiple of the slots, but got 3 trials and 2 slots"):
        sleep_run(tmp_path, trials=3, trial_s=1, slots=2)


@pytest.mark.timing
def test_two_slots_of_ten_second_trials_are_busy(tmp_path: Path) -> None:
    found = sleep_run(tmp_path, trials=12, trial_s=10, slots=2)
    assert found.trials == 12
    assert found.busy_pct >= 95, found


@pytest.mark.timing
def test_trials_shorter_than_the_start_of_a_worker_fill_all_slots(tmp_path: Path) -> None:
    found = sleep_run(tmp_path, trials=24, trial_s=1, slots=2)
    # One slot alone would need 24 s.
    assert found.span_s < 20, found


def test_growth_is_the_slope_after_the_warm_up() -> None:
    steady = {n: 1000.0 + 3 * n + (5000 if n < 100 else 0) for n in range(501)}
    assert growth_kib(steady) == pytest.approx(3.0)
    assert growth_kib(dict.fromkeys(range(100), 1000.0)) is None
    assert growth_kib({}) is None


def test_of_a_trial_that_has_ended_nothing_stays_that_it_was_given_or_has_reported() -> None:
    from ray.tune.experiment import Trial

    from rksearch.search.ray.tune import forget

    trial = Trial("any", config={"task": "x" * 10_000}, evaluated_params={"task": "y" * 10_000}, stub=True)
    trial.run_metadata.last_result = {"outcome": "z" * 10_000}
    trial.run_metadata.update_metric("time_s", 1.0)
    before = len("".join(trial.get_json_state()))
    forget(trial)
    assert len("".join(trial.get_json_state())) < before - 30_000
    assert not trial.config
    assert not trial.metric_analysis


@pytest.mark.slow
def test_the_driver_hardly_grows(tmp_path: Path) -> None:
    found = sleep_run(tmp_path, trials=1000, trial_s=0.0, slots=2)
    assert found.driver_kib_per_trial is not None
    # Without dropping what ended trials hold it is about 50; Ray's own remainder and our records are about 12.
    assert found.driver_kib_per_trial < 25, found
