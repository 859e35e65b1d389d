"""Ray started on this machine or joined at an address, and Tune's loop over the tasks of a run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rksearch.errors import RksearchError
from rksearch.results.codec import from_plain
from rksearch.results.events import SlotsCounted
from rksearch.results.run_dir import RunDir
from rksearch.search.ray.extensions import Extensions
from rksearch.search.ray.session import SessionEnds, ray_session
from rksearch.search.ray.starting import require_variables
from rksearch.search.ray.token import has_token, on_loopback
from rksearch.search.reservations import Machine, Reservations, has_gpu, machines_of
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.stopping import StopRequest
from rksearch.search.tasks import Task
from rksearch.search.view import View
from rksearch.training.execution import Execution

if TYPE_CHECKING:
    from ray.tune import Tuner

    from rksearch.search.ray.loggers import TrainingLogger
    from rksearch.search.ray.tune import LedgerSearcher, TaskFunction
    from rksearch.search.sharing import Sharing, TypicalTraining

WORKER_RESTARTS = 2
"""How often a trial whose worker died is given to another worker, which resumes from the trial's last epoch."""

MANY = 10**6
"""Number of seeds of one architecture that no run has."""

_RECOUNT_S = 2.0

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without this, Ray would pack the working directory and build a second environment when started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A trial that asks for no GPU must not see one.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A first ctrl-C is answered by this session's own handler, as other signals are.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The reason of a death is a line of ours and of the ledger.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Seconds that Tune waits for a worker which does not end when it is asked to; its default is ten minutes.
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    # Tune writes its own state only at the end: resuming needs the ledger alone, and Tune keeps in memory what it
    # writes, for every trial of the session.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    # The newer output prints a banner even with verbosity 0.
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""Variables set before Ray is imported; a value that the user has set is kept."""


def run_tasks(
    state: RunState,
    execution: Execution,
    run_dir: RunDir,
    resources: Resources,
    view: View,
    work: TaskFunction | None = None,
    sample: Callable[[], TypicalTraining] | None = None,
    ends: SessionEnds | None = None,
    memory_bytes: Callable[[], int] = lambda: 0,
) -> None:
    """Run every task of a run with Ray Tune.

    Args:
        state: state of the run.
        execution: where and with what resources a worker does a task.
        run_dir: directory of the run.
        resources: what each task reserves, and from which Ray.
        view: shows the progress.
        work: a worker's function for a task; None for `rksearch.search.ray.tune.do_task`, which trains or tests.
        sample: makes a training to measure how many trials should share a GPU, called where there is a GPU and
            `resources` do not say; None to give each trial a whole one.
        ends: what ends the session from outside; None for work that is no run.
        memory_bytes: memory that a usual trial takes of its machine, for trials on a CPU; 0 where that is not known.

    Raises:
        RunError: Ray has less than one task reserves, or the only limit of the run counts GPUs and trials have none.
        RunAborted: Ray cannot be imported with the user's variables, is not reachable, or has died; or no further task
            of the run could succeed.
        LedgerError: a result cannot be recorded.
        KeyboardInterrupt: a signal came before the work began, or a second one.
    """
    require_variables(RAY_ENVIRONMENT)
    for key, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if resources.address is not None and has_token():
        # `ray start` guards a cluster wherever it finds a token, but a driver that joins one must ask for it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    ends = ends or SessionEnds.ignored()
    with on_loopback(resources.address):  # before Ray is imported
        loggers = _loggers(state, run_dir, resources, view)
        with ray_session(resources, view, ends, run_dir.path) as watch:
            _run_tasks(state, execution, run_dir, resources, view, work, sample, ends.stop, memory_bytes, loggers)
            watch.require_alive()


def _loggers(state: RunState, run_dir: RunDir, resources: Resources, view: View) -> list[TrainingLogger]:
    """The loggers that the user wants, set up.

    Raises:
        RunError: a callback of the user's is none of Tune's.
        RunAborted: a logger cannot begin.
    """
    from rksearch.search.ray.loggers import make_loggers, require_callbacks

    require_callbacks(resources.callbacks)
    return make_loggers(
        resources.log, run=run_dir.path.name, directory=run_dir.logs, began=state.began, note=view.message
    )


def _run_tasks(
    state: RunState,
    execution: Execution,
    run_dir: RunDir,
    resources: Resources,
    view: View,
    work: TaskFunction | None,
    sample: Callable[[], TypicalTraining] | None,
    stop: StopRequest,
    memory_bytes: Callable[[], int],
    loggers: Sequence[TrainingLogger],
) -> None:
    """The same with a Ray that runs."""
    import ray
    from ray import tune

    from rksearch.search.ray.loggers import TrainingLog, UserCallbacks
    from rksearch.search.ray.oversight import Oversight
    from rksearch.search.ray.pulses import forget_beats, last_beat
    from rksearch.search.ray.slots import AT_ONCE, FullSlots
    from rksearch.search.ray.traces import Death, death_of
    from rksearch.search.ray.tune import LedgerSearcher, StateCallback, do_task, task_label, trainable

    machines = machines_of(ray.nodes())
    on_gpu = has_gpu(machines, resources) and resources.gpus_per_trial != 0
    if sample is not None and resources.gpus_per_trial is None and on_gpu:
        resources = _measured_shares(resources, sample(), state, view)
    reservations = Reservations.on(machines, resources, memory_bytes=0 if on_gpu else memory_bytes())
    if line := state.budget.without_gpus(reservations.trial["gpu"]):
        view.message(line)
    state.reservations = reservations
    state.together = min(resources.seeds_together or 1, resources.max_concurrent or MANY)
    slots = reservations.slots(machines)
    view.message(reservations.text(machines))
    state.ledger.write_slots(
        SlotsCounted(slots=slots, trial=dict(reservations.trial), machines=tuple(map(_offer, machines)))
    )
    counted = _SlotCount(reservations, slots)
    searcher = LedgerSearcher(state, execution, reservations, counted, view.message, WORKER_RESTARTS)

    def died(trial_id: str, said: str) -> None:
        if task := searcher.tasks.get(trial_id):
            searcher.on_death(trial_id, death_of(said, searcher.directory_of(task)))
            forget_beats(trial_id)

    def end(trial_id: str, death: Death) -> None:
        searcher.on_death(trial_id, death)
        scheduler.end(trial_id)

    scheduler = FullSlots(counted, reservations.slots_of, died)
    oversight = Oversight(state, searcher.tasks, end, last_beat, trial_hours=resources.trial_hours)
    # Limit of trials that wait for a worker; the searcher keeps back all but one that would only wait for a slot.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(1 + min(slots, AT_ONCE))
    users = UserCallbacks(resources.callbacks, searcher.end)
    log = TrainingLog(loggers, view.message, searcher.is_replaced)
    run_dir.clear_tune()
    if not resources.verbose:
        logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it lists trials that have failed
    tuner = tune.Tuner(
        trainable(work or do_task, run_dir.path.name, lambda config: reservations.of(from_plain(Task, config["task"]))),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
            # A worker that is used again hardly grows: with fourteen different networks, not compiled, a process went
            # from 762 to 772 MiB at most. oneDNN keeps its kernels for 1,024 shapes at most; without them (environment
            # variable ONEDNN_PRIMITIVE_CACHE_CAPACITY=0) it went from 727 to 730. See tests/training/test_growth.py.
            reuse_actors=True,
            trial_name_creator=task_label,
            trial_dirname_creator=task_label,
        ),
        run_config=tune.RunConfig(
            name="session",
            storage_path=str(run_dir.tune),
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher replaces workers that die
            callbacks=[
                StateCallback(searcher, view.refresh, oversight, stop, scheduler.end_all),
                *([log] if loggers else []),
                *([users] if resources.callbacks else []),
            ],
            verbose=3 if resources.verbose else 0,
        ),
    )
    view.start(state, slots)
    try:
        with stop.at_work():
            _fit(tuner, searcher)
    finally:
        view.close()
        users.close()
        log.close(leaving=stop.asked or searcher.leaving)
        run_dir.clear_tune()
    searcher.raise_abort()  # of a callback that raised at the very end


def _offer(machine: Machine) -> dict[str, float]:
    """What a machine offers to trials, in the words of a reservation."""
    return {name.lower(): amount for name, amount in machine.items() if name in ("CPU", "GPU", "memory")}


def _fit(tuner: Tuner, searcher: LedgerSearcher) -> None:
    """Let Tune work until the run has ended, or the session must.

    Raises:
        Exception: the one that ended the run, else one of Ray's own.
    """
    from rksearch.search.ray.deaths import deaths_are_of_workers
    from rksearch.search.ray.tune import WorkEnds

    try:
        with deaths_are_of_workers():
            tuner.fit()
    except WorkEnds:
        return
    finally:
        searcher.raise_abort()  # in place of exceptions that followed from it


def _measured_shares(resources: Resources, sample: TypicalTraining, state: RunState, view: View) -> Resources:
    """The resources with shares of a GPU that a worker with a whole GPU has measured, also written to the ledger."""
    import ray

    view.message(f"Measuring how trials should share a GPU, with {sample.arch} ...")
    if resources.seeds_together is not None:
        sample = replace(sample, seeds=1)  # the user has decided
    found: Sharing | str = ray.get(
        ray.remote(_measure)
        .options(num_gpus=1, num_cpus=sample.threads, max_retries=0)
        .remote(sample, Extensions.here())
    )
    if isinstance(found, str):
        view.message(f"It could not be measured, so each trial gets a whole GPU: {found}")
        return replace(resources, gpus_per_trial=1.0)
    view.message(
        f"Trials that share a GPU: {found.trials_per_gpu} (images/s of all by trials at a time: "
        f"{_rates_text(found.images_per_s)}); set it with --gpus-per-trial"
    )
    if found.together:
        view.message(
            f"Seeds that are trained together: {found.seeds_together} (images/s of all by seeds in one program: "
            f"{_rates_text(found.together)}); set it with --seeds-together"
        )
    state.ledger.write_sharing(found.measured)
    return replace(
        resources,
        gpus_per_trial=1 / found.trials_per_gpu,
        seeds_together=resources.seeds_together or found.seeds_together,
    )


def _rates_text(rates: Mapping[int, float]) -> str:
    return ", ".join(f"{count}: {rate:,.0f}" for count, rate in rates.items())


def _measure(sample: TypicalTraining, extensions: Extensions) -> Sharing | str:
    """A worker's measurement, or the reason why there is none."""
    from rksearch.search.sharing import measure

    extensions.register()
    try:
        return measure(sample)
    except RksearchError as error:
        return str(error)


class _SlotCount:
    """Number of trials that fit on the cluster now: nodes join and leave."""

    def __init__(self, reservations: Reservations, slots: int) -> None:
        self._reservations = reservations
        self._slots = slots
        self._counted_at_s = time.monotonic()

    def __call__(self) -> int:
        """The number, at most a few seconds old."""
        import ray

        if time.monotonic() - self._counted_at_s > _RECOUNT_S:
            self._slots = self._reservations.slots(machines_of(ray.nodes()))
            self._counted_at_s = time.monotonic()
        return self._slots
