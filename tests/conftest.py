import signal
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from rksearch.cli import main
from rksearch.search.stopping import ENDING
from tests.helpers.command_line import Answer

# A busy machine makes any example slow; tests that assert times are marked `timing`.
settings.register_profile("rksearch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rksearch")


def pytest_configure(config: pytest.Config) -> None:
    """Let tests answer signals that this process ignores, as it does under `nohup` or in the background of a script.

    For this process, a handler that does nothing is like ignoring; but programs that it starts do not inherit it.
    """
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *args: None)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as those of the tests gain nothing from more, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """A function that gives exit code, output and errors of a command, which it runs in this process."""

    def run(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rksearch", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, shown.out, shown.err

    return run


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for all fast tests together. Others use every core, or assert times: no processes beside this."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return 2 if everything and config.option.markexpr.startswith("not slow") else 0
