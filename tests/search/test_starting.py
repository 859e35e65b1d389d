"""What would keep Ray from starting is one line before it starts."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import rksearch
from rksearch.api import final_run, plan_run, resume_run, start_run
from rksearch.errors import RunAborted, RunError
from rksearch.results.ledger import Ledger
from rksearch.search.ray import starting
from rksearch.search.ray.starting import (
    LONGEST_SOCKET,
    SESSION,
    private_temporary_directory,
    require_answer,
    require_no_ray,
    require_temporary_directory,
    require_variables,
    temporary_directory,
)
from tests.helpers.command_line import TINY_SPACE, command, environment
from tests.helpers.ledgers import begin
from tests.helpers.processes import ended_within, holding, none_left, sessions, started
from tests.helpers.web_server import serving


@pytest.mark.parametrize("what", ["run", "start_run", "resume_run", "final_run", "retrain"])
def test_a_ray_that_the_program_is_connected_to_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    planned = plan_run("tiny.yaml", out="planned")
    begin(tmp_path / "begun")
    calls: dict[str, Callable[[], object]] = {
        "run": lambda: rksearch.run("tiny.yaml"),
        "start_run": lambda: start_run(planned),
        "resume_run": lambda: resume_run("begun"),
        "final_run": lambda: final_run("begun"),
        "retrain": lambda: rksearch.retrain("begun"),
    }
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ended: list[bool] = []
    ray = SimpleNamespace(is_initialized=lambda: True, shutdown=lambda: ended.append(True))
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(RunError, match=r"connected to one; call ray.shutdown\(\) first, or run it in another") as error:
        calls[what]()
    assert error.value.exit_code == 2
    assert ended == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "reports").exists()


def test_a_ray_that_is_imported_only_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    require_no_ray()
    monkeypatch.delitem(sys.modules, "ray")
    require_no_ray()
    assert "ray" not in sys.modules


def test_an_address_with_nothing_behind_it_is_one_line_in_seconds() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for unreachable in ("ray://127.0.0.1:1", address, "nowhere.invalid:1", "127.0.0.1:99999999"):
            began = time.monotonic()
            with pytest.raises(RunAborted, match=f"the Ray cluster at {unreachable} must be reachable") as error:
                require_answer(unreachable)
            assert time.monotonic() - began < 15
            assert "\n" not in str(error.value)


def test_a_client_s_address_without_a_port_is_one_line() -> None:
    for address in ("ray://", "ray://host", "ray://host:port"):
        with pytest.raises(RunAborted, match="must have a host and a port") as error:
            require_answer(address)
        assert error.value.exit_code == 2


def test_what_answers_as_ray_does_and_what_ray_judges_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    grpc = pytest.importorskip("grpc")
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        for scheme in ("", "ray://"):
            require_answer(f"{scheme}127.0.0.1:{port}")
    finally:
        server.stop(None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    require_answer("auto")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with pytest.raises(RunAborted, match="RAY_ADDRESS is local; unset it") as error:
        require_answer("auto")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_accepts_and_is_not_ray_is_one_line(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"{scheme}127.0.0.1:{there.getsockname()[1]}"
        with pytest.raises(RunAborted, match=f"at {address} must be reachable, but it says nothing within"):
            require_answer(address)
        there.accept()[0].close()

        def answer() -> None:
            with there.accept()[0] as asking:
                asking.recv(100)
                asking.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RunAborted, match="but what answers there is not Ray; check --address"):
            require_answer(address)
        thread.join()
        monkeypatch.setenv("RAY_USE_TLS", "1")
        require_answer(address)


def test_a_temporary_directory_as_long_as_sockets_allow_passes_and_a_longer_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = LONGEST_SOCKET - len(SESSION.format(pid=os.getpid())) - len(f"/rk{os.geteuid()}")
    base = Path("/tmp") / ("r" * (room - 5))
    monkeypatch.setenv("RAY_TMPDIR", str(base))
    require_temporary_directory()
    (base / f"rk{os.geteuid()}").rmdir()
    base.rmdir()
    monkeypatch.setenv("RAY_TMPDIR", f"{base}r")
    with pytest.raises(RunAborted, match=f"at most {room} bytes, but {base}r"):
        require_temporary_directory()


def test_a_temporary_directory_that_is_a_file_or_full_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = Path("/tmp") / f"f{os.getpid()}"
    file.write_text("")
    try:
        monkeypatch.setenv("RAY_TMPDIR", str(file))
        with pytest.raises(RunAborted, match=r"is not \(File exists\); set RAY_TMPDIR"):
            require_temporary_directory()
    finally:
        file.unlink()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", "/tmp")
    monkeypatch.setattr(starting, "ROOM_BYTES", 2**62)
    with pytest.raises(RunAborted, match=r"/tmp \(TMPDIR\) has"):
        require_temporary_directory()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as directory:
        yield Path(directory)


def test_a_relative_temporary_directory_is_made_absolute_and_an_empty_one_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.chdir(place)
    own, usual = f"rk{os.geteuid()}", Path("/tmp")
    for ray, general, expected in (
        ("t", "", place / "t" / own),
        ("", str(place), place),
        ("", "", usual / own),
        (str(place), "", place),
    ):
        monkeypatch.setenv("RAY_TMPDIR", ray)
        monkeypatch.setenv("TMPDIR", general)
        with private_temporary_directory():
            assert (os.environ["RAY_TMPDIR"], temporary_directory()) == (str(expected), expected)
            assert require_temporary_directory() == expected
        assert os.environ["RAY_TMPDIR"] == ray
    monkeypatch.delenv("RAY_TMPDIR")
    with private_temporary_directory():
        assert "RAY_TMPDIR" in os.environ
    assert "RAY_TMPDIR" not in os.environ


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_directory_that_others_can_enter_gets_one_of_this_user_s_alone(
    monkeypatch: pytest.MonkeyPatch, place: Path, mask: int
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    place.chmod(0o755)
    own = place / f"rk{os.geteuid()}"
    before = os.umask(mask)
    try:
        assert require_temporary_directory() == own
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        own.chmod(0o777)  # an earlier one that was opened
        assert require_temporary_directory() == own
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    own.rmdir()
    (place / "others").mkdir()
    own.symlink_to(place / "others")
    with pytest.raises(RunAborted, match=f"{own} is not your own directory"):
        require_temporary_directory()
    assert not list((place / "others").iterdir())


def test_on_macos_ray_reads_no_tmpdir_and_sockets_have_shorter_paths(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(place))
    assert temporary_directory() == place
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("TMPDIR", "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/")  # as macOS does
    assert temporary_directory() == Path("/tmp")
    assert require_temporary_directory() == Path(f"/tmp/rk{os.geteuid()}")
    room = 103 - len(SESSION.format(pid=os.getpid())) - len(f"/rk{os.geteuid()}")
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'r' * (room - 4)}")
    with pytest.raises(RunAborted, match=f"at most {room} bytes, but /tmp/r"):
        require_temporary_directory()


def test_a_directory_of_ray_s_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    (place / "ray").write_text("")
    with pytest.raises(RunAborted, match=f"{place}/ray is no directory\\); set RAY_TMPDIR"):
        require_temporary_directory()
    (place / "ray").unlink()
    (place / "ray").mkdir()
    usual = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != place / "ray" and usual(path, mode))
    with pytest.raises(RunAborted, match=f"must be writable, but {place}/ray is not; set RAY_TMPDIR"):
        require_temporary_directory()


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process that has not imported Ray, without variables for it."""
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("value", ["abc", ""])
def test_variables_with_which_ray_cannot_be_imported_are_named_without_their_values(
    unset: pytest.MonkeyPatch, value: str
) -> None:
    unset.setenv("RAY_health_check_period_ms", value)
    unset.setenv("RAY_PROMETHEUS_HEADERS", '{"Authorization": "Bearer s3cret"}')
    named = "with RAY_PROMETHEUS_HEADERS, RAY_health_check_period_ms the import ends with"
    with pytest.raises(RunAborted, match=named) as error:
        require_variables({})
    assert error.value.exit_code == 2
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_ray_is_not_tried_where_no_variable_of_the_user_could_break_it(unset: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        tried.append(command)
        return subprocess.CompletedProcess(command, 0)

    unset.setattr(subprocess, "run", run)
    ours = {"RAY_USAGE_STATS_ENABLED": "0"}
    require_variables(ours)
    for name, value in {**ours, "RAY_TMPDIR": "/tmp", "RAY_AUTH_MODE": "token", "RAY_ADDRESS": "auto"}.items():
        unset.setenv(name, value)
    require_variables(ours)
    assert tried == []
    unset.setenv("RAY_USAGE_STATS_ENABLED", "1")
    require_variables(ours)
    assert len(tried) == 1


NO_DASHBOARD = """
import os
import sys

if any(word.endswith("dashboard/dashboard.py") for word in sys.orig_argv):
    os._exit(3)
"""


@pytest.mark.slow
def test_a_dashboard_that_dies_costs_nothing_and_ray_leaves_nothing_behind(tmp_path: Path, place: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    (tmp_path / "sitecustomize.py").write_text(NO_DASHBOARD)
    variables = environment()
    variables["PYTHONPATH"] = os.pathsep.join((str(tmp_path), variables["PYTHONPATH"]))
    done = subprocess.run(
        command("run", "--space", "tiny.yaml", "--trials", "1", "--out", "run"),
        cwd=tmp_path,
        env={**variables, "RAY_TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Ray dashboard: not running" in done.stdout
    assert done.stderr == ""
    assert "report: run/report.html" in done.stdout
    assert not list(place.rglob("session_2*"))
    assert not [name for name in os.listdir("/dev/shm") if "ray" in name or "plasma" in name]
    everything = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    assert holding(everything, str(place)) == [], "no process of this Ray is left"


# -- from the command line


def refused_by_ray(*more: str, cwd: Path, env: dict[str, str] | None = None, within_s: float = 60) -> tuple[str, str]:
    """The one line with which a run ends that Ray cannot serve, and what it showed before; nothing is left."""
    words = ("run", "--space", "quickstart", "--trials", "0", "--seeds", "1", "--out", "run", *more)
    with started(*words, cwd=cwd, env=env) as (driver, mark):
        shown, errors = ended_within(driver, within_s)
        assert driver.returncode == 1, (shown, errors)
        assert none_left(mark)
        assert sessions(driver.pid) == []
    [line] = errors.splitlines()
    assert line.startswith("rksearch: ")
    assert "Traceback" not in shown
    history = Ledger(cwd / "run").read()
    assert (history.state, f"rksearch: {history.message}") == ("failed", line)
    return line, shown


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """The address of what accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        yield f"127.0.0.1:{there.getsockname()[1]}"


@contextlib.contextmanager
def web_server() -> Iterator[str]:
    with serving(lambda path: b"no Ray", []) as address:
        yield address.removeprefix("http://")


ELSEWHERE = {
    "nobody": (nobody, "Connection refused"),
    "silent": (silent, "it says nothing within"),
    "web server": (web_server, "what answers there is not Ray"),
}


@pytest.mark.parametrize("what", ["nobody", "web server", pytest.param("silent", marks=pytest.mark.slow)])
def test_a_run_at_an_address_without_ray_ends_in_one_line_within_15_s(tmp_path: Path, what: str) -> None:
    there, why = ELSEWHERE[what]
    with there() as address:
        line, _ = refused_by_ray("--address", address, cwd=tmp_path, within_s=15)
    assert f"the Ray cluster at {address} must be reachable" in line
    assert why in line
    assert line.endswith("; check --address, and that `ray start --head` runs there")


@pytest.mark.parametrize(("kind", "rule"), [("long", "must have a path of at most"), ("file", "must be usable")])
def test_a_run_whose_temporary_directory_ray_cannot_use_ends_in_one_line(
    tmp_path: Path, place: Path, kind: str, rule: str
) -> None:
    unusable = place / kind
    if kind == "long":
        unusable /= "t" * 60
        unusable.mkdir(parents=True)
    else:
        unusable.write_text("mine")
    line, shown = refused_by_ray(cwd=tmp_path, env={"RAY_TMPDIR": "", "TMPDIR": str(unusable)})
    assert "Measuring" not in shown, "it is known at once"
    assert f"Ray's temporary directory {rule}" in line
    assert f"{unusable} (TMPDIR)" in line
    assert line.endswith("; set RAY_TMPDIR to a short path of a writable directory")
    assert kind == "long" or unusable.read_text() == "mine"
