"""The beginning of a session: what can be known before Ray starts is checked, then the session is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.arch.family import Family
from rksearch.data.facts import dataset
from rksearch.errors import DataError
from rksearch.results.environment import current_environment
from rksearch.results.plan import Plan
from rksearch.results.run_dir import mirror_address
from rksearch.search.batch import job_notes
from rksearch.search.budget import TimeBudget
from rksearch.search.disk import disk_need, require_disk
from rksearch.search.launch import Launch
from rksearch.search.loggers import require_loggers
from rksearch.search.ray.starting import require_temporary_directory
from rksearch.search.reservations import gpus_of_a_trial_here, require_here
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.space import Space
from rksearch.space.plan import LATENCY
from rksearch.training.execution import Execution
from rksearch.training.latency import require_importable
from rksearch.training.mirror import require_storage


def _families(space: Space, plan: Plan) -> list[Family]:
    """Families of the networks that the run trains."""
    definition = space.definition
    own = [family for family in FAMILIES if family.key in definition.families]
    named = (*definition.architectures, *map(parse, (*plan.baselines, *plan.known)))
    return own + [family_of(spec) for spec in named]


def begin_session(launch: Launch, space: Space, plan: Plan, state: RunState, *, of_final: bool) -> Execution:
    """Check all that can be known before Ray starts, record the session, and return where and how its trials run.

    Raises:
        DataError: the images are missing or damaged, or fewer than the plan trains on; one line here, not a failure of
            every trial.
        DeviceError: the device or the precision is not there.
        RunError: the storage cannot be written, a trial wants more CPUs than there are, the only limit of the run
            counts GPUs and trials have none, or the package of a logger is missing.
        RunAborted: the disk has no room for the checkpoints, or Ray cannot use its temporary directory.
    """
    from rksearch.data.images import load_data, split
    from rksearch.search.forecasting import smaller_runs
    from rksearch.search.measuring import image_counts, session_forecast

    resources = launch.resources
    require_loggers(resources.log)
    if LATENCY in plan.objectives:
        require_importable(_families(space, plan))
    _check_machine(resources, state.budget)
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
    if resources.address is None:
        require_temporary_directory()  # as again when Ray starts, for measuring takes a while
    for note in job_notes():
        launch.view.message(note)
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


def _check_machine(resources: Resources, budget: TimeBudget) -> None:
    """Make sure that this machine has what a trial asks for; a cluster's machines are known once it is joined.

    Raises:
        DeviceError: no such device or precision.
        RunError: fewer CPUs or GPUs than a trial wants, or a limit that counts GPUs where a trial has none.
    """
    from rksearch.training.engine.device import resolve_device, resolve_precision

    if resources.address is None:
        require_here(resources)
        if budget.gpu_hours is not None:
            budget.without_gpus(gpus_of_a_trial_here(resources))
        resolve_precision(resources.precision, resolve_device(resources.device))
