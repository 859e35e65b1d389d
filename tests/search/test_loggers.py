"""Loggers whose servers are named with a password: no message and no record repeats it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rksearch.errors import RunAborted
from rksearch.results.ledger import Ledger
from rksearch.search.ray import loggers
from rksearch.search.ray.loggers import make_loggers
from tests.helpers.ledgers import begin

SECRET = "s3cret" * 60  # longer than what is shown of an exception


class Unreachable:
    """A callback of Ray's whose server is down."""

    def __init__(self, *, begins: bool) -> None:
        self._begins = begins

    def setup(self) -> None:
        if not self._begins:
            self.fail()

    def on_experiment_end(self, trials: object) -> None:
        self.fail()

    def fail(self) -> None:
        raise ConnectionError(f"API request to https://me:{SECRET}@host:5000/api failed")


def test_a_logger_that_cannot_begin_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "_callback", lambda *words: Unreachable(begins=False))
    with pytest.raises(RunAborted, match=r"API request to https://\*\*\*@host:5000/api failed; mend that") as error:
        make_loggers(["mlflow"], run="run", directory=tmp_path, began="then", note=print)
    assert "s3cret" not in str(error.value)


def test_a_logger_that_fails_later_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "_callback", lambda *words: Unreachable(begins=True))
    notes: list[str] = []
    (logger,) = make_loggers(["mlflow"], run="run", directory=tmp_path, began="then", note=notes.append)
    logger.close()
    assert notes == [
        "--log mlflow has failed and is left out from now on: "
        "ConnectionError: API request to https://***@host:5000/api failed"
    ]


def test_the_end_of_a_session_is_recorded_without_passwords(tmp_path: Path) -> None:
    """Whoever writes it: the driver, or the process that outlives it."""
    ledger = begin(tmp_path / "run")
    ledger.write_end("failed", f"the server at https://me:{SECRET}@host:5000 is down")
    assert "s3cret" not in ledger.path.read_text()
    assert Ledger(tmp_path / "run").read().message == "the server at https://***@host:5000 is down"
