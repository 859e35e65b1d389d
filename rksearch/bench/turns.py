"""Alternated turns of contestants that wait for each other in processes of their own.

A machine that others use changes its speed from minute to minute, so a round gives every contestant one short turn, in
an order that rotates, and only times of the same round are compared. In its own process a contestant has its own heap
and its own compiled code, as a training has them.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Literal, TypeVar

import torch

from rksearch.bench.contestants import Participant, Prepared
from rksearch.errors import RksearchError

Name = TypeVar("Name")

Word = Literal["prepare", "turn", "deliver"]
"""What a contestant is asked to do: a method of `rksearch.bench.contestants.Contestant`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Figures of some rounds, by contestant.

    Attributes:
        prepared: what preparing took.
        turns_s: seconds of each turn; the lists have one number for each round.
        deliveries_s: seconds of each delivery of the images alone, a few of them.
    """

    prepared: dict[str, Prepared]
    turns_s: dict[str, list[float]]
    deliveries_s: dict[str, list[float]]


def play(participants: Mapping[str, Participant], *, rounds: int, deliveries: int = 0) -> Turns:
    """Let the contestants take turns.

    Args:
        participants: contestants by name.
        rounds: turns of each.
        deliveries: how often each delivers its images without training.

    Raises:
        RksearchError: a contestant failed, or its process died, for example because memory ran out.
    """
    with _seated(participants) as seats:
        prepared: dict[str, Prepared] = {name: seat.ask("prepare") for name, seat in seats.items()}
        found: dict[Word, dict[str, list[float]]] = {"turn": {}, "deliver": {}}
        counts: dict[Word, int] = {"turn": rounds, "deliver": deliveries}
        for word, count in counts.items():
            for number in range(count):
                for name in order(list(participants), number):
                    found[word].setdefault(name, []).append(seats[name].ask(word))
    return Turns(prepared=prepared, turns_s=found["turn"], deliveries_s=found["deliver"])


def order(names: Sequence[Name], number: int) -> list[Name]:
    """Order of the turns of round `number`: it begins with another name each time, and then runs backwards."""
    first = number % len(names)
    rotated = [*names[first:], *names[:first]]
    return rotated[::-1] if number // len(names) % 2 else rotated


class _Seat:
    """A contestant's process, as its host sees it."""

    def __init__(self, name: str, participant: Participant) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._here, there = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=_serve, args=(participant, torch.get_num_threads(), there), daemon=participant.settings.workers == 0
        )
        self._process.start()
        there.close()

    def ask(self, word: Word) -> Any:
        """Let it do something, and wait for the answer."""
        try:
            with suppress(BrokenPipeError):  # it has failed: what it said is still there
                self._here.send(word)
            answer = self._here.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            raise RksearchError(
                f"every contestant must stay alive, but {self._name!r} ended with exit code {self._process.exitcode}; "
                "see its message above, or measure with a smaller batch"
            ) from None
        if isinstance(answer, _Failure):
            raise RksearchError(f"{self._name!r} could not {word}: {answer.reason}")
        return answer

    def leave(self) -> None:
        """End the process."""
        self._here.close()  # it ends when nobody asks any more
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


@contextmanager
def _seated(participants: Mapping[str, Participant]) -> Iterator[dict[str, _Seat]]:
    seats: dict[str, _Seat] = {}
    try:
        for name, participant in participants.items():
            seats[name] = _Seat(name, participant)
        yield seats
    finally:
        for seat in seats.values():
            seat.leave()


@dataclass(frozen=True, slots=True)
class _Failure:
    """Answer of a contestant that failed."""

    reason: str


def _serve(participant: Participant, threads: int, asked: Connection) -> None:
    """Do what is asked until the host hangs up."""
    torch.set_num_threads(threads)
    try:
        with participant.seated() as contestant:
            while True:
                word: Word = asked.recv()
                asked.send(getattr(contestant, word)())
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:  # noqa: BLE001 - the host raises it again, in its words
        asked.send(_Failure(f"{type(error).__name__}: {' '.join(str(error).split())}"))
