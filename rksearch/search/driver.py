"""Starts, resumes and finishes runs: checks what is asked, joins the parts, lets Ray work, records the end."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.arch.family import Family
from rksearch.data.address import is_address, read_address
from rksearch.data.facts import dataset, datasets
from rksearch.data.locations import data_home
from rksearch.errors import DataError, LedgerError, MissingPluginError, RksearchError, RunAborted, RunError, in_one_line
from rksearch.results.data_record import DataRecord
from rksearch.results.environment import current_environment
from rksearch.results.events import EndState, SessionEnded
from rksearch.results.history import History
from rksearch.results.ledger import Follower, Ledger
from rksearch.results.plan import Plan
from rksearch.results.recipes import as_begun
from rksearch.results.run_dir import (
    Places,
    RunDir,
    mirror_address,
    require_ledger,
    require_plan,
    require_registered,
    require_same_trials,
)
from rksearch.results.storage_address import absolute_address
from rksearch.search.assembly import search_agenda
from rksearch.search.budget import budget_sentence
from rksearch.search.continuing import (
    Extension,
    continued,
    has_trained,
    is_planned,
    require_extension,
    require_same_images,
)
from rksearch.search.disk import disk_need, is_full, require_disk
from rksearch.search.final import FinalAgenda, finalists
from rksearch.search.loggers import require_loggers
from rksearch.search.ordered import OrderedRunState
from rksearch.search.ray.cluster import run_tasks
from rksearch.search.ray.session import SessionEnds
from rksearch.search.reservations import require_cpus_here
from rksearch.search.resources import Resources, as_before
from rksearch.search.run_state import RunState
from rksearch.search.samplers.registry import samplers
from rksearch.search.sharing import TypicalTraining, typical
from rksearch.search.stopping import StopRequest, stop_signals
from rksearch.search.study_copy import StudyCopy
from rksearch.search.trial_memory import memory_of_a_trial
from rksearch.search.view import View
from rksearch.space import Space, parse_space
from rksearch.space.plan import LATENCY
from rksearch.training.execution import Execution
from rksearch.training.latency import require_importable
from rksearch.training.mirror import require_storage

Ending = Literal["finished", "interrupted", "stopped"]
"""How a session ends: all is done, by a signal, or by its budget of time."""

EVERY_FIELD = frozenset(field.name for field in fields(Plan))
"""Names of all fields of a plan: a resumed run states each as it is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A session that has ended.

    Attributes:
        ending: how it ended. Where it read the test set, the search may stand otherwise: see `history.state`.
        history: everything that the ledger says now.
    """

    ending: Ending
    history: History


class _Launch:
    """A session that is about to begin: the run's directory, its ledger and what may be used.

    The ledger is read from its beginning once; `refresh` reads what was appended since.
    """

    def __init__(self, run_dir: RunDir, resources: Resources, view: View) -> None:
        self.run_dir = run_dir
        self.resources = resources
        self.view = view
        self.stop = StopRequest()
        self.images = 0
        self.chosen: frozenset[str] | None = None
        self.looked: tuple[Path, ...] = ()
        self.ledger = Ledger(run_dir.path)
        self.follower: Follower = self.ledger.follow()

    def refresh(self) -> History:
        """Everything that the ledger says now."""
        return self.follower.refresh()

    def as_before(self, history: History, chosen: frozenset[str]) -> None:
        """Take over the last session's resources, except for the `chosen` ones."""
        if history.sessions:
            self.resources = as_before(self.resources, chosen, history.sessions[-1].options)
        self.chosen = chosen

    def places(self, directory: Path) -> Places:
        """Where images and copies of checkpoints lie; options of earlier sessions mean what they meant there.

        Data sets are looked for where the user says now, then where the last session had them, then relative to the
        run's directory, then where `data_home` says.
        """
        resources, chosen = self.resources, self.chosen
        now = "data_dir" in chosen if chosen is not None else resources.data_dir is not None
        looked = [data_home(resources.data_dir)] if now else self.run_dir.data_dirs(resources.data_dir)
        if not now:
            looked.append(data_home(None))
        storage = resources.storage and (
            absolute_address(resources.storage)
            if chosen is None or "storage" in chosen
            else self.run_dir.storage(resources.storage)
        )
        self.looked = tuple(looked)
        return Places(
            directory=directory,
            data_dir=next((place for place in looked if place.is_dir()), looked[0]),
            storage=storage,
        )


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
    return _start(_Launch(run_dir, resources, view), space, plan, asked)


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
    launch = _Launch(run_dir, resources, view)
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
        RunError: the directory holds no run, or an architecture has no finished training to read with.
        RunAborted: no further trial of the run could succeed.
    """
    launch = _Launch(run_dir, resources, view)
    history, space, plan = _begun(launch)
    launch.as_before(history, chosen)
    trained = {spec.arch for spec, result in history.trials.values() if result.status == "complete"}
    if not trained:
        raise RunError(
            f"the test set is read with complete trainings, but {run_dir.path} has none; "
            "continue it with `rksearch resume`"
        )
    for arch in archs:
        if arch not in trained:
            raise RunError(
                f"the test set is read for architectures that the run has trained to the end, but {arch} is none; "
                "`rksearch status` lists those"
            )
    names = list(archs) or finalists(history)
    require_same_images(history.run, space.definition.dataset)
    with run_dir.driver(), datasets.beneath(space.definition.directory), _end_recorded(launch):
        state = RunState(launch.ledger, lambda _: FinalAgenda(plan, names, fresh=fresh), follower=launch.follower)
        return _work(launch, state, space, plan, seeds=fresh, search=_end_of_search(history, space, plan))


def _end_of_search(history: History, space: Space, plan: Plan) -> SessionEnded:
    """How the search of a run stands: what a session records at its end that does not continue it."""
    if history.state == "finished" or not search_agenda(space, plan)(history).remaining(history).tasks:
        return SessionEnded(state="finished")
    return SessionEnded(state="interrupted", budget=history.message if history.state == "stopped" else None)


def _start(launch: _Launch, space: Space, plan: Plan, asked: Collection[str], *, retry_failed: bool = False) -> Ended:
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
        with _end_recorded(launch):
            if not is_planned(history, space, plan):
                summary = space.summary()
                data = DataRecord.of(space.definition.dataset)
                launch.ledger.write_run(name=launch.run_dir.path.name, space=summary, plan=plan, data=data)
            if retry_failed:
                _reopen_failed(launch)
            return _search(launch, space, plan)


def _reopen_failed(launch: _Launch) -> None:
    """Forget the ends of failed trials."""
    failed = list(launch.refresh().failed)
    for trial_id in failed:
        launch.ledger.write_reopened(trial_id)
    launch.view.message(f"Failed trainings that are tried again: {len(failed)}")


def _begun(launch: _Launch) -> tuple[History, Space, Plan]:
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
    return history, space, begun.plan


def images_base(run_dir: RunDir, dataset_name: str) -> Path | None:
    """Directory beneath which the images of a run lie, where their path is relative; None where that is not noted.

    Raises:
        RunError: they lie beneath none of those that are likely.
    """
    noted = run_dir.places()
    if not is_address(dataset_name) or (address := read_address(dataset_name)).kind == "torchvision":
        return noted.directory if noted and noted.directory.is_dir() else None
    looked = run_dir.directories()
    for base in looked:
        if address.path(base).exists():
            return base
    raise RunError(
        f"the images of a run must be found again, but {dataset_name} is in none of "
        f"{', '.join(map(str, dict.fromkeys(address.path(base) for base in looked)))}; put them back"
    )


def _search(launch: _Launch, space: Space, plan: Plan) -> Ended:
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
    launch: _Launch, state: RunState, space: Space, plan: Plan, *, seeds: int, search: SessionEnded | None = None
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
        return _ended(launch, ending, state, search=search, recorded=bool(search) or state.history.state == ending)
    if LATENCY in plan.objectives:
        require_importable(_families(space, plan))
    execution = _begin_session(launch, space, plan, state, of_final=search is not None and seeds > 0)

    def sample() -> TypicalTraining:
        return TypicalTraining(
            arch=typical(space),
            dataset=plan.dataset,
            batch_size=plan.recipe.batch_size,
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
        ends=_ends(launch),
        memory_bytes=lambda: memory_of_a_trial(typical(space), plan, execution, images=launch.images),
    )
    return _ended(launch, _ending(launch, state), state, search=search)


def _ending(launch: _Launch, state: RunState) -> Ending:
    """How a session ends whose tasks have ended, or are left unfinished."""
    if state.is_left_to_next_job():
        return "interrupted"
    if not state.done and (launch.stop.asked or not state.cut_short):
        return "interrupted"
    return "stopped" if state.cut_short else "finished"


def _ended(
    launch: _Launch, ending: Ending, state: RunState, *, search: SessionEnded | None, recorded: bool = False
) -> Ended:
    """The end of a session, written to the ledger unless it is `recorded` there already."""
    if not recorded:
        if ending == "finished" and search is not None:
            launch.ledger.append(search)
        elif ending == "stopped":
            launch.ledger.write_end("interrupted", budget=state.budget.words)
        else:
            launch.ledger.write_end(ending)
    return Ended(ending=ending, history=launch.refresh())


def _ends(launch: _Launch) -> SessionEnds:
    """What ends a session from outside of its work, and what is recorded then."""

    def record(reason: str | None) -> None:
        _record_end(launch.ledger, "interrupted" if reason is None else "failed", reason)

    return SessionEnds(stop=launch.stop, record=record, resume=f"`rksearch resume {launch.run_dir.path}`")


def _families(space: Space, plan: Plan) -> list[Family]:
    """Families of the networks that the run trains."""
    definition = space.definition
    own = [family for family in FAMILIES if family.key in definition.families]
    named = (*definition.architectures, *map(parse, (*plan.baselines, *plan.known)))
    return own + [family_of(spec) for spec in named]


def _begin_session(launch: _Launch, space: Space, plan: Plan, state: RunState, *, of_final: bool) -> Execution:
    """Check all that can be known before Ray starts, record the session, and return where and how its trials run.

    Raises:
        DataError: the images are missing or damaged, or fewer than the plan trains on; one line here, not a failure of
            every trial.
        DeviceError: the device or the precision is not there.
        RunError: the storage cannot be written, a trial wants more CPUs than there are, or the package of a logger is
            missing.
        RunAborted: the disk has no room for the checkpoints.
    """
    from rksearch.data.images import load_data, split
    from rksearch.search.forecasting import smaller_runs
    from rksearch.search.measuring import image_counts, session_forecast

    resources = launch.resources
    require_loggers(resources.log)
    _check_machine(resources)
    directory = (space.definition.directory or Path()).absolute()
    places, facts = launch.places(directory), dataset(plan.dataset)
    for note in facts.notes:
        launch.view.message(f"{facts.name}: {note}")
    try:
        images = load_data(facts, places.data_dir, download=resources.download)
    except DataError as error:
        others = [str(place) for place in launch.looked if place != places.data_dir]
        raise DataError(f"{error} (looked for in {', '.join(others)} too)" if others else str(error)) from error
    counts = image_counts(facts, images, None)
    launch.images = (counts.train or 0) + (counts.val or 0)
    if plan.train_images is not None or of_final:
        parts = split(facts, images, plan.train_images)
        if of_final:
            launch.view.message(
                f"Each new training sees {len(parts.train) + len(parts.val):,} images: {len(parts.train):,} as in the "
                f"search, and the {len(parts.val):,} that were held out for validation."
            )
    launch.run_dir.note_places(places)
    if places.storage:
        require_storage(places.storage)
    need = disk_need(space, plan, launch.refresh())
    if resources.limited:
        need = replace(need, least=0)  # how many candidates the time is enough for is not known
    launch.view.message(require_disk(launch.run_dir.work, need))
    if state.budget.job_until_s is not None:
        pause = _clock_text(state.budget.job_until_s)
        launch.view.message(f"The batch job ends soon after {pause}: trials pause then.")
    state.forecast = session_forecast(space, plan, state, images, resources, launch.view.message)
    if state.forecast is not None:
        launch.view.forecast(state.forecast, smaller_runs(space, plan, state.forecast, images=counts.train or 1))
    launch.ledger.write_session(environment=current_environment(), options=resources.options(), forecast=state.forecast)
    return Execution(
        work_dir=str(launch.run_dir.work),
        data_dir=str(places.data_dir),
        device=resources.device,
        precision=resources.precision,
        compile=resources.compile,
        threads=resources.threads,
        download=resources.download,
        latency=LATENCY in plan.objectives,
        fingerprint=facts.fingerprint,
        deadline_s=state.budget.session_until_s,
        # The directory's name holds the start of the run's first session, which may be this one.
        storage=mirror_address(launch.refresh(), places.storage),
    )


def _clock_text(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s).strftime("%Y-%m-%d %H:%M:%S")


def _check_machine(resources: Resources) -> None:
    """Make sure that this machine has what a trial asks for; a cluster's machines are known once it is joined.

    Raises:
        DeviceError: no such device or precision.
        RunError: fewer CPUs than a trial wants.
    """
    from rksearch.training.engine.device import resolve_device, resolve_precision

    if resources.address is None:
        require_cpus_here(resources)
        resolve_precision(resources.precision, resolve_device(resources.device))


@contextmanager
def _end_recorded(launch: _Launch) -> Iterator[None]:
    """Record how a session ended that an exception or a signal ends, as far as the disk allows.

    Raises:
        RksearchError: the reason in one line, whatever the exception was.
        KeyboardInterrupt: the user's, or that of a signal, while Tune is not at work.
    """
    try:
        with stop_signals(launch.stop):
            yield
    except RksearchError as error:
        _record_end(launch.ledger, "failed", str(error))
        raise
    except KeyboardInterrupt:
        _record_end(launch.ledger, "interrupted")
        raise
    except Exception as error:
        aborted = RunAborted(_unexpected(launch.run_dir, error))
        _record_end(launch.ledger, "failed", str(aborted))
        raise aborted from error


def _record_end(ledger: Ledger, state: EndState, message: str | None = None) -> None:
    with suppress(LedgerError):  # the disk does not allow it, and the exception under way says more
        ledger.write_end(state, message)


def _unexpected(run_dir: RunDir, error: Exception) -> str:
    """What ended a session by an exception that nothing foresaw, in one line; its traceback goes into a file."""
    note = run_dir.work / "error.txt"
    if is_full(run_dir.path):
        return f"the disk of {run_dir.path} is full ({in_one_line(error)}); make room, then resume the run"
    with suppress(OSError):
        note.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return (
        f"the session ended by {in_one_line(error)}; what is finished is kept, the traceback is in {note}; resume the "
        f"run with `rksearch resume {run_dir.path}`"
    )
