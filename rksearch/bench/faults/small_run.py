"""Small runs, their commands in processes of their own, and the processes below those."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rksearch.bench.fair_clock import FairClock
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.processes import child_environment, own_python
from rksearch.search.ray.leftovers import end_processes, processes_of, sessions_of

LEAVES_WITHIN_S = 60.0
"""Longest time for killed processes to be gone."""

_INHERITED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)
"""Signals of which a run that ignores them at its start takes no notice: it was asked to, by `nohup` or a shell."""

SPACE = """
description: all members of a tiny space, trained whatever their order
dataset: digits
families: [dense]
growth_rate: [4]
periods:
  - {m: [1, 2], s: [1], r: [1]}
  - {m: [1], s: [1, 2], r: [1]}
recipe: {name: short, epochs: 12, batch_size: 32}
train_images: 200
trials: 4
seeds: {search: 1, final: 2}
search: {racing: false, replicates: 0, sampler: random}
baselines: [ResNet-8]
"""

TWO_TRAININGS = """
description: a space of one network, beside a baseline
dataset: digits
families: [dense]
growth_rate: [4]
periods:
  - {m: [1], s: [1], r: [1]}
  - {m: [1], s: [1], r: [1]}
recipe: {name: short, epochs: 8, batch_size: 32}
train_images: 200
trials: 1
seeds: {search: 1, final: 1}
search: {racing: false, replicates: 0, sampler: random}
baselines: [ResNet-8]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRun:
    """A run that takes seconds, apart from the start of Ray.

    Attributes:
        directory: of the run.
        space: its space file.
        data_dir: where data sets lie.
        options: further options of its commands.
    """

    directory: Path
    space: Path
    data_dir: Path
    options: tuple[str, ...] = ()

    @classmethod
    def of_a_space(cls, directory: Path, data_dir: Path) -> SmallRun:
        """A run of all members of a space: the same trainings, in whatever order they end."""
        return cls._written(directory, data_dir, SPACE)

    @classmethod
    def of_two_trainings(cls, directory: Path, data_dir: Path) -> SmallRun:
        """A run of a baseline and then a candidate, by one worker: a second one imports as much again."""
        return cls._written(directory, data_dir, TWO_TRAININGS, "--max-concurrent", "1")

    @classmethod
    def _written(cls, directory: Path, data_dir: Path, text: str, *options: str) -> SmallRun:
        directory.parent.mkdir(parents=True, exist_ok=True)
        space = directory.with_suffix(".yaml")
        space.write_text(text, encoding="utf-8")
        return cls(directory=directory, space=space, data_dir=data_dir, options=options)

    def start(self) -> SmallRunCommand:
        """Begin the run."""
        return SmallRunCommand(self, "run", "--space", str(self.space), "--out", str(self.directory))

    def resume(self) -> SmallRunCommand:
        """Resume the run; where nothing was recorded yet, begin it again."""
        return SmallRunCommand(self, "resume", str(self.directory)) if self.history().run else self.start()

    def history(self) -> History:
        """What its ledger holds."""
        return Ledger(self.directory).read()

    def checkpoints(self) -> list[Path]:
        """Newest checkpoints of its trainings."""
        return sorted((self.directory / "work" / "trials").glob("*/checkpoint.pt"))


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Let processes that begin in a `with` block answer signals which this one ignores, as a background job does."""
    ignored = [number for number in _INHERITED if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)  # a new program answers it as by default
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


class SmallRunCommand:
    """A command under way, in a process group of its own.

    Attributes:
        process: its driver.
        began_s: when it began, by the monotonic clock.
        errors: what it has written to standard error, once it has ended.
    """

    def __init__(self, small: SmallRun, *words: str) -> None:
        self.errors = ""
        self._over = False
        self.began_s = time.monotonic()
        with _answered():
            self.process = subprocess.Popen(  # noqa: S603 - this Python, with a command of ours
                own_python(
                    "-m",
                    "rksearch",
                    *words,
                    *small.options,
                    "--data-dir",
                    str(small.data_dir),
                    "--device",
                    "cpu",
                ),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The driver."""
        return self.process.pid

    def ends_in_time(self, limit_s: float) -> bool:
        """Whether the command ends within the limit, not counting time that it waits for a CPU; waits for it."""
        clock = FairClock(lambda: [self.pid, *descendants(self.pid)])
        while clock.spent_s() < limit_s:
            if self.ends(1.0):
                return True
        return self._over

    def ends(self, within_s: float) -> bool:
        """Whether the command ends within some seconds; waits for it."""
        if self._over:
            return True
        try:
            _, self.errors = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            return False
        self._over = True
        return True

    def last_line(self) -> str:
        """The last line that it wrote as an error; empty for none, or while it runs."""
        lines = self.errors.strip().splitlines()
        return lines[-1] if lines else ""

    def below(self, name: str) -> list[int]:
        """Processes below the driver whose command line holds a name."""
        return [pid for pid in descendants(self.pid) if name in command_line(pid)]

    def left(self) -> list[int]:
        """Processes of its Ray that live on, given some seconds to end."""
        sessions = sessions_of(self.pid)
        deadline = time.monotonic() + LEAVES_WITHIN_S
        while (found := processes_of(sessions)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def end_all(self) -> None:
        """Kill what is left of it."""
        if not self._over:  # else others may have its process id by now
            below = descendants(self.pid)
            self.process.kill()  # and none but this object collects its exit code
            end_processes(below)
            self.ends(10)
        end_processes(self.left())


def descendants(pid: int) -> list[int]:
    """All processes below one; none where the system does not list them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def command_line(pid: int) -> str:
    """The words of a process; empty where the system does not tell them."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
