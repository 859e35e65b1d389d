"""Checks before Ray is started or joined: what would fail late, with pages of tracebacks, is one line at once."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rksearch.errors import RunAborted, RunError, in_one_line
from rksearch.results.processes import own_python
from rksearch.search.ray.token import MODE, TOKEN, TOKEN_PATH
from rksearch.search.resources import LOCAL

CONNECT_S = 5.0
"""Longest wait for a connection to a cluster's address, in seconds: lost packets are sent again after one and three."""

ANSWER_S = 8.0
"""Longest wait for Ray's answer there, in seconds."""

AUTO = "auto"
"""Address of the cluster of this machine, or of that of `RAY_ADDRESS`."""

RAY_ADDRESS = "RAY_ADDRESS"
"""Variable that Ray reads in place of `auto`."""

TLS = "RAY_USE_TLS"
"""Variable that makes Ray's services encrypt what they say."""

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2, which gRPC speaks, begins: with these words and empty settings (RFC 9113, section 3.4)."""

SETTINGS = 3
"""Position of the type of a frame of HTTP/2; the first one of a server is of type 4, its settings."""

CLIENT = "ray://"
"""Scheme of the address of a Ray client's server."""

LONGEST_SOCKET = 107
"""Longest path of a Unix socket, in bytes."""

LONGEST_SOCKET_OF_MACOS = 103
"""The same on macOS."""

TEMPORARY = ("RAY_TMPDIR", "TMPDIR")
"""Variables with Ray's temporary directory, in the order in which it looks; at the second one on Linux alone. macOS
always sets that, to a path too long for Ray's sockets."""

TEXTS = frozenset({*TEMPORARY, RAY_ADDRESS, MODE, TOKEN, TOKEN_PATH})
"""Variables that Ray takes as they are, of which its import makes nothing."""

IMPORT_S = 60.0
"""Longest time of the trial import of Ray, in seconds."""

SHOWN = 5
"""Largest number of variables that a message names."""

RAY = "ray"
"""Directory of all sessions beneath the temporary directory."""

SESSION = f"/{RAY}/session_2026-01-31_12-00-00_123456_{{pid}}/sockets/plasma_store"
"""Longest path of a socket beneath Ray's temporary directory."""

ROOM_BYTES = 50 * 2**20
"""Least free space for the logs of a session."""


def require_no_ray() -> None:
    """Make sure that this program is connected to no Ray, which a session would shut down at its end. Imports none.

    Raises:
        RunError: it is.
    """
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise RunError(
            "rksearch starts or joins a Ray of its own, but this program is connected to one; call ray.shutdown() "
            "first, or run it in another process"
        )


def require_answer(address: str) -> None:
    """Make sure that a service of gRPC answers at `HOST:PORT` or `ray://HOST:PORT`: Ray would wait for it for minutes.

    Raises:
        RunAborted: nothing does, the address of a Ray client has no port, or `auto` means a Ray that is not there.
    """
    if address == AUTO and os.environ.get(RAY_ADDRESS) == LOCAL:
        raise RunAborted(
            f"--address {AUTO} must find a Ray cluster, but {RAY_ADDRESS} is {LOCAL}; unset it, or leave --address out",
            2,
        )
    place = address.removeprefix(CLIENT)
    host, colon, port = place.rpartition(":")
    if not colon or "/" in place or not port.isdecimal():
        if place != address:
            raise RunAborted(
                f"--address {CLIENT}HOST:PORT must have a host and a port, but got {address}; correct it", 2
            )
        return  # `auto`, or a form that Ray itself judges
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as there:
            why = "" if os.environ.get(TLS, "0") not in ("", "0") else _not_grpc(there)
    except (OSError, OverflowError, UnicodeError) as error:
        why = in_one_line(error)
    if why:
        raise RunAborted(
            f"the Ray cluster at {address} must be reachable, but {why}; check --address, and that "
            "`ray start --head` runs there"
        ) from None


def _not_grpc(there: socket.socket) -> str:
    """Why what has accepted a connection does not speak gRPC, as all services of Ray's do; empty where it does.

    Ray itself would wait for its first word for half a minute, and print lines of its own.

    Raises:
        OSError: the connection is lost.
    """
    there.settimeout(ANSWER_S)
    there.sendall(GREETING)
    said = b""
    try:
        while len(said) < SETTINGS + 1 and (more := there.recv(SETTINGS + 1 - len(said))):
            said += more
    except TimeoutError:
        return f"it says nothing within {ANSWER_S:.0f} s"
    return "" if said[SETTINGS:] == b"\x04" else "what answers there is not Ray"


def require_ray(address: str) -> None:
    """Make sure that what answers at `HOST:PORT` is Ray's control service.

    Raises:
        RunAborted: it is something else, or does not let this user in.
    """
    if "/" in address or not address.rpartition(":")[2].isdecimal():
        return
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    found: list[BaseException] = []
    answered = threading.Event()

    def ask() -> None:
        try:
            # Any key: an answer is enough.
            GcsClient(address=address).internal_kv_exists(b"rksearch", None, timeout=ANSWER_S)
        except Exception as error:  # noqa: BLE001 - of Ray's own classes, and others
            found.append(error)
        answered.set()

    # In a thread, since Ray goes on asking for longer than it is told to.
    threading.Thread(target=ask, name="answer", daemon=True).start()
    if not answered.wait(ANSWER_S) or found:
        why = in_one_line(found[0]) if found else f"it says nothing that Ray would within {ANSWER_S:.0f} s"
        raise RunAborted(
            f"the Ray cluster at {address} must be reachable, but {why}; check --address, and that the token is that "
            "of `ray start --head` there"
        )


def require_variables(ours: Mapping[str, str]) -> None:
    """Make sure that Ray can be imported with the variables that the user has set for it.

    Ray reads them at its import, and a value of the wrong type ends the process by a signal: another process tries it,
    which costs nothing where no such variable is set.

    Args:
        ours: variables with the values that are set here, which are known to be right.

    Raises:
        RunAborted: it cannot.
    """
    names = sorted(
        name
        for name, value in os.environ.items()
        if name.startswith("RAY_") and name not in TEXTS and value != ours.get(name)
    )
    if not names or "ray" in sys.modules:
        return
    try:
        done = subprocess.run(  # noqa: S603 - this Python, with a word of ours
            own_python("-c", "import ray"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return  # a busy machine
    if done.returncode:
        shown = ", ".join(names[:SHOWN])  # without their values, of which one may be a secret, as that of headers
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise RunAborted(
            f"Ray must be importable with the variables that are set for it, but with {shown}{more} the import "
            f"ends with exit code {done.returncode}; correct or unset them",
            2,
        )


def temporary_directory() -> Path:
    """Directory beneath which Ray puts its sockets and logs: `RAY_TMPDIR`, `TMPDIR` (on Linux) or `/tmp`."""
    variable = _variable()
    return Path(os.environ[variable] if variable else "/tmp").absolute()  # noqa: S108 - Ray's own choice


def _variable() -> str | None:
    read = TEMPORARY if sys.platform == "linux" else TEMPORARY[:1]
    return next((name for name in read if os.environ.get(name)), None)


@contextmanager
def private_temporary_directory() -> Iterator[None]:
    """Let a Ray that is started in a `with` block have a temporary directory that its user alone can enter.

    Ray lets everybody write to its directories, and workers get their tasks by sockets there: whoever put another
    socket in the place of one could run code as this user.

    Raises:
        RunAborted: as `require_temporary_directory`.
    """
    before = os.environ.get(TEMPORARY[0])
    os.environ[TEMPORARY[0]] = str(require_temporary_directory())
    try:
        yield
    finally:  # a cluster that this process starts or joins later has the usual one
        if before is None:
            os.environ.pop(TEMPORARY[0], None)
        else:
            os.environ[TEMPORARY[0]] = before


def require_temporary_directory() -> Path:
    """Make sure that Ray can put its sockets and logs where `temporary_directory` says.

    Returns:
        Where it will: that directory, where it is this user's alone, else one in it that is. The path is absolute,
        since Ray's processes take a relative one for places of their own.

    Raises:
        RunAborted: it cannot.
    """
    variable, base = _variable(), temporary_directory()
    directory = base if _is_private(base) else base / f"rk{os.geteuid()}"
    where = f"{base} ({variable})" if variable else str(base)
    remedy = "set RAY_TMPDIR to a short path of a writable directory"
    longest = LONGEST_SOCKET_OF_MACOS if sys.platform == "darwin" else LONGEST_SOCKET
    length = len(os.fsencode(f"{directory}{SESSION.format(pid=os.getpid())}"))
    if length > longest:
        raise RunAborted(
            f"Ray's temporary directory must have a path of at most "
            f"{len(os.fsencode(base)) - length + longest} bytes, but {where} has more; {remedy}"
        )
    try:
        base.mkdir(parents=True, exist_ok=True)
        if directory != base:
            _make_private(directory)
        beneath = directory / RAY
        if beneath.exists() and not beneath.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{beneath} is no directory")
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise RunAborted(
            f"Ray's temporary directory must be usable, but {where} is not ({error.strerror}); {remedy}"
        ) from None
    for place in (directory, beneath):
        if place.exists() and not os.access(place, os.W_OK | os.X_OK):
            raise RunAborted(f"Ray's temporary directory must be writable, but {place} is not; {remedy}")
    if free < ROOM_BYTES:
        raise RunAborted(
            f"Ray's temporary directory must have {ROOM_BYTES // 2**20} MiB free, but {where} has {free // 2**20}; "
            f"make room, or {remedy}"
        )
    return directory


def _is_private(directory: Path) -> bool:
    """Whether a directory is this user's, and others have no permissions there."""
    try:
        state = directory.stat()
    except OSError:
        return False
    return state.st_uid == os.geteuid() and not state.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _make_private(directory: Path) -> None:
    """Make a directory that is this user's alone, or take it from others.

    Raises:
        OSError: it cannot be made or belongs to somebody else.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=stat.S_IRWXU)
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"{directory} is not your own directory")
    directory.chmod(stat.S_IRWXU)
