"""Starts and resumes runs: checks what is asked, puts the parts together, lets Ray work, and says how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from rich.console import Console

from rksearch.errors import LedgerError, RksearchError, RunAborted, RunError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.environment import environment
from rksearch.results.ledger import History, Ledger
from rksearch.results.plan import Plan
from rksearch.results.run_dir import RunDir
from rksearch.results.schema1 import downgraded_plan, upgraded_plan
from rksearch.search.agenda import SearchAgenda
from rksearch.search.budget import Budget
from rksearch.search.final import FinalAgenda, finalists
from rksearch.search.objectives import LATENCY
from rksearch.search.racing import Race
from rksearch.search.ray.cluster import perform_all
from rksearch.search.resources import Resources, as_before
from rksearch.search.run_state import RunState
from rksearch.search.samplers import make
from rksearch.search.samplers.base import Observation, Sampler
from rksearch.search.sharing import TypicalTraining, typical
from rksearch.search.tasks import Agenda
from rksearch.space import Space, parse_space
from rksearch.training.execution import Execution
from rksearch.training.mirror import require_storage

Ending = Literal["finished", "interrupted"]


def start(space: Space, settings: Plan, run_dir: RunDir, resources: Resources, console: Console) -> Ending:
    """Begin a run, or go on with it where the directory already holds the same one.

    Raises:
        RunError: the directory holds another run, or cannot be used.
        RunAborted: the run met something that no trial could get past.
    """
    ledger = Ledger(run_dir.path)
    with run_dir.driver():
        begun = ledger.read().run
        if begun is not None:
            _require_same(begun, space, settings, run_dir)
        if begun is None or _plan_of(begun) != settings:
            ledger.write_run(name=run_dir.path.name, space=space.to_json(), plan=downgraded_plan(to_plain(settings)))
        return _search(space, settings, ledger, run_dir, resources, console)


def resume(
    run_dir: RunDir, resources: Resources, chosen: frozenset[str], console: Console, trials: int | None = None
) -> Ending:
    """Go on with the run that a directory holds.

    Args:
        run_dir: where it is.
        resources: what this session may use.
        chosen: fields of `resources` that count; the others are as in the run's last session.
        console: where to show progress.
        trials: another number of candidates; None for the one it had.

    Raises:
        RunError: the directory holds no run.
        RunAborted: the run met something that no trial could get past.
    """
    found, space, settings = _begun(run_dir)
    settings = replace(settings, trials=settings.trials if trials is None else trials)
    if found.sessions:
        resources = as_before(resources, chosen, found.sessions[-1].options)
    return start(space, settings, run_dir, resources, console)


def final(
    run_dir: RunDir,
    archs: Sequence[str],
    *,
    fresh: int,
    resources: Resources,
    chosen: frozenset[str],
    console: Console,
) -> Ending:
    """Read the test set with chosen trainings of a run.

    Args:
        run_dir: where the run is.
        archs: canonical names; empty for the baselines and what stands on the front.
        fresh: how often to train each anew on training and validation images; 0 to read with the trainings there are.
        resources: what this session may use.
        chosen: fields of `resources` that count; the others are as in the run's last session.
        console: where to show progress.

    Raises:
        RunError: the directory holds no run, or an architecture has no finished training to read with.
        RunAborted: the run met something that no trial could get past.
    """
    found, space, settings = _begun(run_dir)
    trained = {spec.arch for spec, result in found.trials.values() if result.status == "complete"}
    for arch in archs:
        if arch not in trained:
            raise RunError(
                f"the test set is read for architectures that the run has trained to the end, but {arch} is none; "
                "see `rksearch status` for those"
            )
    names = list(archs) or finalists(found)
    if found.sessions:
        resources = as_before(resources, chosen, found.sessions[-1].options)
    ledger = Ledger(run_dir.path)
    with run_dir.driver():
        state = RunState(ledger, lambda history: FinalAgenda(settings, names, fresh=fresh), None)
        return _perform(state, settings, ledger, run_dir, resources, console, space, seeds=fresh)


def _begun(run_dir: RunDir) -> tuple[History, Space, Plan]:
    """A run that a directory holds: its history, its space and its plan.

    Raises:
        RunError: it holds none.
    """
    run_dir.require_ledger()
    found = Ledger(run_dir.path).read()
    if found.run is None:
        raise RunError(f"a ledger begins with its run, but that of {run_dir.path} is damaged; start a new run")
    space = parse_space(found.run["space"]["yaml"], name=found.run["space"]["name"])
    return found, space, _plan_of(found.run)


def _plan_of(record: Mapping[str, Any]) -> Plan:
    return from_plain(Plan, upgraded_plan(record["plan"]))


def _require_same(begun: dict[str, Any], space: Space, settings: Plan, run_dir: RunDir) -> None:
    """A run goes on with what it began with; only how many trainings there are may change."""
    if begun["space"]["sha256"] != space.definition.sha256:
        raise RunError(
            f"a run goes on with the space it began with, but {run_dir.path} began with another text of "
            f"{begun['space']['name']!r}; choose another --out, or go on with `rksearch resume`"
        )
    before, now = to_plain(_plan_of(begun)), to_plain(settings)
    for key, value in before.items():
        if key not in ("trials", "replicates") and now[key] != value:
            raise RunError(
                f"a run goes on with the {key} it began with, but {run_dir.path} has {value!r} and {now[key]!r} was "
                "asked for; choose another --out, or go on with `rksearch resume`"
            )


def _search(
    space: Space, settings: Plan, ledger: Ledger, run_dir: RunDir, resources: Resources, console: Console
) -> Ending:
    sampler = sampler_of(space, settings, ledger.read())
    state = RunState(
        ledger,
        agenda_of(space, settings, sampler),
        sampler,
        objectives=settings.objectives,
        budget=Budget(cpu_hours=resources.cpu_hours, gpu_hours=resources.gpu_hours, until_s=resources.until_s),
    )
    seeds = max(settings.search_seeds, settings.final_seeds - settings.search_seeds)
    return _perform(state, settings, ledger, run_dir, resources, console, space, seeds=seeds)


def sampler_of(space: Space, settings: Plan, history: History) -> Sampler:
    """The sampler of a run, which knows what other runs have found but nothing of this one yet."""
    first = {*settings.baselines, *settings.known}
    ids = (trial_id.rpartition("@") for trial_id in history.started)
    proposed = {arch for arch, _, replicate in ids if replicate.isdigit()} - first
    sampler = make(
        settings.sampler,
        space,
        objectives=settings.objectives,
        trials=settings.trials,
        seed=settings.sampler_seed,
        proposed=len(proposed),
        start=settings.start,
    )
    for item in settings.imported:
        values = tuple(math.nan if value is None else value for value in item.values)
        sampler.observe(Observation(arch=item.arch, status="complete", epochs=(), values=values))
    return sampler


def agenda_of(space: Space, settings: Plan, sampler: Sampler) -> Callable[[History], Agenda]:
    """The agenda of a run, given its history."""
    race = None
    if settings.racing:
        race = Race(settings.racing, smallest=space.smallest.params, largest=space.largest.params)

    def agenda(history: History) -> Agenda:
        control = None
        if settings.control:
            drawn = sum("@control" in trial_id for trial_id in history.started)
            control = make(
                "random",
                space,
                objectives=settings.objectives,
                trials=settings.trials,
                seed=settings.sampler_seed + 1,
                proposed=drawn,
            )
        return SearchAgenda(settings, sampler, history, race=race, control=control)

    return agenda


def _perform(
    state: RunState,
    settings: Plan,
    ledger: Ledger,
    run_dir: RunDir,
    resources: Resources,
    console: Console,
    space: Space,
    *,
    seeds: int,
) -> Ending:
    """Do all that `state` asks for; `seeds` of an architecture at most could go together."""
    from rksearch.data.facts import dataset
    from rksearch.data.images import load_images

    data_dir = resources.data_dir.absolute()
    # Before anything is started: a missing or damaged data set is one line here, not a failure of every trial.
    load_images(dataset(settings.dataset), data_dir, download=resources.download)
    if resources.storage:
        require_storage(resources.storage)
    ledger.write_session(environment=environment(), options=resources.options())
    execution = Execution(
        work_dir=str(run_dir.work),
        data_dir=str(data_dir),
        device=resources.device,
        precision=resources.precision,
        compile=resources.compile,
        threads=max(1, math.floor(resources.cpus_per_trial)),
        download=resources.download,
        latency=LATENCY in settings.objectives,
        deadline_s=resources.until_s,
        storage=mirror_address(ledger.read(), resources.storage),
    )

    def sample() -> TypicalTraining:
        return TypicalTraining(
            arch=typical(space),
            dataset=settings.dataset,
            batch_size=settings.recipe.batch_size,
            precision=resources.precision,
            threads=execution.threads,
            seeds=seeds,
        )

    try:
        perform_all(state, execution, run_dir, resources, console, sample=sample)
    except RksearchError as error:
        _say_end(ledger, str(error))
        raise
    ending: Ending = "finished" if state.done else "interrupted"
    ledger.write_end(ending)
    return ending


def _say_end(ledger: Ledger, message: str) -> None:
    """Record why the run stopped, if the disk allows."""
    try:
        ledger.write_end("failed", message)
    except LedgerError as error:
        raise RunAborted(f"{message} ({error})") from None


def mirror_address(history: History, storage: str | None) -> str | None:
    """The directory of a storage that is one run's alone and the same in all its sessions; None without a storage."""
    if storage is None or history.run is None or not history.sessions:
        return None
    began = history.sessions[0].start.replace("-", "").replace(":", "")
    return f"{storage.rstrip('/')}/{history.run['name']}-{began}"
