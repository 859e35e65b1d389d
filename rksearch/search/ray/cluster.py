"""Ray started on this machine or joined at an address, and Tune's loop over the tasks of a run."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.errors import RksearchError, RunAborted
from rksearch.results.codec import from_plain
from rksearch.results.run_dir import RunDir
from rksearch.search.ray.extensions import Extensions
from rksearch.search.ray.starting import require_answer, require_temporary_directory
from rksearch.search.reservations import Reservations, cpus_here, has_gpu
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.stopping import handlers_kept
from rksearch.search.tasks import Task
from rksearch.search.view import View
from rksearch.training.execution import Execution

if TYPE_CHECKING:
    from ray.tune import Tuner

    from rksearch.search.ray.tune import LedgerSearcher, TaskFunction
    from rksearch.search.sharing import Sharing, TypicalTraining

WORKER_RESTARTS = 2
"""How often a trial whose worker died is given to another worker, which resumes from the trial's last epoch."""

_RECOUNT_S = 2.0

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without this, Ray would pack the working directory and build a second environment when started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A trial that asks for no GPU must not see one.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
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

    Raises:
        RunError: Ray has less than one task reserves.
        RunAborted: Ray is not reachable, or has died; or no further task of the run could succeed.
        LedgerError: a result cannot be recorded.
    """
    for key, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if resources.address and _has_ray_token():
        # `ray start` guards a cluster wherever it finds a token, but a driver that joins one must ask for it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray
    from ray import tune

    from rksearch.search.ray.slots import AT_ONCE, FullSlots
    from rksearch.search.ray.tune import LedgerSearcher, StateCallback, do_task, task_label, trainable

    with _ray(resources, view):
        available = ray.cluster_resources()
        if sample is not None and resources.gpus_per_trial is None and has_gpu(available, resources):
            resources = _measured_shares(resources, sample(), state, view)
        reservations = Reservations.on(available, ray.nodes(), resources)
        state.reservations, state.together = reservations, resources.seeds_together or 1
        slots = reservations.slots(available)
        counted = _SlotCount(reservations, slots)
        searcher = LedgerSearcher(state, execution, reservations, counted, view.message)
        # Limit of trials that wait for a worker; the searcher keeps back all but one that would only wait for a slot.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(1 + min(slots, AT_ONCE))
        run_dir.clear_tune()
        tuner = tune.Tuner(
            tune.with_resources(
                trainable(work or do_task), lambda config: reservations.of(from_plain(Task, config["task"]))
            ),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=FullSlots(counted, reservations.slots_of),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=task_label,
                trial_dirname_creator=task_label,
            ),
            run_config=tune.RunConfig(
                name="session",
                storage_path=str(run_dir.tune),
                failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
                callbacks=[StateCallback(searcher, view.refresh)],
                verbose=3 if resources.verbose else 0,
            ),
        )
        view.start(state, slots)
        try:
            _fit(tuner, searcher)
        finally:
            view.close()
    run_dir.clear_tune()


def _fit(tuner: Tuner, searcher: LedgerSearcher) -> None:
    """Let Tune work until the run has ended.

    Raises:
        Exception: the one that ended the run, else one of Ray's own.
    """
    try:
        tuner.fit()
    finally:
        searcher.raise_abort()  # in place of exceptions that followed from it


def _has_ray_token() -> bool:
    """Whether this user has a token for Ray clusters, in one of the three places where Ray looks for it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path.home() / ".ray" / "auth_token").is_file()


@contextlib.contextmanager
def _ray(resources: Resources, view: View) -> Iterator[None]:
    """Ray, started on this machine or joined at an address; what was started here is stopped at the end.

    Raises:
        RunAborted: it cannot be started or joined.
    """
    import ray

    if resources.address is None:
        require_temporary_directory()
    else:
        require_answer(resources.address)
    try:
        with handlers_kept():
            context = ray.init(
                address=resources.address or "local",
                num_cpus=cpus_here() if resources.address is None else None,
                include_dashboard=True if resources.address is None else None,
                dashboard_host="127.0.0.1",
                log_to_driver=resources.verbose,
                logging_level="INFO" if resources.verbose else "ERROR",
            )
    except Exception as error:  # noqa: BLE001 - Ray raises this very class when a node does not start in time
        ray.shutdown()  # ends processes of a Ray that has started in part
        where = f"the Ray cluster at {resources.address}" if resources.address else "Ray on this machine"
        remedy = "check --address" if resources.address else "resume when the machine is less busy"
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise RunAborted(f"{where} must be reachable, but {reason}; {remedy}") from None
    except BaseException:  # a signal
        ray.shutdown()
        raise
    try:
        url = context.dashboard_url
        view.message(f"Ray dashboard: http://{url}" if url else "Ray dashboard: not running")
        yield
    finally:
        ray.shutdown()


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
            self._slots = self._reservations.slots(ray.cluster_resources())
            self._counted_at_s = time.monotonic()
        return self._slots
