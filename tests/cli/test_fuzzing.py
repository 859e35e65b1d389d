"""Some thousand damaged inputs: each works, or is one line, soon and in little memory; `tools/fuzz.py` has more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rksearch.errors import SpaceError
from tests.helpers import fuzzing
from tests.helpers.fuzzing import Fuzzer, checked_line, violation

COUNTS = {"space": 300, "recipe": 300, "name": 1500, "ledger": 200, "options": 200, "environment": 20, "export": 150}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(directory=tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_input_works_or_is_one_line(fuzzer: Fuzzer, kind: str) -> None:
    assert fuzzer.run(kind, COUNTS[kind]) == []


def test_every_kind_is_tried(fuzzer: Fuzzer) -> None:
    assert fuzzer.kinds().keys() == COUNTS.keys()


def test_what_is_wrong_is_found() -> None:
    def says(error: BaseException) -> str | None:
        def call() -> None:
            raise error

        return violation(call)

    assert says(SpaceError("a rule, the value; a remedy")) is None
    assert says(SpaceError("two\nlines")) is not None
    assert says(SpaceError("")) is not None
    assert says(TypeError("x")) == "TypeError: x"
    assert says(SystemExit(3)) is not None
    assert violation(lambda: bytearray(10**6), memory=True) is None


def test_what_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "HANG_S", 0.1)
    assert violation(lambda: time.sleep(30)) == "TimeoutError: not done in 0.1 s"


def test_what_takes_too_much_of_a_cpu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "LIMIT_S", 0.01)
    assert "s of a CPU" in str(violation(lambda: sum(range(10**6))))
    assert violation(lambda: time.sleep(0.1)) is None


def test_a_changed_record_has_a_right_checksum(tmp_path: Path) -> None:
    from rksearch.results.lines import read_line

    line = checked_line({"event": "start", "time": "2026-01-01T00:00:00Z", "trial": "ResNet-8@0"})
    assert read_line(line).event is not None
