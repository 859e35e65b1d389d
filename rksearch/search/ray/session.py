"""Ray for one session of a run: started on this machine or joined at an address, watched, and left without a trace."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rksearch.errors import RksearchError, RunAborted
from rksearch.limits import free_memory_bytes
from rksearch.search.ray.leftovers import clear_dead_sessions, end_session, mark_session, own_sessions
from rksearch.search.ray.orphans import STARTED, OrphanKeeper, orphans_ended
from rksearch.search.ray.starting import private_temporary_directory, require_answer, require_no_ray, require_ray
from rksearch.search.ray.token import guard, hint
from rksearch.search.ray.watch import Watch
from rksearch.search.reservations import cpus_here
from rksearch.search.resources import LOCAL, Resources
from rksearch.search.stopping import StopRequest, kept_from_children
from rksearch.search.view import View

EXIT_INTERRUPTED = 130

STORE_BYTES = 200 * 2**20
"""Memory for objects that processes share: a run has next to none, and by default Ray keeps a third of all memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnds:
    """What ends a session from outside of its work.

    Attributes:
        stop: the user's wish.
        record: writes how the session ended to the ledger: the reason, or None for an interruption.
        resume: the command that resumes the run.
    """

    stop: StopRequest
    record: Callable[[str | None], None]
    resume: str

    @classmethod
    def ignored(cls) -> SessionEnds:
        """For work that is no run: nothing asks for its end, and nothing is recorded."""
        return cls(stop=StopRequest(), record=lambda reason: None, resume="the same command")


@contextlib.contextmanager
def ray_session(resources: Resources, view: View, ends: SessionEnds, run: Path) -> Iterator[Watch]:
    """Ray, started on this machine or joined at an address; what was started here is stopped at the end.

    Args:
        resources: say which Ray.
        view: shows the address of the dashboard, and how to get in.
        ends: what ends the session from outside.
        run: the run's directory, whose name Ray's job bears.

    Raises:
        RunError: this program is connected to a Ray already.
        RunAborted: it cannot be started or joined, or has died.
        KeyboardInterrupt: a signal ends the session.
    """
    require_no_ray()
    own = resources.address is None
    with (
        private_temporary_directory() if own else nullcontext(),
        _session(resources, view, ends, run) as watch,
    ):
        yield watch


@contextlib.contextmanager
def _session(resources: Resources, view: View, ends: SessionEnds, run: Path) -> Iterator[Watch]:
    import ray

    view.message("Starting Ray ..." if resources.address is None else f"Joining Ray at {resources.address} ...")
    token: str | None
    if resources.address is None:
        clear_dead_sessions()
        token = guard()
    else:
        require_answer(resources.address)
        require_ray(resources.address)
        token = hint()
    watch: Watch | None = None
    failed = False
    with _keeper(resources, run, ends) as keeper:
        try:
            url = _started(resources, ends.stop, run.name)
            view.message(f"Ray dashboard: http://{url}" if url else "Ray dashboard: not running")
            if token:
                view.message(f"  {token}")
            if resources.address is None:
                mark_session(os.getpid())
                keeper.say(STARTED)
                _let_ray_end_its_processes_at_once()
            watch = Watch.of_this_session(resources, ends.stop, last_words=_last_words(ends, resources))
            watch.start()
            yield watch
        except Exception as error:
            failed = watch is None
            # What Ray raises where one of its processes has died says less than the watch does, a moment later.
            if watch is not None and not isinstance(error, RksearchError) and (reason := watch.death(wait=True)):
                raise RunAborted(_died_text(reason, ends, resources)) from None
            raise
        except KeyboardInterrupt:
            if watch is not None and (reason := watch.death()):
                raise RunAborted(_died_text(reason, ends, resources)) from None
            raise
        finally:
            try:
                with ends.stop.not_again():
                    ray.shutdown()
            finally:
                if watch is not None:
                    watch.stop()
                if resources.address is None:
                    end_session(keep_logs=failed or (watch is not None and watch.death() is not None))


def _keeper(resources: Resources, run: Path, ends: SessionEnds) -> AbstractContextManager[OrphanKeeper]:
    """What ends a Ray of this machine if the driver cannot."""
    return orphans_ended(run, ends.resume) if resources.address is None else nullcontext(OrphanKeeper(None))


def _started(resources: Resources, stop: StopRequest, run: str) -> str | None:
    """Start or join Ray.

    Returns:
        The address of its dashboard, which need not run.

    Raises:
        RunAborted: it cannot be started or joined.
        KeyboardInterrupt: a signal has come.
    """
    import ray

    from rksearch.search.ray.jobs import job

    if not resources.verbose:
        # It prints the log of a dashboard that does not start, which is no matter.
        logging.getLogger("ray._private.services").setLevel(logging.CRITICAL)
    try:
        with kept_from_children(), _own_handlers():
            context = ray.init(
                address=LOCAL if resources.address is None else resources.address,
                num_cpus=cpus_here() if resources.address is None else None,
                object_store_memory=STORE_BYTES if resources.address is None else None,
                _memory=_memory_of_trials() if resources.address is None else None,
                include_dashboard=None,  # it is started where it can be, and costs nothing where it cannot
                dashboard_host="127.0.0.1",
                job_config=job(run, resources.address),
                log_to_driver=resources.verbose,
                logging_level="INFO" if resources.verbose else "ERROR",
            )
    except Exception as error:  # noqa: BLE001 - Ray raises this very class when a node does not start in time
        here = resources.address is None
        where = "Ray on this machine" if here else f"the Ray cluster at {resources.address}"
        remedy = "resume when the machine is less busy" if here else "check --address"
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise RunAborted(f"{where} must be reachable, but {reason}; {remedy}") from None
    finally:
        stop.take_back()
    return context.dashboard_url or None


def _memory_of_trials() -> int:
    """Bytes of memory that trials on this machine may reserve: Ray's own estimate knows no limit of an outer group."""
    return max(STORE_BYTES, free_memory_bytes() - STORE_BYTES)  # next to nothing is not none, which would be no limit


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep Ray from replacing the handler of SIGTERM while it starts: its own one drains the node before it ends."""
    from ray._private import utils

    theirs = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs


def _let_ray_end_its_processes_at_once() -> None:
    """Make Ray kill what it has started, instead of waiting a second each for a SIGTERM that they do not see."""
    from ray._private import worker

    node = worker._global_node
    for infos in node.all_processes.values() if node is not None else ():
        for info in infos:
            info.process.terminate = info.process.kill


def _died_text(reason: str, ends: SessionEnds, resources: Resources) -> str:
    logs = "".join(f"; its logs are in {path / 'logs'}" for path in own_sessions()[-1:])
    return (
        f"{reason}{logs if resources.address is None else ''}; what is finished is kept, resume it with {ends.resume}"
    )


def _last_words(ends: SessionEnds, resources: Resources) -> Callable[[str | None], NoReturn]:
    """End this process where its main thread no longer answers: Ray's calls may wait for ever for what has died."""

    def end(reason: str | None) -> NoReturn:
        text = None if reason is None else _died_text(reason, ends, resources)
        try:
            recorder = threading.Thread(target=ends.record, args=(text,), daemon=True)
            recorder.start()
            recorder.join(timeout=5)  # the disk may not answer either
            if sys.stdout.isatty():
                print("\x1b[?25h")  # the cursor, which a live table hides
            print(f"rksearch: {text or 'interrupted'}", file=sys.stderr, flush=True)
            if resources.address is None:
                end_session(keep_logs=reason is not None)
        finally:
            os._exit(EXIT_INTERRUPTED if reason is None else 1)

    return end
