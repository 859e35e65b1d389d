"""Terminals, pipes, encodings, file systems and clocks that are not as usual."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rksearch import errors
from rksearch.api import Run
from rksearch.cli.output import console, let_go_of_output
from rksearch.errors import RunError
from rksearch.ordinary import write_atomically
from rksearch.results import files
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.run_dir import Places, RunDir, claim_free, read_run
from rksearch.training.parts import PartClock
from tests.helpers.command_line import TINY_SPACE, Answer, command, environment
from tests.helpers.ledgers import begin, complete, trial


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    ledger = begin(tmp_path / "a[b]c[/d] é")
    ledger.write_trial(trial("RKNet-k4-m2_1_1-2x3s_1x2s_1x1"), complete(20.0), wall_time_s=1.0)
    return ledger.path.parent


def run(words: list[str], shell: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A command whose streams the shell connects, as in `"$@" | head -1`."""
    return subprocess.run(
        ["bash", "-c", shell, "bash", *command(*words)],
        capture_output=True,
        env={**environment(), **variables},
        timeout=60,
    )


def test_a_disk_that_is_full_behind_the_output_is_one_line(run_dir: Path) -> None:
    done = run(["status", str(run_dir)], '"$@" > /dev/full; exit $?')
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("rksearch: ")
    assert "No space left" in line


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EACCES, 2)])
def test_a_full_disk_is_no_bad_input(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[..., Answer],
    number: int,
    code: int,
) -> None:
    other = begin(tmp_path / "other")
    other.write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    (tmp_path / "other" / "work").mkdir(exist_ok=True)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    for words in (
        ("report", run_dir),
        ("report", run_dir, "--to", tmp_path / "to"),
        ("compare", run_dir, tmp_path / "other", "--allow-differences", "--to", tmp_path / "compared"),
        ("space", "show", "quickstart", "--html", tmp_path / "page.html"),
        ("describe", "ResNet-8", "--dataset", "digits", "--draw", tmp_path / "drawing.svg"),
    ):
        found, _, errors = answer(*words)
        [line] = errors.splitlines()
        assert (found, os.strerror(number) in line) == (code, True), line
    monkeypatch.setattr(Path, "mkdir", refuse)
    for write in (
        lambda: RunDir(tmp_path / "other").note_places(Places(directory=tmp_path, data_dir=tmp_path)),
        lambda: claim_free(tmp_path, "run"),
    ):
        with pytest.raises(RunError) as caught:
            write()
        assert caught.value.exit_code == code
    assert RunError.exit_code == 2


def test_an_error_that_cannot_be_shown_keeps_its_exit_code(tmp_path: Path) -> None:
    assert run(["status", str(tmp_path / "nowhere")], '"$@" 2> /dev/full; exit $?').returncode == 2


def test_a_pipe_that_closes_is_silent(run_dir: Path) -> None:
    for words in (["status", str(run_dir)], ["space", "show", "quickstart"], ["report", str(run_dir)]):
        done = run(words, '"$@" | true')
        assert done.stderr == b"", words


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_cost_nothing(run_dir: Path, closed: str) -> None:
    before = (run_dir / FILE_NAME).read_bytes()
    done = run(["report", str(run_dir)], f'"$@" {closed}; exit $?')
    assert (done.returncode, done.stderr) == (0, b"")
    assert (run_dir / "report.html").read_bytes()
    assert (run_dir / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_encoding_without_a_letter_costs_nothing(run_dir: Path, encoding: str) -> None:
    done = run(["status", str(run_dir)], '"$@"', PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "RKNet-k4-m2_1_1" in done.stdout.decode(encoding, errors="replace")


def test_an_output_that_refuses_is_let_go_of_without_files_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = os.fstat(1)
    monkeypatch.setattr(os, "open", refuse)
    let_go_of_output()  # what the command has to say comes after it
    assert os.path.samestat(os.fstat(1), before)


def test_a_path_in_brackets_is_shown_as_it_is(run_dir: Path, answer: Callable[..., Answer]) -> None:
    code, shown, errors = answer("report", run_dir)
    assert (code, errors) == (0, "")
    assert str(run_dir / "report.html") in shown
    code, _, errors = answer("status", run_dir / "nowhere")
    assert code == 2
    assert str(run_dir / "nowhere") in errors


@pytest.mark.parametrize("words", [["status"], ["run", "--space", "tiny.yaml", "--out"], ["report"]])
def test_a_path_that_is_no_text_is_refused(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    done = subprocess.run([*command(*words), b"a\xff"], cwd=tmp_path, capture_output=True, env=environment())
    assert done.returncode == 2
    [line] = done.stderr.decode().splitlines()
    assert "must be of UTF-8" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_a_space_whose_path_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.yaml")).write_text(TINY_SPACE)
    done = subprocess.run(
        [*command("space", "show"), b"\xff.yaml"], cwd=tmp_path, capture_output=True, env=environment()
    )
    assert done.returncode == 2
    [line] = done.stderr.decode().splitlines()
    assert "must have a path of UTF-8" in line


def test_a_working_directory_that_is_no_text_is_refused(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"\xff")
    home.mkdir()
    (home / "tiny.yaml").write_text(TINY_SPACE)
    done = subprocess.run(
        command("run", "--space", "tiny.yaml", "--out", "run"), cwd=home, capture_output=True, env=environment()
    )
    assert done.returncode == 2
    assert "must have a path of UTF-8" in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_a_working_directory_that_was_removed(tmp_path: Path) -> None:
    shell = 'mkdir gone; cd gone; rmdir ../gone; "$@"'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *command("run", "--space", "quickstart")],
        cwd=tmp_path,
        capture_output=True,
        env=environment(),
    )
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert line.endswith("change to a directory that exists")


def test_forced_colours_make_no_terminal_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    assert not console().is_terminal
    assert not console(stderr=True).is_terminal


def test_a_lock_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "work" / "driver.lock"
    lock.mkdir(parents=True)  # refuses the user root too, as another user's file refuses all others
    with (
        pytest.raises(RunError, match=rf"must be writable, but {lock} is not \(Is a directory\); choose another --out"),
        RunDir(tmp_path).driver(),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer], number: int
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    ledger = begin(tmp_path / "run")
    ledger.write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    with RunDir(tmp_path / "run").driver():
        pass
    assert answer("status", tmp_path / "run")[0] == 0
    assert answer("report", tmp_path / "run")[0] == 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_be_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fsync(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fsync)
    ledger = begin(tmp_path / "run")
    ledger.write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    write_atomically(tmp_path / "file", b"content")
    assert list(read_run(tmp_path / "run").trials) == ["ResNet-8@0"]


def test_a_disk_that_fails_is_no_such_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    ledger = begin(tmp_path / "run")
    before = ledger.path.read_bytes()
    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(Exception, match="Input/output error"):
        ledger.write_start("ResNet-8@0")
    assert ledger.path.read_bytes() == before


TIMES = ("2026-01-31T12:00:00", "2026-01-31", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "12:00", "now")


@pytest.mark.parametrize("time", TIMES)
def test_a_time_that_compares_with_no_other_is_damage(tmp_path: Path, answer: Callable[..., Answer], time: str) -> None:
    ledger = begin(tmp_path)
    body = b'{"schema":2,"event":"start","time":"%s","trial":"ResNet-8@0"}' % time.encode()
    with ledger.path.open("ab") as file:
        file.write(b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body)))
    ledger.write_end("finished")
    history = Ledger(tmp_path).read()
    assert (history.damaged, history.state) == (1, "finished")
    assert answer("status", tmp_path)[0] == 0


def test_a_clock_that_is_changed_gives_no_negative_time(tmp_path: Path) -> None:
    times = iter([f"{year}-01-01T00:00:00Z" for year in (2026, 2026, 2035, 1971, 2026)])
    ledger = Ledger(tmp_path, clock=lambda: next(times))
    begin_at = begin(tmp_path / "usual").read()
    assert begin_at.run is not None
    ledger.write_run(name="tiny", space=begin_at.run.space, plan=begin_at.run.plan)
    ledger.write_session(environment=begin_at.sessions[0].environment, options={})
    for _ in range(3):
        ledger.write_start("ResNet-8@0")
    assert ledger.read().sessions[0].duration_s >= 0


def test_a_clock_that_is_set_back_while_a_trial_works(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = PartClock()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    times = clock.times()
    assert 0 <= times.ended_s - times.began_s < 60


def test_a_file_system_that_does_not_know_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.search import disk

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"total": 0, "free": 0}))
    assert "does not say how much is free" in disk.require_disk(tmp_path, disk.DiskNeed(least=10**9, most=10**12))
    assert not disk.is_full(tmp_path)


@pytest.mark.parametrize(
    ("error", "limit", "short"),
    [
        (MemoryError(), resource.RLIM_INFINITY, True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), resource.RLIM_INFINITY, True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 147456 bytes."), resource.RLIM_INFINITY, True),
        (ImportError("libscipy.so: failed to map segment from shared object"), 10**9, True),
        (ImportError("libscipy.so: failed to map segment from shared object"), resource.RLIM_INFINITY, False),  # noexec
    ],
)
def test_memory_that_runs_out_is_no_fault_of_a_path_nor_of_the_program(
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[..., Answer],
    error: Exception,
    limit: int,
    short: bool,
) -> None:
    def refuse(self: Run) -> None:
        raise error

    monkeypatch.setattr(errors.resource, "getrlimit", lambda what: (limit, limit))
    monkeypatch.setattr(Run, "status", refuse)
    code, _, said = answer("status", run_dir)
    [line] = said.splitlines()
    assert code == 1
    assert line.endswith("; free some memory, or raise the limit of it (`ulimit -v`)") == short


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which nobody may look for anything, not even root."""
    directory, stat, mkdir = tmp_path / "closed", os.stat, os.mkdir

    def reached(path: Any) -> Any:
        if str(path).startswith(f"{directory}/"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return path

    monkeypatch.setattr(os, "stat", lambda path, *a, **k: stat(reached(path), *a, **k))
    monkeypatch.setattr(os, "mkdir", lambda path, *a, **k: mkdir(reached(path), *a, **k))
    return directory


@pytest.mark.parametrize("kind", ["folder:{}/x", "folder:{}/x,size=8", "npz:{}/x.npz", "imagenet"])
def test_images_where_nobody_may_look_are_one_line(
    closed: Path, tmp_path: Path, answer: Callable[..., Answer], kind: str
) -> None:
    name, here = kind.format(closed), ("--out", tmp_path / "out", "--data-dir", f"{closed}/data")
    code, _, errors = answer("train", "ResNet-8", "--dataset", name, "--recipe", "short", *here)
    assert (code, "cannot be reached (Permission denied)" in errors) == (2, True), errors


def test_a_report_where_nobody_may_look_is_bad_input(
    closed: Path, run_dir: Path, answer: Callable[..., Answer]
) -> None:
    code, _, errors = answer("report", run_dir, "--to", f"{closed}/to")
    assert (code, "the report must be writable" in errors) == (2, True), errors


@pytest.mark.slow
def test_a_training_outlives_its_output(tmp_path: Path) -> None:
    words = ["train", "DenseNet-10-k2", "--dataset", "digits", "--recipe", "short", "--epochs", "2"]
    for name, output in (("full", "> /dev/full"), ("closed", ">&-")):
        done = run([*words, "--train-images", "50", "--out", str(tmp_path / name)], f'"$@" {output}; exit $?')
        assert (done.returncode, done.stderr) == (0, b"")
        assert list(tmp_path.glob(f"{name}/**/checkpoint.pt"))
