"""Ray's processes, signals and batch systems: real runs, disturbed as users and their systems disturb them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.results.ledger import Ledger
from tests.helpers.command_line import TINY_SPACE, environment, rksearch
from tests.helpers.documents import ROOT, blocks
from tests.helpers.nodes import descendants
from tests.helpers.processes import gcs, named, raylet, sessions, still_running, under_way, wait_until, workers

pytestmark = pytest.mark.slow

LONG = TINY_SPACE.replace("epochs: 2", "epochs: 2000")
BASELINES_ALONE = ("--trials", "0", "--seeds", "1")


@pytest.fixture
def long_space(tmp_path: Path) -> Path:
    path = tmp_path / "long.yaml"
    path.write_text(LONG)
    return path


def checkpoints(run_dir: Path) -> list[Path]:
    return list((run_dir / "work" / "trials").glob("*/checkpoint.pt"))


def run(space: Path, run_dir: Path, *more: str) -> tuple[str, ...]:
    return ("run", "--space", str(space), "--out", str(run_dir), *BASELINES_ALONE, *more)


SERVERS: dict[str, Callable[[subprocess.Popen[str]], int]] = {"raylet": raylet, "gcs": gcs}


@pytest.mark.parametrize("server", [pytest.param("raylet", marks=pytest.mark.ci), "gcs"])
def test_a_server_of_ray_that_dies_ends_the_session_within_a_minute_in_one_line(
    tmp_path: Path, long_space: Path, server: str
) -> None:
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(run_dir)) >= 1, driver)
        everything = descendants(driver.pid)
        os.kill(SERVERS[server](driver), signal.SIGKILL)
        began = time.monotonic()
        _, errors = driver.communicate(timeout=90)
        assert time.monotonic() - began < 60
        assert driver.returncode == 1
        assert len(errors.strip().splitlines()) == 1, errors
        assert "has died" in errors
        assert f"rksearch resume {run_dir}" in errors
        assert still_running(everything) == []
    history = Ledger(run_dir).read()
    assert history.state == "failed"
    assert "has died" in str(history.message)


def test_an_agent_of_ray_that_dies_ends_the_session_or_nothing(tmp_path: Path, long_space: Path) -> None:
    """A node service ends with its agents."""
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(run_dir)) >= 1, driver)
        agents = named(driver, "ray::DashboardAgent")
        assert agents
        os.kill(agents[0], signal.SIGKILL)
        newest = {path: path.stat().st_mtime for path in checkpoints(run_dir)}
        time.sleep(45)
        if driver.poll() is None:
            assert any(path.stat().st_mtime > was for path, was in newest.items())
        else:
            _, errors = driver.communicate()
            assert driver.returncode == 1
            assert len(errors.strip().splitlines()) == 1, errors


@pytest.mark.parametrize(
    ("number", "group"),
    [
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.ci),
        (signal.SIGHUP, True),
        (signal.SIGINT, True),
        (signal.SIGUSR1, False),
        (signal.SIGHUP, False),
    ],
)
def test_a_signal_to_the_driver_or_to_all_its_processes_leaves_a_run_that_resumes(
    tmp_path: Path, long_space: Path, number: signal.Signals, group: bool
) -> None:
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(run_dir)) >= 1, driver)
        everything = descendants(driver.pid)
        (os.killpg if group else os.kill)(driver.pid, number)
        began = time.monotonic()
        out, errors = driver.communicate(timeout=90)
        assert time.monotonic() - began < 45
        assert driver.returncode == 130, errors
        assert "rksearch resume" in out
        assert errors == ""
        assert still_running(everything) == []
        assert sessions(driver.pid) == []
    assert Ledger(run_dir).read().state == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after_s", [0.3, 3.0, 6.0, 9.0, 12.0])
def test_a_first_signal_while_ray_starts_is_answered_like_a_later_one(
    tmp_path: Path, long_space: Path, number: signal.Signals, after_s: float
) -> None:
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        ledger = run_dir / "ledger.jsonl"
        wait_until(lambda: ledger.exists() and b'"event":"run"' in ledger.read_bytes(), driver)
        time.sleep(after_s)
        everything = descendants(driver.pid)
        os.killpg(driver.pid, number)
        _, errors = driver.communicate(timeout=90)
        assert driver.returncode == 130, errors
        assert errors.strip() in ("", "rksearch: interrupted")
        assert still_running(everything) == []
        assert sessions(driver.pid) == []
    assert Ledger(run_dir).read().state == "interrupted"


def test_two_signals_end_at_once_and_a_third_changes_nothing(tmp_path: Path, long_space: Path) -> None:
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(run_dir)) >= 1, driver)
        everything = descendants(driver.pid)
        for _ in range(3):
            os.kill(driver.pid, signal.SIGINT)
            time.sleep(0.05)
        _, errors = driver.communicate(timeout=60)
        assert driver.returncode == 130, errors
        assert "Traceback" not in errors
        assert still_running(everything) == []
    assert Ledger(run_dir).read().state == "interrupted"


def test_a_run_that_is_suspended_with_all_its_processes_goes_on(tmp_path: Path, long_space: Path) -> None:
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(run_dir)) >= 1, driver)
        os.killpg(driver.pid, signal.SIGSTOP)
        time.sleep(20)
        os.killpg(driver.pid, signal.SIGCONT)
        newest = {path: path.stat().st_mtime for path in checkpoints(run_dir)}
        wait_until(lambda: any(path.stat().st_mtime > was for path, was in newest.items()), driver, timeout_s=60)
        os.kill(driver.pid, signal.SIGINT)
        assert driver.wait(timeout=60) == 130


def test_a_killed_driver_leaves_no_process_and_its_directory_goes_with_the_next_run(
    tmp_path: Path, long_space: Path
) -> None:
    run_dir = tmp_path / "run"
    with under_way(*run(long_space, run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(run_dir)) >= 1, driver)
        everything = descendants(driver.pid)
        (session,) = sessions(driver.pid)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        assert still_running(everything) == []
    mark = session / "rksearch.pid"
    os.utime(mark, (1, 1))  # it is old
    with under_way("resume", str(run_dir), cwd=tmp_path) as driver:
        wait_until(lambda: not session.exists(), driver)
        os.kill(driver.pid, signal.SIGTERM)
        assert driver.wait(timeout=60) == 130


def test_trials_at_a_time_are_shown_recorded_and_limited(tmp_path: Path) -> None:
    space = tmp_path / "tiny.yaml"
    space.write_text(TINY_SPACE)
    run_dir = tmp_path / "run"
    done = rksearch(*run(space, run_dir, "--max-concurrent", "1"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Trials at a time: 1.* \(1 CPU and about .* GB each; there: ", done.stdout, re.MULTILINE)
    history = Ledger(run_dir).read()
    assert history.sessions[-1].slots == 1
    times = sorted(
        (result.work_times.began_s, result.work_times.ended_s)
        for _, result in history.trials.values()
        if result.work_times
    )
    assert len(times) == 2
    assert times[0][1] <= times[1][0], "one after the other"


# -- SLURM


def batch_script() -> str:
    [script] = [body for body in blocks(ROOT / "docs" / "cluster.md", "bash") if body.startswith("#!/bin/bash\n")]
    return script


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """A job's environment, with commands that stand in for SLURM's and for the installed one."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, code in {
        "scontrol": f'echo "$@" >> {tmp_path}/scontrol.log',
        "rksearch": f'exec {sys.executable} -m rksearch "$@"',
    }.items():
        (commands / name).write_text(f"#!/bin/bash\n{code}\n")
        (commands / name).chmod(0o755)
    return {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "2",
        "SPACE": str(tmp_path / "space.yaml"),
        "OUT": str(tmp_path / "run"),
    }


@pytest.mark.slow
def test_a_job_pauses_ahead_of_its_end_is_requeued_and_goes_on(tmp_path: Path, slurm: dict[str, str]) -> None:
    (tmp_path / "space.yaml").write_text(TINY_SPACE.replace("epochs: 2", "epochs: 25"))
    (tmp_path / "job.sh").write_text(batch_script())
    requeued, ledger = tmp_path / "scontrol.log", tmp_path / "run" / "ledger.jsonl"
    with under_way(cwd=tmp_path, env=slurm, program=["bash", "job.sh"]) as job:
        wait_until(lambda: ledger.exists() and bool(checkpoints(tmp_path / "run")), job)
        os.kill(job.pid, signal.SIGUSR1)  # to the script alone, as --signal=B:USR1@240 has it
        out, errors = job.communicate(timeout=90)
        assert job.returncode == 130, (out, errors)
    assert requeued.read_text() == "requeue 17\n"
    assert Ledger(tmp_path / "run").read().state == "interrupted"
    done = subprocess.run(
        ["bash", "job.sh"], cwd=tmp_path, env={**environment(), **slurm}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert requeued.read_text() == "requeue 17\n", "it is finished"
    history = Ledger(tmp_path / "run").read()
    assert history.state == "finished"
    assert history.repeated == 0
    assert all(result.status == "complete" for _, result in history.trials.values())


def test_a_cancelled_job_is_not_requeued(tmp_path: Path, slurm: dict[str, str]) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    (tmp_path / "job.sh").write_text(batch_script())
    with under_way(cwd=tmp_path, env=slurm, program=["bash", "job.sh"]) as job:
        wait_until(lambda: bool(checkpoints(tmp_path / "run")), job)
        os.killpg(job.pid, signal.SIGTERM)  # scancel signals every process of the job
        job.communicate(timeout=90)
        assert job.returncode == 130
    assert not (tmp_path / "scontrol.log").exists()
    assert Ledger(tmp_path / "run").read().state == "interrupted"


def test_trials_pause_where_the_job_says_when_it_ends(tmp_path: Path, slurm: dict[str, str]) -> None:
    from rksearch.search.batch import MARGIN_S

    (tmp_path / "space.yaml").write_text(LONG)
    (tmp_path / "job.sh").write_text(batch_script())
    end = int(time.time() + 60 + MARGIN_S)
    done = subprocess.run(
        ["bash", "job.sh"],
        cwd=tmp_path,
        env={**environment(), **slurm, "SLURM_JOB_END_TIME": str(end)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 130, done.stderr
    assert time.time() < end
    assert "The batch job ends soon after" in done.stdout
    history = Ledger(tmp_path / "run").read()
    assert history.paused
    assert history.state == "interrupted"
    assert (tmp_path / "scontrol.log").read_text() == "requeue 17\n"


def test_workers_are_seen(tmp_path: Path, long_space: Path) -> None:
    """What the tests above take for granted about the names of Ray's processes."""
    with under_way(*run(long_space, tmp_path / "run"), cwd=tmp_path) as driver:
        wait_until(lambda: len(checkpoints(tmp_path / "run")) >= 1, driver)
        assert raylet(driver)
        assert gcs(driver)
        assert workers(driver)
