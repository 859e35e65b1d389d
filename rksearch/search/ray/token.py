"""What guards a Ray of ours: the loopback address, and a token where Ray looks for it, readable by its owner alone.

Whoever has the token can run code as the user who started Ray. Ray itself would write it with the usual permissions,
readable by everyone on the machine.
"""

from __future__ import annotations

import os
import secrets
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rksearch.ordinary import force

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Variable that, set to 0, makes Ray use the loopback address for all its ports, on Linux too; read at its import."""


@contextmanager
def on_loopback(address: str | None) -> Iterator[None]:
    """Keep a Ray that is started in a `with` block from other machines, its metrics included.

    A value that the user has set is kept, and a cluster at an `address` is left alone.
    """
    mine = address is None and LOOPBACK not in os.environ
    if mine:
        os.environ[LOOPBACK] = "0"
    try:
        yield
    finally:
        if mine:
            os.environ.pop(LOOPBACK, None)  # a cluster that this process starts or joins later needs its addresses


def token_path() -> Path:
    """Where Ray looks for the user's token.

    Raises:
        RuntimeError: the user has no home directory.
    """
    return Path(os.environ[TOKEN_PATH]) if os.environ.get(TOKEN_PATH) else Path.home() / ".ray" / "auth_token"


def has_token() -> bool:
    """Whether this user has a token for Ray clusters, in one of the three places where Ray looks for it."""
    if os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH):
        return True
    try:
        return token_path().is_file()
    except (OSError, RuntimeError):
        return False


def guard() -> str:
    """Make sure that there is a token that its owner alone can read.

    Where the file cannot be written, a token is put in the environment of this process and its children.

    Returns:
        In words, how another terminal of the user gets the token, or why it cannot.
    """
    if os.environ.get(MODE, "token").lower() != "token":
        return f"without a token ({MODE}={os.environ[MODE]}): every user of this machine can run code as you"
    if os.environ.get(TOKEN):
        return f"its token is that of {TOKEN}"
    try:
        path = token_path()
        if not _is_filled(path):
            _make(path)
        return f"its token: {_command()}{_narrowed(path)}"
    except (OSError, RuntimeError) as error:
        os.environ[TOKEN] = secrets.token_hex(32)
        reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        return f"its token is in this session's memory alone, since no file could hold it ({reason})"


def hint() -> str | None:
    """In words, how another terminal of the user gets the token of a cluster that was joined; None without a token."""
    if os.environ.get(MODE, "token").lower() != "token" or not has_token():
        return None
    return f"its token is that of {TOKEN}" if os.environ.get(TOKEN) else f"its token: {_command()}"


def _is_filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _make(path: Path) -> None:
    """Write a new token under its name at once, with the permissions that it keeps; another process may be first.

    Raises:
        OSError: it cannot be written.
    """
    if not path.parent.exists():
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    if path.exists() and not _is_filled(path):  # a process was killed while writing it
        path.unlink()
    descriptor, name = tempfile.mkstemp(prefix=".auth_token-", dir=path.parent)  # readable by the owner alone
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            force(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.replace(name, path)
            return
    finally:
        Path(name).unlink(missing_ok=True)


def _narrowed(path: Path) -> str:
    """Take the token of this user from the others, and say so; that of another owner is left as it is."""
    state = path.stat()
    if state.st_uid != os.geteuid() or not state.st_mode & _OTHERS:
        return ""
    path.chmod(stat.S_IMODE(state.st_mode) & ~_OTHERS)
    return f" ({path} could be read by others and can no longer)"


def _command() -> str:
    """The command that prints the token in another terminal of this user, whatever variables are set there."""
    return f"cat {shlex.quote(str(token_path().absolute()))}"
