"""A quick test of an installation: equal numbers, checkpoints, ledger, and a run on Ray whose driver is killed."""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rksearch.bench.faults.disturbing import Disturbed, Numbers, differences, disturb, numbers_of
from rksearch.bench.faults.kinds import Fault
from rksearch.bench.faults.small_run import SmallRun
from rksearch.errors import RksearchError, in_one_line
from rksearch.recipes.shipped import recipe
from rksearch.results.environment import Environment
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.training import checkpoint
from rksearch.training.checkpoint import NEWEST
from rksearch.training.execution import Execution, trial_dir

SPEC = TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short", epochs=3), train_images=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        what: what must hold.
        problem: why it does not; None where it does.
        time_s: time that it took.
    """

    what: str
    problem: str | None
    time_s: float


def selftest(data_dir: Path) -> Iterator[Check]:
    """Check what this installation promises, one promise after the other.

    Args:
        data_dir: where data sets lie; those of the checks come with scikit-learn.
    """
    with tempfile.TemporaryDirectory(prefix="rksearch-selftest-") as scratch:
        desk = _Desk(Path(scratch), data_dir)
        for what, check in (
            ("a training gives the same numbers twice", desk.trains_alike),
            ("a paused training continues as if it had not paused", desk.continues),
            ("a damaged checkpoint falls back to the one before", desk.falls_back),
            ("a ledger that is cut anywhere keeps all whole records", desk.reads_torn_ledger),
            ("a run on Ray whose driver is killed is resumed, with the numbers of an undisturbed one", desk.survives),
        ):
            began_s = time.monotonic()
            yield Check(what=what, problem=_problem(check), time_s=time.monotonic() - began_s)


def _problem(check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except RksearchError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - an exception of any kind is what the check looks for
        return in_one_line(error)


@contextlib.contextmanager
def _warnings_of(module: str) -> Iterator[list[str]]:
    """What a module logs in a `with` block, instead of showing it."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(module)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


class _Desk:
    """The checks, which share one training as their reference."""

    def __init__(self, scratch: Path, data_dir: Path) -> None:
        self._scratch, self._data_dir = scratch, data_dir
        self._reference: Numbers = ()

    def trains_alike(self) -> str | None:
        self._reference = numbers_of(self._trained("first"))
        return self._compared(self._trained("second"))

    def continues(self) -> str | None:
        paused = self._trained("paused", until=1)
        if paused.status != "paused" or len(paused.epochs) != 1:
            return f"it should have paused after epoch 1, but is {paused.status} after {len(paused.epochs)}"
        return self._compared(self._trained("paused"))

    def falls_back(self) -> str | None:
        self._trained("damaged", until=2)
        newest = trial_dir(self._scratch / "damaged", SPEC.id) / NEWEST
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
        with _warnings_of(checkpoint.__name__) as said:
            result = self._trained("damaged")
        if not any(newest.name in text for text in said):
            return "nothing was said of the damage"
        return self._compared(result)

    def reads_torn_ledger(self) -> str | None:
        ledger = Ledger(self._scratch / "torn")
        ledger.write_session(environment=Environment(), options={})
        for _ in range(3):
            ledger.write_start(SPEC.id)
            ledger.write_end("interrupted")
        whole = ledger.path.read_bytes()
        places = random.Random(0).sample(range(len(whole)), min(200, len(whole)))
        for place in places:
            ledger.path.write_bytes(whole[:place])
            history = ledger.read()
            complete = whole[:place].count(b"\n")
            if history.damaged > 1 or (complete and not history.sessions):
                return f"cut at byte {place} of {len(whole)}, {history.damaged} lines could not be read"
        return None

    def survives(self) -> str | None:
        small = SmallRun.of_two_trainings(self._scratch / "run", self._data_dir)
        found: Disturbed = disturb(small, Fault(kind="driver killed", moment_s=None), {})
        if found.problem is not None:
            return found.problem
        history = Ledger(small.directory).read()
        alone = {
            spec.id: numbers_of(self._run(spec, "alone"))
            for spec, result in history.trials.values()
            if result.status == "complete"
        }
        return differences(alone, history)

    def _trained(self, name: str, until: int | None = None) -> TrialResult:
        return self._run(SPEC, name, until)

    def _run(self, spec: TrialSpec, name: str, until: int | None = None) -> TrialResult:
        from rksearch.training.trial import run_trial

        work_dir = self._scratch / name
        return run_trial(
            spec, Execution(work_dir=str(work_dir), data_dir=str(self._data_dir), device="cpu"), until=until
        )

    def _compared(self, result: TrialResult) -> str | None:
        if numbers_of(result) == self._reference:
            return None
        return (
            f"its numbers must be {self._reference}, but are {numbers_of(result)} ({result.message or result.status})"
        )


def check_text(check: Check) -> str:
    """A check in a line."""
    mark = "ok    " if check.problem is None else "FAILED"
    why = "" if check.problem is None else f": {check.problem}"
    return f"{mark}  {check.what}{why}  ({check.time_s:.0f} s)"
