"""The end of a session: how it ended, and its record in the ledger, whatever ended it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from rksearch.errors import ANY_FAULT, LedgerError, RksearchError, RunAborted, in_one_line
from rksearch.results.events import EndState, SessionEnded
from rksearch.results.files import write_traceback
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan
from rksearch.results.run_dir import RunDir
from rksearch.search.assembly import search_agenda
from rksearch.search.disk import is_full
from rksearch.search.launch import Launch
from rksearch.search.ray.session import SessionEnds
from rksearch.search.run_state import RunState
from rksearch.search.stopping import stop_signals
from rksearch.space import Space

Ending = Literal["finished", "interrupted", "stopped"]
"""How a session ends: all is done, by a signal, or by its budget of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A session that has ended.

    Attributes:
        ending: how it ended. Where it read the test set, the search may stand otherwise: see `history.state`.
        history: everything that the ledger says now.
    """

    ending: Ending
    history: History


def end_of_search(history: History, space: Space, plan: Plan) -> SessionEnded:
    """How the search of a run stands: what a session records at its end that does not continue it."""
    if history.state == "finished" or not search_agenda(space, plan)(history).remaining(history).tasks:
        return SessionEnded(state="finished")
    return SessionEnded(state="interrupted", budget=history.message if history.state == "stopped" else None)


def ending_of(launch: Launch, state: RunState) -> Ending:
    """How a session ends whose tasks have ended, or are left unfinished."""
    if state.is_left_to_next_job():
        return "interrupted"
    if not state.done and (launch.stop.asked or not state.cut_short):
        return "interrupted"
    return "stopped" if state.cut_short else "finished"


def close_session(
    launch: Launch, ending: Ending, state: RunState, *, search: SessionEnded | None, recorded: bool = False
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


def session_ends(launch: Launch) -> SessionEnds:
    """What ends a session from outside of its work, and what is recorded then."""

    def record(reason: str | None) -> None:
        _record_end(launch.ledger, "interrupted" if reason is None else "failed", reason)

    return SessionEnds(stop=launch.stop, record=record, resume=f"`rksearch resume {launch.run_dir.path}`")


@contextmanager
def end_recorded(launch: Launch) -> Iterator[None]:
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
    except ANY_FAULT as error:
        aborted = RunAborted(_unexpected(launch.run_dir, error))
        _record_end(launch.ledger, "failed", str(aborted))
        raise aborted from error


def _record_end(ledger: Ledger, state: EndState, message: str | None = None) -> None:
    with suppress(LedgerError):  # the disk does not allow it, and the exception under way says more
        ledger.write_end(state, message)


def _unexpected(run_dir: RunDir, error: BaseException) -> str:
    """What ended a session by an exception that nothing foresaw, in one line; its traceback goes into a file."""
    note = run_dir.work / "error.txt"
    if is_full(run_dir.path):
        return f"the disk of {run_dir.path} is full ({in_one_line(error)}); make room, then resume the run"
    with suppress(OSError):
        write_traceback(note, error)
    return (
        f"the session ended by {in_one_line(error)}; what is finished is kept, the traceback is in {note}; resume the "
        f"run with `rksearch resume {run_dir.path}`"
    )
