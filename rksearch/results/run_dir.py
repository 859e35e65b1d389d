"""A run's directory: where things lie in it, and the lock that keeps a second driver out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rksearch.errors import RunError
from rksearch.results.files import file_lock, is_locked
from rksearch.results.ledger import FILE_NAME


class RunDir:
    """`ledger.jsonl` and what is derived from it, and `work/`, which is scratch: checkpoints, Tune's files, logs."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def work(self) -> Path:
        """Scratch that git should ignore; without it a run can still be reported, but its trials start over."""
        return self.path / "work"

    @property
    def tune(self) -> Path:
        """Tune's own files, of no use after a session."""
        return self.work / "tune"

    @property
    def has_ledger(self) -> bool:
        """Whether a run was ever started here."""
        return (self.path / FILE_NAME).is_file()

    def require_ledger(self) -> None:
        """Make sure that a run was started here.

        Raises:
            RunError: it was not.
        """
        if not self.has_ledger:
            raise RunError(
                f"a run directory holds {FILE_NAME}, but {self.path} has none; give the --out of an earlier run"
            )

    @contextmanager
    def driver(self) -> Iterator[None]:
        """Be the only driver of this run for the length of a `with` block.

        Raises:
            RunError: the directory cannot be written, or another driver is at work.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            (self.work / ".gitignore").write_text("*\n")
        except OSError as error:
            raise RunError(
                f"the run directory must be writable, but {self.path} is not ({error.strerror}); choose another --out"
            ) from None
        busy = RunError(f"one driver at a time may work on a run, but another one is at work on {self.path}")
        with file_lock(self._lock, wait_s=0, busy=busy):
            yield

    @property
    def driven(self) -> bool:
        """Whether a driver is at work on this run now, on this machine."""
        return is_locked(self._lock)

    @property
    def _lock(self) -> Path:
        return self.work / "driver.lock"

    def clear_tune(self) -> None:
        """Remove Tune's scratch of earlier sessions."""
        shutil.rmtree(self.tune, ignore_errors=True)


def next_free(parent: Path, name: str) -> Path:
    """`parent/name-1`, or the first of `-2`, `-3`, ... that does not exist."""
    n = 1
    while (parent / f"{name}-{n}").exists():
        n += 1
    return parent / f"{name}-{n}"
