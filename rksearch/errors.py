"""The errors a user may see: each is one line that states the rule, the value given and what to do."""

from __future__ import annotations

import difflib
import errno
import re
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a disk that is full or broken, and of a limit of file sizes: no other input would help. A disk that is
read-only (EROFS) is none of them: another path would."""

ANY_FAULT = (Exception, SystemExit, GeneratorExit)
"""Whatever code of others may raise: one that calls `sys.exit` would end a run in silence, and as if it were done."""

LONGEST_MESSAGE = 2_000
"""Characters of a message: a damaged file may hold values of any length, which would bury the rule and the remedy."""

HARMLESS = frozenset(
    {"region", "scheme", "endpoint_override", "allow_bucket_creation", "allow_bucket_deletion", "anonymous"}
    | {"force_virtual_addressing", "retry_limit_seconds", "use_ssl", "replication", "buffer_size"}
)
"""Parameters of an address that are no secrets; others are taken for one."""

HIDDEN = "***"
"""What messages and records show in place of a secret."""

_USER = re.compile(r"(?<=://)[^\s?]*:[^\s?]*@")  # secrets of S3 hold slashes
_PARAMETER = re.compile(r"([?&])([^=&#\s]+)=([^&#\s]*)")


def shortened(message: str, limit: int = LONGEST_MESSAGE) -> str:
    """A message of at most `limit` characters, with its beginning and its end."""
    if len(message) <= limit:
        return message
    end = limit // 3
    return f"{message[: limit - end - 5]} ... {message[-end:]}"


def coded(text: str) -> str:
    """The text with a code, as in `\\x1b`, for each character that a terminal may take for a command."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def without_credentials(text: str) -> str:
    """The text with user, password and parameters hidden in every address that it holds.

    Names of machines, paths and parameters that are no secrets stay.
    """
    if "://" not in text:
        return text
    hidden = _USER.sub(f"{HIDDEN}@", text)
    return _PARAMETER.sub(lambda found: found[0] if found[2] in HARMLESS else f"{found[1]}{found[2]}={HIDDEN}", hidden)


class RksearchError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line, without a traceback.

    `exit_code` is what the command line exits with: 2 for bad input, 1 for work that could not be finished.
    """

    exit_code = 2

    def __str__(self) -> str:
        """The message; of a very long one, its beginning and its end."""
        return shortened(super().__str__())


class SpecError(RksearchError):
    """A name or description of an architecture breaks a rule of its family."""


class PluginError(RksearchError):
    """Something that was registered from outside of rksearch breaks a rule."""


class MissingPluginError(RksearchError):
    """A run names a family, a data set or a sampler that is not registered.

    Args:
        rule: what must be registered, and what is not.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(
            f"{rule}; install the plugin that brings it, or import the module that registers it before this call"
        )


class MissingLibraryError(RksearchError, ImportError):
    """A library that an optional part of rksearch needs is not installed.

    Args:
        who: what needs it.
        library: what is needed.
        extra: extra of rksearch that installs it.
    """

    exit_code = 1

    def __init__(self, who: str, library: str, extra: str) -> None:
        super().__init__(f"{who} needs {library}, which is not installed; pip install 'rksearch[{extra}]'")


class SpaceError(RksearchError):
    """A search-space file breaks a rule, or describes a space in which nothing is feasible."""


class DataError(RksearchError):
    """A data set is missing, damaged or cannot be downloaded."""


class FetchError(DataError):
    """A data set cannot be downloaded now: its server, the network, the disk or another process prevents it."""

    exit_code = 1


class PackError(RksearchError):
    """A pack of images cannot be written."""


class RunError(RksearchError):
    """A run directory cannot be used as asked."""


class TakenError(RksearchError):
    """A file that rksearch did not write stands where it would write."""


class RunAborted(RksearchError):
    """A run met something that no further trial could get past; what is finished is kept, and it can be resumed.

    Args:
        message: the reason in one line.
        exit_code: 2 where the reason is bad input, which a resumed run would meet again.
    """

    exit_code = 1

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LedgerError(RksearchError):
    """The ledger cannot be read or written."""

    exit_code = 1


class DeviceError(RksearchError):
    """The device or the precision asked for is not there."""


class CheckpointError(RksearchError):
    """A checkpoint cannot be written, or not be read now."""

    exit_code = 1


class StorageError(RksearchError):
    """The storage that mirrors checkpoints cannot be reached, read or written."""

    exit_code = 1


class ExportError(RksearchError):
    """An exported network cannot be written, read or trusted."""

    exit_code = 1


class TrialFailed(RksearchError):
    """Training one architecture cannot go on (a non-finite loss, for one); `kind` is a stable short label."""

    exit_code = 1

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error says that this machine, or a limit of the process, has no memory left."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error)  # torch's allocator raises a plain RuntimeError, and a library that finds no room an ImportError
    if (
        "failed to map segment" in text
    ):  # in these words a file system without permission to execute (noexec) refuses too
        return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return "can't allocate memory" in text


_Error = TypeVar("_Error", bound=RksearchError)


def unwritable(error: _Error, cause: OSError) -> _Error:
    """The same error about what cannot be written.

    It exits with 1 where the cause is a full or broken disk. A limit of file sizes has a remedy of its own, which is
    added.
    """
    if cause.errno in NO_ROOM:
        error.exit_code = 1
    if cause.errno == errno.EFBIG:
        message, *others = error.args
        error.args = (f"{message}; or raise the limit of file sizes (`ulimit -f`)", *others)
    return error


FREE_MEMORY = "free some memory, or raise the limit of it (`ulimit -v`)"
"""What to do where memory runs out."""


def unreadable(things: str, place: Path | str, cause: OSError | MemoryError) -> DataError:
    """The error about a file that the system does not give, whatever it holds: to write it again would not help.

    It exits with 1 unless permissions are missing: memory, the disk or a limit stands in the way.

    Args:
        things: what must be readable.
        place: the one that is not.
        cause: the error of the system.
    """
    number = cause.errno if isinstance(cause, OSError) else None
    why = (cause.strerror if isinstance(cause, OSError) else None) or " ".join(str(cause).split())
    rule = f"{things} must be readable, but {place} is not ({why or type(cause).__name__})"
    if number in (errno.EACCES, errno.EPERM):
        return DataError(f"{rule}; correct its permissions")
    if is_short_of_memory(cause):
        error = DataError(f"{rule}; {FREE_MEMORY}")
    else:
        first = "bring it back" if number == errno.ENOENT else "mend that"
        error = DataError(f"{rule}; {first}, then run the same command again")
    error.exit_code = 1
    return error


def nearest(word: object, known: Iterable[str]) -> str:
    """A hint ` (did you mean 'x'?)` for a mistyped word, or the empty string when nothing is near."""
    if not isinstance(word, str):  # from Python, any value may be given for a name
        return ""
    folded = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.5)
    return f" (did you mean {folded[matches[0]]!r}?)" if matches else ""


def in_one_line(error: BaseException, limit: int = 300) -> str:
    """The class and message of an exception in one line: `ValueError: ...`, at most `limit` characters.

    Exceptions of libraries repeat addresses with what they hold; passwords and tokens in them are hidden.
    """
    text = without_credentials(" ".join(str(error).split()))
    name = type(error).__name__
    return f"{name}: {text}"[:limit].rstrip() if text else name
