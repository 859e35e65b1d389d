from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rksearch.errors import RunAborted
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.fronts import membership, rk_front
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.results.summaries import by_macs, by_params, summarise
from rksearch.search.agenda import SearchAgenda
from rksearch.search.budget import TimeBudget
from rksearch.search.final import FinalAgenda, finalists
from rksearch.search.racing import Race
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from tests.helpers.simulation import (
    ARCHS,
    BASELINES,
    KNOWN,
    RACING,
    fails,
    must,
    new_state,
    outcome,
    params_of,
    settings,
    work,
)


def firsts(state):
    return {spec.arch: result for spec, result in state.history.trials.values() if spec.id.endswith("@0")}


def test_a_run_does_everything_once_in_the_stated_order(tmp_path):
    state, proposer = new_state(tmp_path)
    handed = work(state, slots=1)
    assert state.done
    ids = [task.id for task in handed]
    assert len(set(ids)) == len(ids)
    assert {task.action for task in handed} == {"train"}, "the test set is read by `final` alone"
    assert [t.trial.arch for t in handed[: 3 + 6]] == [*BASELINES, *KNOWN, *ARCHS[:6]]
    assert [t.trial.role for t in handed[:3]] == ["baseline", "baseline", "known"]
    trials = state.history.trials
    # The last result is read when the next task is asked for; every earlier one was passed on once, in its order.
    state.next()
    assert [spec.id for spec, _ in proposer.results] == ids
    assert all(result is trials[spec.id][1] for spec, result in proposer.results)
    assert {result.status for _, result in proposer.results} == {"complete", "failed"}
    assert proposer.begun == {**dict.fromkeys(BASELINES, "baseline"), **dict.fromkeys(KNOWN, "known")}


def test_front_and_baselines_end_with_all_seeds(tmp_path):
    state, _ = new_state(tmp_path, trials=12)
    work(state)
    items = summarise(state.history)
    front = {i.arch for c in (by_params, by_macs) for i in rk_front(items, cost=c)}
    assert len(front) >= 2
    for item in items:
        if item.arch in front or item.is_baseline:
            assert item.seeds == 3
    assert state.history.tests == ()


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stops=st.lists(st.integers(0, 9), max_size=4),
    slots=st.integers(1, 4),
    racing=st.sampled_from([None, RACING]),
    control=st.booleans(),
)
def test_stopped_dead_at_any_moment_and_resumed_it_ends_as_if_never_stopped(
    tmp_path_factory, stops, slots, racing, control
):
    plan = {"racing": racing, "control": control, "trials": 9}
    whole, _ = new_state(tmp_path_factory.mktemp("whole"), **plan)
    work(whole, slots)
    directory = tmp_path_factory.mktemp("stopped")
    finished: set[str] = set()
    for stop in stops:
        state, _ = new_state(directory, **plan)
        work(state, slots, stop_after=stop)
        assert finished <= set(state.history.trials)
        finished = set(state.history.trials)
    last, _ = new_state(directory, **plan)
    work(last, slots)
    assert last.done
    assert last.history.repeated == 0
    assert not last.history.paused
    # With several slots an interruption may change who is compared with whom, and which front deserved seeds.
    assert set(firsts(last)) == set(firsts(whole))
    if slots == 1 and not control:
        assert {key: pair[1] for key, pair in last.history.trials.items()} == {
            key: pair[1] for key, pair in whole.history.trials.items()
        }


def test_a_candidate_chosen_before_a_kill_is_trained_after_it(tmp_path):
    state, _ = new_state(tmp_path)
    for _ in range(5):
        state.next()
    resumed, _ = new_state(tmp_path, archs=list(reversed(ARCHS)))
    handed = work(resumed, slots=1)
    assert [t.trial.arch for t in handed[:5]] == [*BASELINES, *KNOWN, *ARCHS[:2]]


@pytest.mark.parametrize("racing", [None, RACING])
def test_asking_for_work_changes_neither_the_tasks_nor_how_many_seeds_go_together(tmp_path, racing):
    plan = {"racing": racing, "control": True, "search_seeds": 3}
    asked, _ = new_state(tmp_path / "asked", **plan)
    state, _ = new_state(tmp_path / "not", **plan)
    assert asked.has_work()
    assert asked.has_work()
    assert not asked.history.started
    # A driver learns how many seeds go together after it has found that there is work.
    asked.together = state.together = 2
    first = must(asked.next())
    assert first == must(state.next())
    assert [task.trial.replicate for task in first.each()] == [0, 1]
    tasks: list[list[Task]] = []
    for each, asks in ((asked, True), (state, False)):
        tasks.append([])
        while not asks or each.has_work():
            if (task := each.next()) is None:
                break
            tasks[-1].append(task)
            for one in task.each():
                each.on_end(one, outcome(one))
    assert tasks[0] == tasks[1] != []
    assert not asked.has_work()


def test_what_remains_is_counted_exactly_where_nothing_depends_on_results(tmp_path):
    archs = [arch for arch in ARCHS if not fails(TrialSpec(arch=arch, dataset="digits", recipe=settings().recipe))][:4]
    state, _ = new_state(tmp_path, archs=archs, trials=4, known=(), search_seeds=3, final_seeds=3, replicates=0)
    total = 3 * len({*BASELINES, *archs})
    for done in range(total):
        left = state.agenda.remaining(state.history)
        assert (left.tasks, left.epochs) == (total - done, (total - done) * settings().recipe.epochs)
        work(state, slots=1, stop_after=1)
    assert state.agenda.remaining(state.history).tasks == 0


def test_an_exhausted_space_ends_the_search_early(tmp_path):
    state, _ = new_state(tmp_path, archs=ARCHS[:2], trials=50)
    work(state)
    assert state.done
    assert isinstance(state.agenda, SearchAgenda)
    assert {spec.arch for spec, _ in state.history.trials.values()} == {*BASELINES, *KNOWN, *ARCHS[:2]}
    assert state.agenda.remaining(state.history).tasks == 0
    assert state.agenda.remaining(state.history).epochs == 0


def test_more_trials_go_on_with_a_finished_run(tmp_path):
    state, _ = new_state(tmp_path, trials=3)
    work(state)
    before = set(state.history.trials)
    state, _ = new_state(tmp_path, trials=5)
    assert not state.done
    handed = work(state)
    assert before.isdisjoint(t.id for t in handed)
    assert sum(t.id.endswith("@0") for t in handed) == 2


def test_several_seeds_in_the_search(tmp_path):
    state, _ = new_state(tmp_path, search_seeds=2, final_seeds=2)
    work(state)
    counts = Counter(t.rpartition("@")[0] for t in state.history.trials)
    complete = {arch for arch, result in firsts(state).items() if result.status == "complete"}
    assert {arch for arch, count in counts.items() if count == 2} == complete | set(KNOWN)


# -- racing


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slots=st.integers(1, 5), trials=st.integers(1, 24), order=st.permutations(ARCHS))
def test_racing_keeps_the_better_share_of_each_band(tmp_path_factory, slots, trials, order):
    state, proposer = new_state(tmp_path_factory.mktemp("race"), racing=RACING, trials=trials, archs=order)
    handed = work(state, slots)
    history = state.history
    candidates = {a: r for a, r in firsts(state).items() if a in order[:trials]}
    assert len(candidates) == trials
    assert not history.paused, "what does not go on is pruned in the end"
    for result in candidates.values():
        stops = {"complete": {9}, "pruned": {1, 3}, "failed": {0}}
        assert len(result.epochs) in stops[result.status]
    # Each epoch is trained once: segments of one trial follow upon one another.
    segments: dict[str, list[int]] = {}
    for task in handed:
        if task.trial.role == "candidate" and not task.trial.replicate:
            segments.setdefault(task.id, []).append(task.epochs)
    for ends in segments.values():
        assert ends == [1, 3, 9][: len(ends)]
    race = Race(RACING, smallest=min(map(params_of, ARCHS)), largest=max(map(params_of, ARCHS)))
    everyone = {**candidates, KNOWN[0]: firsts(state)[KNOWN[0]]}
    for band in (0, 1):
        group = {a: r for a, r in everyone.items() if race.band(params_of(a)) == band and r.status != "failed"}
        racing = [a for a in group if a in candidates]
        if racing:
            for rung, stop in ((1, 3), (3, 9)):
                reached = [a for a in group if len(group[a].epochs) >= rung]
                on = [a for a in racing if len(group[a].epochs) >= stop]
                # Never fewer than the last word's share allows (the known one may have taken a place), and early
                # promotions may exceed the final share by what was best at the time.
                assert len(on) >= -(-len(reached) // 3) - 1
                best = min(reached, key=lambda a: (group[a].epochs[rung - 1].val_error_pct, params_of(a), a))
                assert len(group[best].epochs) >= stop, "the best of a band always goes on"
    statuses = {spec.arch: result.status for spec, result in proposer.results if not spec.replicate}
    assert all(statuses[a] == r.status for a, r in candidates.items())


def test_pruned_trials_are_in_no_front(tmp_path):
    state, _ = new_state(tmp_path, racing=RACING, trials=20)
    work(state)
    stopped = {spec.arch for spec, _ in state.history.pruned.values()}
    assert len(stopped) > 5
    assert stopped.isdisjoint(item.arch for item in summarise(state.history))


@pytest.mark.parametrize("resumed", [False, True])
def test_a_pause_before_the_checkpoint_was_read_takes_no_epochs_back(tmp_path, resumed):
    state, proposer = new_state(tmp_path, racing=RACING, trials=12)
    while (task := state.next()) is not None and task.until != 3:
        state.on_end(task, outcome(task))
    assert task is not None
    trained = state.history.paused[task.id][1]
    known = [result for spec, result in proposer.results if spec == task.trial]
    # The time was over before the worker had found its checkpoint.
    state.on_end(task, {"result": to_plain(TrialResult(status="paused", epochs=()))})
    if resumed:
        state, proposer = new_state(tmp_path, racing=RACING, trials=12)
    assert state.history.paused[task.id][1] == trained
    assert state.next() == task, "it stands where it stood"
    assert [result for spec, result in proposer.results if spec == task.trial] == known
    while (later := state.next()) is not None:
        state.on_end(later, outcome(later))
    assert all(r.epochs for _, r in state.history.pruned.values())


def test_racing_saves_epochs(tmp_path):
    spent = {}
    for name, racing in (("racing", RACING), ("whole", None)):
        state, _ = new_state(tmp_path / name, racing=racing, trials=24, final_seeds=1)
        work(state)
        spent[name] = sum(len(r.epochs) for a, r in firsts(state).items() if a in ARCHS)
    assert spent["racing"] < 0.5 * spent["whole"]


# -- control, replicates


@pytest.mark.parametrize("racing", [None, RACING])
def test_the_control_arm_is_random_trained_to_the_end_and_costs_the_same(tmp_path, racing):
    state, _ = new_state(tmp_path, racing=racing, trials=12, control=True)
    work(state, slots=3)
    control = [(s, r) for s, r in state.history.trials.values() if s.role == "control"]
    assert [spec.arch for spec, _ in control] == list(reversed(ARCHS))[: len(control)]
    assert {r.status for _, r in control} <= {"complete", "failed"}
    search = sum(len(r.epochs) for s, r in state.history.trials.values() if s.id.endswith("@0") and s.arch in ARCHS)
    assert 0 <= 9 * len(control) - search < 9 * 3, "equal to within the trainings under way"
    assert all(not item.arch.startswith("@control") for item in summarise(state.history))


def test_replicates_go_where_membership_is_most_uncertain(tmp_path):
    state, _ = new_state(tmp_path, trials=16, final_seeds=2, replicates=0)
    work(state)
    before = summarise(state.history)
    state, _ = new_state(tmp_path, trials=16, final_seeds=2, replicates=5)
    # Some that had all their seeds have left the front since; that takes nothing from the five.
    assert isinstance(state.agenda, SearchAgenda)
    front = [item.arch for item in state.agenda.front(state.history)]
    assert any(i.seeds > 1 and i.arch not in front and not i.is_baseline for i in before)
    handed = work(state, slots=1)
    assert sum(task.trial.replicate >= 2 for task in handed) == 5
    now = {item.arch for item in state.agenda.front(state.history)}
    assert {f"{arch}@1" for arch in now} <= set(state.history.trials), "the front has all its seeds first"
    first = handed[0].trial
    p = {cost: membership(before, cost=cost) for cost in (by_params, by_macs)}
    seeds = {item.arch: item.seeds for item in before}

    def gain(arch):
        return max(q.get(arch, 0) * (1 - q.get(arch, 0)) for q in p.values()) / (seeds[arch] * (seeds[arch] + 1))

    assert gain(first.arch) == max(gain(item.arch) for item in before if not item.is_baseline)
    assert all(task.trial.arch not in BASELINES for task in handed)


def test_unlimited_replicates_end_with_the_budget(tmp_path):
    now = [0.0]
    budget = TimeBudget(cpu_hours=100 / 3600)
    state, _ = new_state(tmp_path, trials=6, replicates=None, budget=budget, clock=lambda: now[0])
    running: list[Task] = []
    while True:
        while len(running) < 2 and (task := state.next()):
            state.on_start(task)
            running.append(task)
        if not running:
            break
        now[0] += 2.0
        task = running.pop(0)
        state.on_end(task, outcome(task))
    assert state.done
    # Two slots, each with one CPU: the last tasks were begun before 100 CPU seconds were over.
    assert 100 <= state.history.cpu_s <= 100 + 2 * 4


def test_after_most_of_the_budget_no_new_candidate_begins(tmp_path):
    state, _ = new_state(tmp_path, trials=20, racing=RACING)
    work(state, slots=1, stop_after=12)
    begun = {t.rpartition("@")[0] for t in state.history.started}
    state, _ = new_state(tmp_path, trials=20, racing=RACING)
    state.budget = RefineOnly()
    work(state)
    assert {t.rpartition("@")[0] for t in state.history.started} == begun
    assert not state.history.paused
    assert any(result.status == "complete" for arch, result in firsts(state).items() if arch in ARCHS)


class RefineOnly(TimeBudget):
    def phase(self, history, running):
        return "refine"


# -- seeds together


@pytest.mark.parametrize("changes", [{"search_seeds": 2}, {"racing": RACING}, {"replicates": 3}, {"control": True}])
@hypothesis_settings(max_examples=20, deadline=None)
@given(together=st.integers(2, 5), slots=st.integers(1, 4), final_seeds=st.integers(2, 5))
def test_seeds_go_together_once_each_and_none_beside_those_that_are_wanted(changes, together, slots, final_seeds):
    with TemporaryDirectory() as directory:
        state, _ = new_state(Path(directory), trials=5, final_seeds=final_seeds, **changes)
        state.together = together
        handed = work(state, slots=slots)
    each = [(one.id, one.until) for task in handed for one in task.each()]
    assert len(set(each)) == len(each), "nothing is done twice"
    for task in handed:
        assert len(task.each()) <= together
        assert not task.beside or (task.until is None and not task.alone)
        assert len({(one.trial.arch, one.trial.role) for one in task.each()}) == 1
    assert isinstance(state.agenda, SearchAgenda)
    front = [item.arch for item in state.agenda.front(state.history)]
    wanted = {f"{arch}@{i}" for arch in (*BASELINES, *front) for i in range(final_seeds)}
    assert wanted <= set(state.history.trials)
    beyond = [spec for spec, _ in state.history.trials.values() if spec.replicate >= final_seeds]
    assert len(beyond) <= changes.get("replicates", 0)


def test_seeds_that_may_go_together_do(tmp_path):
    state, _ = new_state(tmp_path, final_seeds=4)
    state.together = 2
    handed = work(state, slots=1)
    of_baselines = [
        [t.replicate for t in (task.trial, *task.beside)] for task in handed if task.trial.role == "baseline"
    ]
    assert of_baselines == [[0], [0], [1, 2], [1, 2], [3], [3]]


def test_of_seeds_together_each_takes_a_share_of_the_time_and_of_what_they_reserve(tmp_path):
    now = [0.0]
    budget = TimeBudget(gpu_hours=1)
    state, _ = new_state(tmp_path, final_seeds=4, search_seeds=3, budget=budget, clock=lambda: now[0])
    state.together = 3
    state.reservations = Reservations(trial={"cpu": 2.0, "gpu": 0.25}, whole={"cpu": 2.0, "gpu": 1.0})
    task = must(state.next())
    trials = task.each()
    assert len(trials) == 3
    for each in trials:
        state.on_start(each)
    now[0] = 30.0
    assert state.running_work() == {"cpu": 60.0, "gpu": 22.5}
    for each in trials:
        state.on_end(each, outcome(each))
    assert state.running_work() == {"cpu": 0.0, "gpu": 0.0}
    assert [state.history.wall_time_s[each.trial.id] for each in trials] == [10.0] * 3
    assert (state.history.cpu_s, state.history.gpu_s) == (60.0, 22.5)
    assert state.slot_time_s == 90.0, "three slots of a quarter of a GPU for half a minute"


def test_a_worker_that_died_of_seeds_together_condemns_none(tmp_path):
    state, _ = new_state(tmp_path, search_seeds=2, final_seeds=2)
    state.together = 2
    both = must(state.next())
    died = {"failure": "worker_died", "message": "its worker process ended without a word"}
    for each in both.each():
        state.on_end(each, died)
    assert not state.history.trials
    first, second = must(state.next()), must(state.next())
    assert [first.trial, second.trial] == [both.trial, *both.beside]
    state.on_end(first, died)
    state.on_end(second, outcome(second))
    assert [state.history.trials[task.id][1].failure for task in (first, second)] == ["worker_died", None]


def test_seeds_that_ran_out_of_memory_together_are_tried_once_more_each_alone(tmp_path):
    state, _ = new_state(tmp_path, search_seeds=2, final_seeds=2)
    state.together = 2
    failed = to_plain(TrialResult(status="failed", failure="out_of_memory", message="out of memory"))
    both = must(state.next())
    for each in both.each():
        state.on_end(each, {"result": failed})
    again = [must(state.next()), must(state.next())]
    assert [task.trial for task in again] == [both.trial, *both.beside]
    assert all(task.alone and not task.beside for task in again)
    for task in again:
        assert from_plain(Task, to_plain(task)) == task
    assert from_plain(Task, to_plain(both)) == both


# -- failures


def test_out_of_memory_is_tried_once_more_alone(tmp_path):
    state, _ = new_state(tmp_path)
    failed = to_plain(TrialResult(status="failed", failure="out_of_memory", message="out of memory"))
    first = must(state.next())
    assert not first.alone
    state.on_end(first, {"result": failed})
    assert first.id not in state.history.trials
    # Also after a restart of the driver.
    state, _ = new_state(tmp_path)
    again = must(state.next())
    assert (again.trial, again.alone) == (first.trial, True)
    state.on_end(again, {"result": failed})
    assert state.history.trials[first.id][1].failure == "out_of_memory"
    assert must(state.next()).trial.id != first.id


def test_an_abort_stops_the_run_and_records_nothing(tmp_path):
    state, _ = new_state(tmp_path)
    task = must(state.next())
    with pytest.raises(RunAborted, match="disk is full"):
        state.on_end(task, {"abort": "the disk is full"})
    assert task.id not in Ledger(tmp_path).read().trials


def test_a_dead_worker_is_a_failed_trial_with_its_reason(tmp_path):
    state, proposer = new_state(tmp_path)
    first, *_ = [must(state.next()) for _ in BASELINES]
    task = must(state.next())
    state.on_end(task, {"failure": "worker_died", "message": "its worker process crashed"})
    assert task.id not in Ledger(tmp_path).read().trials, "others may meet the same"
    state.on_end(first, outcome(first))
    _, result = Ledger(tmp_path).read().trials[task.id]
    assert (result.status, result.failure) == ("failed", "worker_died")
    state.next()
    assert proposer.results[0] == (task.trial, result)


# -- the test set


def read_state(path, archs, fresh=0):
    return RunState(Ledger(path), lambda history: FinalAgenda(settings(), archs, fresh=fresh))


def test_final_reads_once_with_every_training_of_what_was_chosen(tmp_path):
    state, _ = new_state(tmp_path, trials=12, control=True)
    work(state)
    archs = finalists(state.history)
    items = summarise(state.history)
    assert set(archs) == set(BASELINES) | {i.arch for c in (by_params, by_macs) for i in rk_front(items, cost=c)}
    final = read_state(tmp_path, archs)
    handed = work(final)
    assert {task.action for task in handed} == {"test"}
    expected = {i for item in items if item.arch in archs for i in item.trial_ids}
    assert Counter(test.trial for test in final.history.tests) == dict.fromkeys(expected, 1)
    assert work(read_state(tmp_path, archs)) == [], "nothing is read twice"


def test_final_can_train_anew_with_seeds_of_its_own(tmp_path):
    state, _ = new_state(tmp_path)
    work(state)
    final = read_state(tmp_path, ["ResNet-8"], fresh=2)
    handed = work(final)
    assert [(t.action, t.trial.id) for t in handed] == [
        ("train", "ResNet-8@final0"),
        ("train", "ResNet-8@final1"),
        ("test", "ResNet-8@final0"),
        ("test", "ResNet-8@final1"),
    ]
    search = {spec.seed for spec, _ in state.history.trials.values() if spec.arch == "ResNet-8"}
    assert search.isdisjoint(t.trial.seed for t in handed)


def test_seeds_are_functions_of_architecture_and_replicate_alone():
    base = new_spec()
    assert replace(base, role="known").seed == replace(base, role="baseline").seed == base.seed
    others = {replace(base, replicate=1).seed, replace(base, role="control").seed, replace(base, role="final").seed}
    assert len(others | {base.seed}) == 4


def new_spec():
    from rksearch.recipes.shipped import recipe
    from rksearch.results.records import TrialSpec

    return TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short"))


def test_settings_round_trip_through_json():
    for plan in (settings(), settings(racing=RACING, control=True, replicates=None, start=ARCHS[:1])):
        plan = replace(plan, start=tuple(plan.start))
        assert from_plain(Plan, to_plain(plan)) == plan
