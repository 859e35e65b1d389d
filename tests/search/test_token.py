"""The token of a Ray of ours: its owner alone can read it, and another terminal of theirs gets it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rksearch.search.ray.token import guard, has_token, token_path
from tests.helpers.command_line import environment, rksearch


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
    assert said.endswith("ray get-auth-token")
    assert [path.name for path in (home / ".ray").iterdir()] == ["auth_token"]
    assert has_token()


def test_a_token_that_others_could_read_is_kept_and_taken_from_them(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a" * 64)
    (home / ".ray" / "auth_token").chmod(0o644)
    assert "could be read by others and can no longer" in guard()
    assert token_path().read_text() == "a" * 64
    assert mode(token_path()) == 0o600
    assert "others" not in guard()


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
    assert guard().startswith(f"its token: RAY_AUTH_TOKEN_PATH='{home}/a place/token' ")
    assert mode(home / "a place" / "token") == 0o600
    assert not (home / ".ray").exists()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "every user of this machine can run code as you" in guard()


def test_the_command_that_is_shown_prints_the_token(home: Path) -> None:
    command = guard().removeprefix("its token: ")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == token_path().read_text()


LISTENING = """
import json, os, sys
sys.argv = ["rksearch"]
from rksearch.search.ray.cluster import LOOPBACK, RAY_ENVIRONMENT, _ray
from rksearch.search.resources import Resources
from rksearch.search.view import Silent
for key, value in {**RAY_ENVIRONMENT, **LOOPBACK}.items():
    os.environ.setdefault(key, value)
with _ray(Resources(), Silent()):
    import psutil, time
    time.sleep(5)  # agents open their ports a little later
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = {(c.laddr.ip, c.laddr.port) for p in family for c in p.net_connections("inet") if c.status == "LISTEN"}
    print(json.dumps(sorted(found)))
"""


@pytest.mark.slow
@pytest.mark.ci
def test_a_ray_of_this_machine_listens_on_the_loopback_address_alone(home: Path) -> None:
    import json

    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= 4
    assert {address for address, _ in found} <= {"127.0.0.1", "::1"}, found


@pytest.mark.slow
def test_a_run_says_how_another_terminal_gets_its_token(home: Path) -> None:
    from tests.helpers.command_line import TINY_SPACE

    (home / "tiny.yaml").write_text(TINY_SPACE)
    done = rksearch("run", "--space", "tiny.yaml", "--out", "run", "--trials", "1", cwd=home)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("Ray dashboard:")]
    assert line.endswith("get-auth-token)")
    assert mode(home / ".ray" / "auth_token") == 0o600
