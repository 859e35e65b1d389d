"""Files of data sets: checksums, and one download for all processes that need it."""

from __future__ import annotations

import errno
import http.client
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rksearch.data.fetching import fetch, is_intact
from rksearch.errors import DataError, FetchError, unwritable

WITHOUT_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of file systems that have no locks, besides ENOSYS, for which `filelock` has an answer of its own."""

DOWNLOAD_WAIT_S = 3600.0
"""Longest wait of a process for another one that downloads the same data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The files of a data set, and a function that downloads them.

    Attributes:
        dataset: name of the data set.
        directory: directory of the user's choice.
        folder: folder of the files within the directory; empty when they stand in the directory itself.
        files: names of the files with their MD5 checksums.
        url: address that messages name.
        damaged: file to remove from the directory when a download was damaged.
        fetch: downloads and unpacks the files that are missing or damaged.
    """

    dataset: str
    directory: Path
    folder: str
    files: tuple[tuple[str, str], ...]
    url: str
    damaged: str
    fetch: Callable[[], object]

    @property
    def home(self) -> Path:
        """Directory of the files."""
        return self.directory / self.folder

    @property
    def holdings(self) -> str:
        """Contents of a directory that has the data set, in words."""
        return f"{self.folder}/" if self.folder else ", ".join(name for name, _ in self.files)

    @property
    def instead(self) -> str:
        """The user's other remedy, in words."""
        return f"or point --data-dir at a directory that holds {self.holdings}"

    def problem(self) -> str | None:
        """The first fault of the files, in words; None when all are intact."""
        for name, md5 in self.files:
            try:
                if not (self.home / name).exists():
                    return f"{name} is missing"
                if not is_intact(self.home / name, md5):
                    return f"{name} is damaged (its checksum is wrong)"
            except OSError as error:
                return f"{name} cannot be read ({error.strerror})"
        return None


def as_served(
    dataset: str, directory: Path, folder: str, files: Sequence[tuple[str, str, str]], *, url: str, damaged: str
) -> Remote:
    """Files that are kept as servers have them.

    Args:
        dataset, directory, folder, url, damaged: see `Remote`.
        files: address, name and MD5 checksum of each.
    """

    def fetched() -> None:
        for address, name, md5 in files:
            fetch(address, directory / folder / name, md5)

    return Remote(
        dataset=dataset,
        directory=directory,
        folder=folder,
        files=tuple((name, md5) for _, name, md5 in files),
        url=url,
        damaged=damaged,
        fetch=fetched,
    )


def ensure(remote: Remote, *, download: bool) -> None:
    """Make sure that all files are there and intact.

    Raises:
        DataError: they are not, and must not be downloaded, or not to this directory.
        FetchError: they cannot be downloaded now.
    """
    problem = remote.problem()
    if problem and not download:
        raise DataError(
            f"{remote.dataset} needs intact files in {remote.home}, but {problem}; allow the download "
            f"or point --data-dir at the directory that holds {remote.holdings}"
        )
    if problem:
        _download(remote)


def _download(remote: Remote) -> None:
    """Fetch under a lock; a process that had to wait finds the files there.

    Raises:
        DataError: the directory cannot be written.
        FetchError: the download failed or is damaged.
    """
    lock = remote.directory / f".{remote.folder or remote.dataset}.lock"
    try:
        remote.directory.mkdir(parents=True, exist_ok=True)
        with _locked(lock):
            if remote.problem() is None:
                return
            _fetch(remote)
            problem = remote.problem()
    except Timeout:
        raise FetchError(
            f"{remote.dataset} is being downloaded by another process that has held {lock} for over "
            f"{DOWNLOAD_WAIT_S / 60:.0f} minutes; end that process or wait for it"
        ) from None
    except OSError as error:
        refused = DataError(
            f"{remote.dataset} cannot be stored in {remote.directory} ({error.strerror or error}); "
            f"choose a directory that can be written, {remote.instead}"
        )
        raise unwritable(refused, error) from error
    if problem:
        raise FetchError(
            f"{remote.dataset} was downloaded to {remote.directory}, but {problem}; "
            f"remove {remote.directory / remote.damaged} and try again, {remote.instead}"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock; on a file system without locks nothing is held, and several processes may download the same.

    Raises:
        Timeout: another process has held it for too long.
    """
    lock = FileLock(path, timeout=DOWNLOAD_WAIT_S)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _fetch(remote: Remote) -> None:
    try:
        remote.fetch()
    except (OSError, RuntimeError, http.client.HTTPException, EOFError, tarfile.TarError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FetchError(
            f"{remote.dataset} could not be downloaded from {remote.url} to {remote.directory} ({reason}); "
            f"check the network and the disk and try again, {remote.instead}"
        ) from error
