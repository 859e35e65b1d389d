"""Starts and resumes runs: checks what is asked, joins or starts Ray, lets Tune work, and says how it ended."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from rich.console import Console

from rksearch.environment import environment
from rksearch.errors import LedgerError, RksearchError, RunAborted, RunError
from rksearch.ledger import Ledger
from rksearch.records import Execution
from rksearch.run_dir import RunDir
from rksearch.search.live import view
from rksearch.search.run_state import RunState
from rksearch.search.settings import Settings
from rksearch.space import Space, parse_space

WORKER_RESTARTS = 2
"""How often a trial whose worker died is given to another worker, which resumes from the trial's last epoch."""

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without this, Ray would pack the working directory and build a second environment when started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A trial that asks for no GPU must not see one.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The newer output prints a banner even when asked for silence.
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""Set before Ray is imported; a value that the user has set already is respected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a session may use.

    Attributes:
        cpus_per_trial, gpus_per_trial: reserved for each trial; fractions let trials share a GPU. None for GPUs: one
            where the machine or cluster has any, else none.
        address: of a Ray cluster to join; None starts Ray on this machine and stops it at the end.
        data_dir: where data sets lie or are downloaded to.
        download: whether a missing data set may be downloaded.
        device, precision: see `rksearch.records.Execution`.
        verbose: whether Ray's and the workers' own messages are shown.
    """

    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    address: str | None = None
    data_dir: Path = Path("data")
    download: bool = True
    device: str = "auto"
    precision: str = "auto"
    verbose: bool = False


REMEMBERED = ("cpus_per_trial", "gpus_per_trial", "data_dir", "download", "device", "precision")
"""Options of a session that the next one takes over unless told otherwise."""

Ending = Literal["finished", "interrupted"]


def start(space: Space, settings: Settings, run_dir: RunDir, resources: Resources, console: Console) -> Ending:
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
        if begun is None or begun["plan"] != settings.to_json():
            ledger.write_run(name=run_dir.path.name, space=space.to_json(), plan=settings.to_json())
        return _run(space, settings, ledger, run_dir, resources, console)


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
    run_dir.require_ledger()
    found = Ledger(run_dir.path).read()
    if found.run is None:
        raise RunError(f"a ledger begins with its run, but that of {run_dir.path} is damaged; start a new run")
    settings = Settings.from_json(found.run["plan"])
    space = parse_space(found.run["space"]["yaml"], name=found.run["space"]["name"])
    settings = replace(settings, trials=settings.trials if trials is None else trials)
    if found.sessions:
        resources = _as_before(resources, chosen, found.sessions[-1].options)
    return start(space, settings, run_dir, resources, console)


def _as_before(resources: Resources, chosen: frozenset[str], options: dict[str, Any]) -> Resources:
    """Where the user says nothing, a run goes on as it was; but never on a cluster that may be gone, nor aloud."""
    kept = {key: options[key] for key in REMEMBERED if key in options}
    if "data_dir" in kept:
        kept["data_dir"] = Path(kept["data_dir"])
    if "no_download" in chosen:
        chosen |= {"download"}
    return replace(resources, **{key: value for key, value in kept.items() if key not in chosen})


def _require_same(begun: dict[str, Any], space: Space, settings: Settings, run_dir: RunDir) -> None:
    """A run goes on with what it began with; only the number of candidates may change."""
    if begun["space"]["sha256"] != space.definition.sha256:
        raise RunError(
            f"a run goes on with the space it began with, but {run_dir.path} began with another text of "
            f"{begun['space']['name']!r}; choose another --out, or go on with `rksearch resume`"
        )
    now = settings.to_json()
    for key, before in begun["plan"].items():
        if key != "trials" and now[key] != before:
            raise RunError(
                f"a run goes on with the {key} it began with, but {run_dir.path} has {before!r} and {now[key]!r} was "
                "asked for; choose another --out, or go on with `rksearch resume`"
            )


def _run(
    space: Space, settings: Settings, ledger: Ledger, run_dir: RunDir, resources: Resources, console: Console
) -> Ending:
    from rksearch.data import load_images
    from rksearch.search.proposer import OptunaProposer

    data_dir = resources.data_dir.absolute()
    # Before anything is started: a missing or damaged data set is one line here, not a failure of every trial.
    load_images(space.definition.dataset, data_dir, download=resources.download)
    history = ledger.read()
    first = {*settings.baselines, *settings.known}
    proposed = {trial.rpartition("@")[0] for trial in history.started} - first
    proposer = OptunaProposer(space, trials=settings.trials, seed=settings.sampler_seed, proposed=len(proposed))
    state = RunState(ledger, settings, proposer)
    options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(resources).items()}
    ledger.write_session(environment=environment(), options=options)
    execution = Execution(
        work_dir=str(run_dir.work),
        data_dir=str(data_dir),
        device=resources.device,
        precision=resources.precision,
        threads=max(1, math.floor(resources.cpus_per_trial)),
        download=resources.download,
    )
    try:
        _tune(state, execution, run_dir, resources, console)
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


def _tune(state: RunState, execution: Execution, run_dir: RunDir, resources: Resources, console: Console) -> None:
    """Let Ray Tune perform every task of the run."""
    for key, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if resources.address and _has_ray_token():
        # `ray start` guards a cluster wherever it finds a token, but joining one takes no notice of it by itself.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray
    from ray import tune

    from rksearch.search.tune import LedgerSearcher, Progress, perform, task_label

    with _ray(resources, console):
        asked, slots = _resources_per_trial(ray.cluster_resources(), resources)
        searcher = LedgerSearcher(state, execution)
        shown = view(state, console, slots)
        run_dir.clear_tune()
        tuner = tune.Tuner(
            tune.with_resources(perform, asked),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=task_label,
                trial_dirname_creator=task_label,
            ),
            run_config=tune.RunConfig(
                name="session",
                storage_path=str(run_dir.tune),
                failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
                callbacks=[Progress(searcher, shown.refresh)],
                verbose=3 if resources.verbose else 0,
            ),
        )
        try:
            with _stop_signals():
                tuner.fit()
        finally:
            shown.close()
    run_dir.clear_tune()


def _has_ray_token() -> bool:
    """Whether this user has a token for Ray clusters, in one of the three places where Ray looks for it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path.home() / ".ray" / "auth_token").is_file()


@contextlib.contextmanager
def _ray(resources: Resources, console: Console) -> Iterator[None]:
    """Ray, started on this machine or joined at an address; whatever was started is stopped again."""
    import ray

    try:
        context = ray.init(
            address=resources.address or "local",
            include_dashboard=True if resources.address is None else None,
            dashboard_host="127.0.0.1",
            log_to_driver=resources.verbose,
            logging_level="INFO" if resources.verbose else "ERROR",
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"the Ray cluster at {resources.address}" if resources.address else "Ray on this machine"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(f"{where} must be reachable, but {reason}; check --address") from None
    try:
        url = context.dashboard_url
        console.print(f"Ray dashboard: http://{url}" if url else "Ray dashboard: not running", highlight=False)
        yield
    finally:
        ray.shutdown()


def _resources_per_trial(available: dict[str, float], resources: Resources) -> tuple[dict[str, float], int]:
    """What a trial reserves, and how many fit at once."""
    gpus = resources.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if available.get("GPU", 0) >= 1 and resources.device != "cpu" else 0.0
    asked = {"cpu": resources.cpus_per_trial, "gpu": gpus}
    slots = []
    for kind, amount in asked.items():
        there = available.get(kind.upper(), 0)
        if amount > there:
            raise RunError(
                f"a trial can have at most what Ray has, but --{kind}s-per-trial is {amount:g} and Ray has {there:g}"
            )
        if amount:
            slots.append(int(there / amount))
    return asked, max(1, min(slots, default=1))


@contextlib.contextmanager
def _stop_signals() -> Iterator[None]:
    """Let a termination or a closed terminal end the run as ctrl-C does: Tune stops, nothing finished is lost."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    caught = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
