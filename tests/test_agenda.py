from collections import Counter

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rksearch.errors import RunAborted
from rksearch.front import by_macs, by_params, rk_front, summarise
from rksearch.ledger import Ledger
from rksearch.search.run_state import RunState
from rksearch.search.settings import Settings
from tests.simulation import BASELINES, KNOWN, ListProposer, fails, settings, work

ARCHS = [f"RKNet-k{k}-m1_{m}_2-{s}x{r}_1x1_1x1" for k in (4, 6, 8) for m in (1, 2) for s in (1, 2) for r in (1, 2)]


def new_state(path, **changes):
    proposer = ListProposer(list(ARCHS))
    return RunState(Ledger(path), settings(**changes), proposer, clock=lambda: 0.0), proposer


def test_a_run_does_everything_once_in_the_stated_order(tmp_path):
    state, proposer = new_state(tmp_path)
    handed = work(state, slots=1)
    assert state.done
    ids = [task.id for task in handed]
    assert len(set(ids)) == len(ids)
    first = [t.trial.arch for t in handed[: 3 + 6]]
    assert first == [*BASELINES, *KNOWN, *ARCHS[:6]]
    assert [t.trial.role for t in handed[:3]] == ["baseline", "baseline", "known"]
    assert proposer.told == [
        (t.trial.arch, None if fails(t.trial) else state.history.trials[t.trial.id][1].epochs[-1].val_error_pct)
        for t in handed[:9]
    ]
    actions = [t.action for t in handed]
    assert actions == sorted(actions, key=["train", "test"].index), "the test set is read after all training"


def test_front_and_baselines_end_with_all_seeds_and_one_test_reading_each(tmp_path):
    state, _ = new_state(tmp_path, trials=12)
    work(state)
    items = summarise(state.history)
    front = {i.arch for c in (by_params, by_macs) for i in rk_front(items, cost=c)}
    assert len(front) >= 2
    for item in items:
        expected = 3 if item.arch in front or item.is_baseline else None
        if expected:
            assert item.seeds == expected
            assert item.test_seeds == expected
    readings = Counter(test["trial"] for test in state.history.tests)
    assert set(readings.values()) == {1}
    assert {t.rpartition("@")[0] for t in readings} == front | set(BASELINES)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 9), max_size=4), slots=st.integers(1, 4))
def test_stopped_dead_at_any_moment_and_resumed_it_ends_as_if_never_stopped(tmp_path_factory, stops, slots):
    whole, _ = new_state(tmp_path_factory.mktemp("whole"))
    work(whole, slots)
    directory = tmp_path_factory.mktemp("stopped")
    finished: set[str] = set()
    for stop in stops:
        state, _ = new_state(directory)
        work(state, slots, stop_after=stop)
        assert finished <= set(state.history.trials)
        finished = set(state.history.trials)
    last, _ = new_state(directory)
    work(last, slots)
    assert last.done
    assert last.history.repeated == 0
    # With several slots an interruption may change which front deserved seeds in between; with one it may not.
    firsts = {t for t in whole.history.trials if t.endswith("@0")}
    assert {t for t in last.history.trials if t.endswith("@0")} == firsts
    if slots == 1:
        assert set(last.history.trials) == set(whole.history.trials)
        assert {t["trial"] for t in last.history.tests} == {t["trial"] for t in whole.history.tests}


def test_a_candidate_chosen_before_a_kill_is_trained_after_it(tmp_path):
    state, _ = new_state(tmp_path)
    for _ in range(5):
        state.next()
    resumed = RunState(Ledger(tmp_path), settings(), ListProposer(list(reversed(ARCHS))), clock=lambda: 0.0)
    handed = work(resumed, slots=1)
    assert [t.trial.arch for t in handed[:5]] == [*BASELINES, *KNOWN, *ARCHS[:2]]


def test_an_exhausted_space_ends_the_search_early(tmp_path):
    proposer = ListProposer(ARCHS[:2])
    state = RunState(Ledger(tmp_path), settings(trials=50), proposer, clock=lambda: 0.0)
    work(state)
    assert state.done
    assert state.agenda.exhausted
    assert state.agenda.remaining_trainings(state.history) == 0


def test_more_trials_go_on_with_a_finished_run(tmp_path):
    state, _ = new_state(tmp_path, trials=3)
    work(state)
    before = set(state.history.trials)
    state, _ = new_state(tmp_path, trials=5)
    assert not state.done
    handed = work(state)
    assert before.isdisjoint(t.id for t in handed if t.action == "train")
    assert sum(t.id.endswith("@0") and t.action == "train" for t in handed) == 2


def test_several_seeds_in_the_search(tmp_path):
    state, _ = new_state(tmp_path, search_seeds=2, final_seeds=2)
    work(state)
    counts = Counter(t.rpartition("@")[0] for t in state.history.trials)
    assert set(counts.values()) == {2}


def test_an_abort_stops_the_run_and_records_nothing(tmp_path):
    state, _ = new_state(tmp_path)
    task = state.next()
    with pytest.raises(RunAborted, match="disk is full"):
        state.on_end(task, {"abort": "the disk is full"})
    assert task.id not in Ledger(tmp_path).read().trials


def test_a_dead_worker_is_a_failed_trial_with_its_reason(tmp_path):
    state, proposer = new_state(tmp_path)
    task = state.next()
    state.on_end(task, {"message": "its worker process died repeatedly"})
    _, result = Ledger(tmp_path).read().trials[task.id]
    assert (result.status, result.failure) == ("failed", "worker_died")
    assert proposer.told == [(task.trial.arch, None)]


def test_settings_round_trip_through_json():
    plan = settings()
    assert Settings.from_json(plan.to_json()) == plan
