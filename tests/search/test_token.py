"""The token of a Ray of ours: its owner alone can read it, and another terminal of theirs gets it."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rksearch.search.ray.token import LOOPBACK as LOOPBACK_VARIABLE
from rksearch.search.ray.token import guard, has_token, on_loopback, token_path
from tests.helpers.command_line import TINY_SPACE, command, environment


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # What `guard` sets is taken back at the end.
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_token_is_readable_by_its_owner_alone(home: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        said = guard()
    finally:
        os.umask(before)
    assert (mode(home / ".ray"), mode(home / ".ray" / "auth_token")) == (0o700, 0o600)
    assert re.fullmatch(r"[0-9a-f]{64}", token_path().read_text())
    assert said == f"its token: cat {home}/.ray/auth_token"
    assert [path.name for path in (home / ".ray").iterdir()] == ["auth_token"]
    assert has_token()


def test_a_token_that_others_could_read_is_kept_and_taken_from_them(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a" * 64)
    (home / ".ray" / "auth_token").chmod(0o644)
    assert "could be read by others and can no longer" in guard()
    assert token_path().read_text() == "a" * 64
    assert mode(token_path()) == 0o600
    assert "read by others" not in guard()


def test_an_empty_token_is_replaced(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").touch()
    guard()
    assert len(token_path().read_text()) == 64


def test_processes_that_start_together_agree_on_one_token() -> None:
    def read(_: int) -> str:
        guard()
        return token_path().read_text()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(40)))) == 1


def test_a_home_that_cannot_hold_it_keeps_it_in_memory(home: Path) -> None:
    (home / ".ray").write_text("in the way")
    assert "in this session's memory alone" in guard()
    assert re.fullmatch(r"[0-9a-f]{64}", os.environ["RAY_AUTH_TOKEN"])
    assert "its token is that of RAY_AUTH_TOKEN" in guard()


def test_what_the_user_decides_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "a place" / "token"))
    assert guard() == f"its token: cat '{home}/a place/token'"
    assert mode(home / "a place" / "token") == 0o600
    assert not (home / ".ray").exists()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "every user of this machine can run code as you" in guard()


def test_the_command_that_is_shown_prints_the_token(home: Path) -> None:
    shown = guard().removeprefix("its token: ")
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == token_path().read_text()


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and the first one as an address of version 6, as the kernel lists them."""


def listening(mark: str) -> set[tuple[str, str]]:
    """Addresses and ports on which processes listen that have `mark` in their environment."""
    sockets: set[str] = set()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if mark.encode() in (process / "environ").read_bytes():
                    sockets |= {os.readlink(handle) for handle in (process / "fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                found.add((address, port))
    return found


def test_a_ray_of_this_machine_alone_is_kept_on_the_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOOPBACK_VARIABLE, raising=False)
    with on_loopback(None):
        assert os.environ[LOOPBACK_VARIABLE] == "0"
    with on_loopback("host:6379"):
        assert LOOPBACK_VARIABLE not in os.environ
    monkeypatch.setenv(LOOPBACK_VARIABLE, "1")
    with on_loopback(None):
        assert os.environ[LOOPBACK_VARIABLE] == "1"
    assert os.environ[LOOPBACK_VARIABLE] == "1"


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_of_this_machine_listens_on_the_loopback_address_alone_and_says_how_to_get_its_token(home: Path) -> None:
    (home / "tiny.yaml").write_text(TINY_SPACE)
    mark = uuid.uuid4().hex
    found: set[tuple[str, str]] = set()
    private: set[int] = set()
    with subprocess.Popen(
        command("run", "--space", "tiny.yaml", "--out", "run", "--trials", "2"),
        cwd=home,
        env={**environment(), "RKSEARCH_TEST_MARK": mark, "RAY_TMPDIR": "", "TMPDIR": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            found |= listening(mark)
            private |= {mode(path.parents[2]) for path in Path("/tmp").glob(f"rk*/ray/session_*_{process.pid}/sockets")}
            time.sleep(0.3)
        assert process.stdout is not None
        assert process.stderr is not None
        shown, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, errors
    assert len(found) >= 4
    assert {address for address, _ in found} <= LOOPBACK, found
    assert private == {0o700}, "others enter the directory of its sockets"
    [line] = [line for line in shown.splitlines() if line.startswith("  its token:")]
    assert line.endswith("/.ray/auth_token")
    assert mode(home / ".ray" / "auth_token") == 0o600
