"""Commands in this process, for tests of what old and damaged ledgers make of them."""

import sys
from collections.abc import Callable

import pytest

from rksearch.cli import main
from tests.helpers.command_line import Answer


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """A function that gives exit code, output and errors of a command."""

    def run(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rksearch", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, shown.out, shown.err

    return run
