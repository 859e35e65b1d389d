"""Starts, resumes and finishes runs: checks what is asked, joins the parts, lets Ray work, records the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path

from rksearch.data.facts import datasets
from rksearch.errors import MissingPluginError, RunError
from rksearch.results.data_record import DataRecord
from rksearch.results.events import SessionEnded
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.recipes import as_begun
from rksearch.results.run_dir import (
    RunDir,
    mirror_address,
    require_ledger,
    require_plan,
    require_registered,
    require_same_trials,
)
from rksearch.search.assembly import search_agenda
from rksearch.search.budget import budget_sentence
from rksearch.search.continuing import (
    Extension,
    continued,
    has_trained,
    is_planned,
    require_extension,
    require_same_images,
    require_same_members,
)
from rksearch.search.final import FinalAgenda, finalists
from rksearch.search.launch import Launch, images_base
from rksearch.search.ordered import OrderedRunState
from rksearch.search.ray.cluster import run_tasks
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.samplers.registry import samplers
from rksearch.search.session_end import (
    Ended,
    Ending,
    close_session,
    end_of_search,
    end_recorded,
    ending_of,
    session_ends,
)
from rksearch.search.session_start import begin_session
from rksearch.search.sharing import TypicalTraining, typical
from rksearch.search.study_copy import StudyCopy
from rksearch.search.trial_memory import memory_of_a_trial
from rksearch.search.view import View
from rksearch.space import Space, parse_space
from rksearch.space.plan import LATENCY
from rksearch.training.execution import trial_dirs

EVERY_FIELD = frozenset(field.name for field in fields(Plan))
"""Names of all fields of a plan: a resumed run states each as it is recorded."""


def start(
    space: Space,
    plan: Plan,
    run_dir: RunDir,
    resources: Resources,
    view: View,
    asked: Collection[str] = (),
) -> Ended:
    """Begin a run, or resume it where the directory already holds the same one.

    Args:
        space, plan: the run.
        run_dir: its directory.
        resources: what this session may use.
        view: shows the progress.
        asked: names of the plan's fields that the user stated; see `rksearch.search.continuing.continued`.

    Raises:
        RunError: the directory holds another run, or cannot be used.
        RunAborted: no further trial of the run could succeed.
    """
    return _start(Launch(run_dir, resources, view), space, plan, asked)


def resume(
    run_dir: RunDir,
    resources: Resources,
    chosen: frozenset[str],
    view: View,
    extension: Extension = Extension(),  # noqa: B008 - frozen
    *,
    retry_failed: bool = False,
) -> Ended:
    """Resume the run that a directory holds.

    Args:
        run_dir: directory of the run.
        resources: what this session may use.
        chosen: fields of `resources` that count; the others are as in the run's last session.
        view: shows the progress.
        extension: what the run trains beyond its plan.
        retry_failed: whether failed trainings are tried again.

    Raises:
        RunError: the directory holds no run, or what it should train beyond its plan is less, or no baseline.
        MissingPluginError: its families, its data set or its sampler are not registered.
        RunAborted: no further trial of the run could succeed.
    """
    launch = Launch(run_dir, resources, view)
    history, space, plan = _begun(launch)
    launch.as_before(history, chosen)
    if plan.sampler not in samplers:
        raise MissingPluginError(f"the sampler of a run must be registered, but {run_dir.path} names {plan.sampler!r}")
    longer = extension.of(plan)
    require_extension(history, longer, space.definition.dataset, run_dir.path)
    return _start(launch, space, longer, EVERY_FIELD, retry_failed=retry_failed)


def final(
    run_dir: RunDir,
    archs: Sequence[str],
    *,
    fresh: int,
    resources: Resources,
    chosen: frozenset[str],
    view: View,
) -> Ended:
    """Read the test set with chosen trainings of a run.

    Args:
        run_dir: directory of the run.
        archs: canonical names; empty for the baselines and the front.
        fresh: number of new trainings of each, on training and validation images together, to read with; 0 to read
            with the trainings of the search.
        resources: what this session may use.
        chosen: fields of `resources` that count; the others are as in the run's last session.
        view: shows the progress.

    Raises:
        RunError: the directory holds no run, or there is no finished training to read with, or its checkpoint is gone.
        RunAborted: no further trial of the run could succeed.
    """
    launch = Launch(run_dir, resources, view)
    history, space, plan = _begun(launch)
    launch.as_before(history, chosen)
    names = list(archs) or finalists(history)
    _require_readable(history, names, fresh=fresh, run_dir=run_dir)
    require_same_images(history.run, space.definition.dataset)
    agenda = FinalAgenda(plan, names, fresh=fresh)
    if resources.address is None:  # else the machines of a cluster may have what this one lacks
        _require_checkpoints(launch, history, space, agenda)
    with run_dir.driver(), datasets.beneath(space.definition.directory), end_recorded(launch):
        state = RunState(launch.ledger, lambda _: agenda, follower=launch.follower)
        return _work(launch, state, space, plan, seeds=fresh, search=end_of_search(history, space, plan))


def _require_readable(history: History, archs: Sequence[str], *, fresh: int, run_dir: RunDir) -> None:
    """Make sure that the test set can be read for these architectures.

    Raises:
        RunError: there are none, or one has no training to read with: none at all, or those of the control arm alone.
    """
    complete = [spec for spec, result in history.trials.values() if result.status == "complete"]
    if not complete:
        raise RunError(
            f"the test set is read with complete trainings, but {run_dir.path} has none; "
            "continue it with `rksearch resume`"
        )
    if not archs:
        raise RunError(
            f"the test set is read for the baselines and the front, but {run_dir.path} has neither yet; "
            "continue it with `rksearch resume`"
        )
    trained, read_with = {spec.arch for spec in complete}, {spec.arch for spec in complete if not spec.has_own_seeds}
    for arch in archs:
        if arch not in trained:
            raise RunError(
                f"the test set is read for architectures that the run has trained to the end, but {arch} is none; "
                "`rksearch status` lists those"
            )
        if not fresh and arch not in read_with:
            raise RunError(
                "the test set is read with trainings of the search and of the baselines, but only the control arm has "
                f"trained {arch}; give --fresh N to train it again"
            )


def _require_checkpoints(launch: Launch, history: History, space: Space, agenda: FinalAgenda) -> None:
    """Make sure that the trainings are still there with which the test set is to be read.

    Raises:
        RunError: one is gone.
    """
    from rksearch.training.trial import require_finished

    storage = launch.places((space.definition.directory or Path()).absolute()).storage
    specs = [task.trial for task in agenda.readings(history)]
    require_finished(specs, launch.run_dir.work, mirror_address(history, storage))


def _start(launch: Launch, space: Space, plan: Plan, asked: Collection[str], *, retry_failed: bool = False) -> Ended:
    from rksearch.training.trainer import check_images_suit

    launch.run_dir.require_unused()
    with launch.run_dir.driver(), datasets.beneath(space.definition.directory):
        check_images_suit(plan.recipe, plan.dataset)
        history = launch.refresh()
        require_registered(history, launch.run_dir.path)
        if history.run is not None and has_trained(history):
            stated, plan = plan, continued(history, space, plan, asked, launch.run_dir.path)
            if stated.racing != plan.racing:
                launch.view.message(f"The run began {'with' if plan.racing else 'without'} racing, and continues so.")
        elif trained := [spec for spec, _ in (*history.trials.values(), *history.paused.values())]:
            plan = replace(plan, recipe=as_begun(plan.recipe, trained[0].recipe))
            require_same_trials(history, plan, launch.run_dir.path)
        elif history.is_blank and not history.damage:
            _require_no_trainings(launch.run_dir)
        with end_recorded(launch):
            if not is_planned(history, space, plan):
                summary = space.summary()
                data = DataRecord.of(space.definition.dataset)
                launch.ledger.write_run(name=launch.run_dir.path.name, space=summary, plan=plan, data=data)
            if retry_failed:
                _reopen_failed(launch)
            return _search(launch, space, plan)


def _require_no_trainings(run_dir: RunDir) -> None:
    """Make sure that a run which begins takes up no training of another, made by other code at another time.

    Raises:
        RunError: trainings of a run whose ledger is gone lie there.
    """
    if found := trial_dirs(run_dir.work):
        raise RunError(
            f"a run must begin without trainings of another, but {run_dir.work} holds {len(found)} of a run whose "
            "ledger is gone; put its ledger.jsonl back to continue it, move work/ away, or choose another --out"
        )


def _reopen_failed(launch: Launch) -> None:
    """Forget the ends of failed trials."""
    failed = list(launch.refresh().failed)
    for trial_id in failed:
        launch.ledger.write_reopened(trial_id)
    launch.view.message(f"Failed trainings that are tried again: {len(failed)}")


def _begun(launch: Launch) -> tuple[History, Space, Plan]:
    """History, space and plan of the run that a directory holds.

    Raises:
        RunError: it holds none.
    """
    require_ledger(launch.run_dir)
    history = launch.refresh()
    begun = require_plan(history, launch.run_dir.path)
    require_registered(history, launch.run_dir.path)
    space = parse_space(
        begun.space.yaml,
        name=begun.space.name,
        directory=images_base(launch.run_dir, begun.plan.dataset),
        recipe=begun.space.recipe or begun.plan.recipe,
    )
    require_same_members(begun, space, launch.run_dir.path)
    return history, space, begun.plan


def _search(launch: Launch, space: Space, plan: Plan) -> Ended:
    resources = launch.resources
    agenda, budget, follower = search_agenda(space, plan), resources.budget, launch.follower
    state: RunState
    if plan.deterministic:
        _require_no_clock(plan, resources)
        launch.resources = replace(resources, seeds_together=resources.seeds_together or 1)  # not what is measured
        state = OrderedRunState(launch.ledger, agenda, window=plan.deterministic, budget=budget, follower=follower)
    else:
        state = RunState(launch.ledger, agenda, budget=budget, follower=follower)
    if resources.limited:
        launch.view.message(budget_sentence(budget, plan, members=len(space)))
    launch.view = copy = StudyCopy(launch.view, launch.run_dir, space, plan)
    try:
        ended = _work(launch, state, space, plan, seeds=max(plan.search_seeds, plan.final_seeds - plan.search_seeds))
    except BaseException:
        copy.stop()
        raise
    copy.finish(ended.history)
    return ended


def _require_no_clock(plan: Plan, resources: Resources) -> None:
    """Make sure that nothing about a deterministic run depends on time.

    Raises:
        RunError: a budget of time ends it, a limit of time ends its trainings, or latency is an objective.
    """
    rule = f"a deterministic run (--deterministic {plan.deterministic}) must not depend on time"
    if resources.limited:
        raise RunError(f"{rule}, but a budget of time would end it; leave --until, --cpu-hours and --gpu-hours out")
    if resources.trial_hours is not None:
        raise RunError(f"{rule}, but a limit of a training's time would end it; leave --trial-hours out")
    if LATENCY in plan.objectives:
        raise RunError(f"{rule}, but {LATENCY} is measured; leave that objective out")


def _work(
    launch: Launch, state: RunState, space: Space, plan: Plan, *, seeds: int, search: SessionEnded | None = None
) -> Ended:
    """Do all tasks of `state`; `seeds` is the largest number of seeds of an architecture that could go together.

    `search` is how the search stands where these tasks are not its own but readings of the test set, after `seeds` new
    trainings each: then the end of them is not that of the run.
    Without a task, neither images are loaded nor Ray started, and a ledger that says so already is not written to.
    """
    if not state.has_work():
        ending: Ending = "finished"
        if state.is_left_to_next_job():
            ending = "interrupted"
        elif state.cut_short:
            ending = "stopped"
        launch.view.message(
            {
                "finished": "Nothing is left to train or to test.",
                "interrupted": "The batch job ends too soon for further work; resume in the next one.",
                "stopped": f"The budget of time is used up ({state.budget.words}); resume with more of it.",
            }[ending]
        )
        return close_session(
            launch, ending, state, search=search, recorded=bool(search) or state.history.state == ending
        )
    execution = begin_session(launch, space, plan, state, of_final=search is not None and seeds > 0)

    def sample() -> TypicalTraining:
        return TypicalTraining(
            arch=typical(space),
            dataset=plan.dataset,
            batch_size=plan.recipe_on(launch.images).batch_size,
            precision=execution.precision,
            threads=execution.threads,
            seeds=seeds,
        )

    run_tasks(
        state,
        execution,
        launch.run_dir,
        launch.resources,
        launch.view,
        sample=sample,
        ends=session_ends(launch),
        memory_bytes=lambda: memory_of_a_trial(typical(space), plan, execution, images=launch.images),
    )
    return close_session(launch, ending_of(launch, state), state, search=search)
