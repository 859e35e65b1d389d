"""Whole runs through the command line: real Ray, real training of tiny networks on real images."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest

from rksearch.arch import parse
from rksearch.arch.cost import Witness, executed_macs
from rksearch.data.facts import dataset
from rksearch.results.ledger import Ledger
from rksearch.search.samplers import attributes
from rksearch.space import load_space
from tests.helpers.command_line import TINY_SPACE, command, environment, python, rksearch, rksearch_json

DERIVED = (
    "report.html",
    "trials.csv",
    "curves.csv",
    "front.csv",
    "README.md",
    "front.svg",
    "run.yaml",
    "environment.json",
    "space.json",
)


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPACE)
    return path


def derived(run_dir: Path) -> dict[str, bytes]:
    return {name: (run_dir / name).read_bytes() for name in DERIVED}


def check_complete(run_dir: Path, space_file: Path, trials: int, epochs: int = 2) -> None:
    """Every promise about a finished run that its ledger can show."""
    history = Ledger(run_dir).read()
    assert history.state == "finished"
    assert history.damaged == 0
    assert history.repeated == 0
    space = load_space(space_file)
    roles = Counter(spec.role for spec, _ in history.trials.values() if spec.replicate == 0)
    assert roles == {"baseline": 2, "candidate": trials}
    for spec, result in history.trials.values():
        assert result.status == "complete", result.message
        assert [e.epoch for e in result.epochs] == list(range(1, epochs + 1))
        assert result.witness == Witness(
            params=result.params, fvcore_flops=result.fvcore_flops, agree=True, executed_macs=result.executed_macs
        )
        assert result.executed_macs == executed_macs(parse(spec.arch), dataset("digits"))
        assert result.images.train == 100
        if spec.role == "candidate":
            assert parse(spec.arch) in space
    assert len({result.split for _, result in history.trials.values()}) == 1
    seeds = [spec.seed for spec, _ in history.trials.values()]
    assert len(set(seeds)) == len(seeds)
    found = rksearch_json("status", str(run_dir), "--json")
    assert found["state"] == "finished"
    assert all(item["seeds"] == 2 for item in found["front"])
    assert history.tests == (), "only `final` reads the test set"


def copied_trials(run_dir: Path) -> dict[str, bool]:
    """Trials of the run's study in its file, and whether each is complete."""
    (study,) = optuna.get_all_study_names(storage := f"sqlite:///{run_dir}/work/optuna.db")
    trials = optuna.load_study(study_name=study, storage=storage).trials
    return {trial.user_attrs[attributes.TRIAL]: trial.state.name == "COMPLETE" for trial in trials}


@pytest.mark.slow
def test_run_report_resume(tmp_path, space_file):
    run_dir = tmp_path / "run"
    done = rksearch("run", "--space", str(space_file), "--out", str(run_dir), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Ray dashboard: http://" in done.stdout
    assert "report:" in done.stdout
    assert "usage stats" not in (done.stdout + done.stderr).lower()
    check_complete(run_dir, space_file, trials=3)

    copied = copied_trials(run_dir)
    history = Ledger(run_dir).read()
    assert copied == dict.fromkeys(history.trials, True)

    before = derived(run_dir)
    for name in DERIVED:
        (run_dir / name).unlink()
    again = rksearch("report", str(run_dir), cwd=tmp_path)
    assert again.returncode == 0
    assert derived(run_dir) == before
    page = before["report.html"].decode()
    assert not re.search(r"""<(script|link|img|iframe)[^>]*(src|href)\s*=\s*["']?(https?:)?//""", page)

    # The same command with one more candidate trains what is missing and nothing else.
    trained = set(Ledger(run_dir).read().trials)
    more = rksearch("run", "--space", str(space_file), "--out", str(run_dir), "--trials", "4", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    history = Ledger(run_dir).read()
    assert trained < set(history.trials)
    check_complete(run_dir, space_file, trials=4)

    # Nothing is left to do: neither Ray nor images are needed, and the ledger says no more than before.
    ledger = (run_dir / "ledger.jsonl").read_bytes()
    (run_dir / "work" / "optuna.db").write_bytes(b"damage")
    os.utime(run_dir / "work" / "optuna.db", (0, 0))
    idle = python("-c", WITHOUT_RAY, "resume", str(run_dir), "--data-dir", str(tmp_path / "nowhere"), cwd=tmp_path)
    assert idle.returncode == 0, idle.stderr
    assert "Nothing is left to train" in idle.stdout
    assert "report:" in idle.stdout
    assert (run_dir / "ledger.jsonl").read_bytes() == ledger
    assert copied_trials(run_dir) == dict.fromkeys(history.trials, True)

    # Another plan in the same directory is refused in one line.
    other = rksearch("run", "--space", str(space_file), "--out", str(run_dir), "--epochs", "3", cwd=tmp_path)
    assert other.returncode == 2
    assert "recipe" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1


WITHOUT_RAY = """
import sys
sys.modules["ray"] = None
from rksearch.cli import main
main()
"""

READS = """
import os, sys
read = 0
open_file = os.fdopen

class Counted:
    def __init__(self, file):
        self._file = file
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self._file.close()
    def __getattr__(self, name):
        found = getattr(self._file, name)
        return counted(found) if name in ("read", "readline") else found

def counted(method):
    def reading(*size):
        global read
        content = method(*size)
        read += len(content)
        return content

    return reading

def counting(descriptor, mode="r", *args, **kwargs):
    opened = open_file(descriptor, mode, *args, **kwargs)
    is_ledger = os.readlink(f"/proc/self/fd/{descriptor}").endswith("ledger.jsonl")
    return Counted(opened) if is_ledger and "r" in mode else opened

os.fdopen = counting
from rksearch.cli import main
try:
    main()
finally:
    print("READ", read, file=sys.stderr)
"""


def bytes_read(*args: str, cwd: Path) -> int:
    """Bytes of ledgers that the process of a command reads."""
    done = python("-c", READS, *args, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split("READ ")[1])


@pytest.mark.slow
def test_each_command_reads_the_ledger_once(tmp_path, space_file):
    space_file.write_text(TINY_SPACE.replace("epochs: 2", "epochs: 1"))
    ledger = tmp_path / "run" / "ledger.jsonl"
    options = ("--space", str(space_file), "--out", "run", "--trials", "1", "--seeds", "1")
    assert bytes_read("run", *options, cwd=tmp_path) == ledger.stat().st_size
    for reading in ("status", "report"):
        assert bytes_read(reading, "run", cwd=tmp_path) == ledger.stat().st_size


RACING_SPACE = TINY_SPACE.replace("epochs: 2", "epochs: 4").replace(
    "search: {racing: false, replicates: 0}",
    "search: {racing: {rungs: [0.25, 0.5], keep: 0.4, bands: 1}, replicates: 1, sampler: random}",
)


@pytest.mark.slow
@pytest.mark.ci
def test_racing_and_the_test_set(tmp_path, space_file):
    space_file.write_text(RACING_SPACE)
    run_dir = tmp_path / "run"
    options = ("--out", str(run_dir), "--trials", "5", "--control")
    done = rksearch("run", "--space", str(space_file), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    history = Ledger(run_dir).read()
    first = {s.arch: r for s, r in history.trials.values() if s.role == "candidate" and s.replicate == 0}
    assert {len(r.epochs) for r in first.values() if r.status == "pruned"} <= {1, 2}
    assert {len(r.epochs) for r in first.values() if r.status == "complete"} == {4}
    assert len(history.pruned) >= 2
    assert not history.paused
    control = [r for s, r in history.trials.values() if s.role == "control"]
    assert 0 <= 4 * len(control) - sum(len(r.epochs) for r in first.values()) <= 8
    assert history.tests == ()

    read = rksearch("final", str(run_dir), cwd=tmp_path)
    assert read.returncode == 0, read.stderr
    history = Ledger(run_dir).read()
    found = rksearch_json("status", str(run_dir), "--json")
    tested = Counter(t.arch for t in history.tests)
    assert {item["name"] for item in found["front"]} < set(tested)
    assert tested["ResNet-8"] == 2
    fresh = rksearch("final", str(run_dir), "--arch", "ResNet-8", "--fresh", "1", cwd=tmp_path)
    assert fresh.returncode == 0, fresh.stderr
    said = re.search(
        r"Each new training sees ([\d,]+) images: ([\d,]+) as in the search, and the ([\d,]+) that", fresh.stdout
    )
    assert said is not None
    total, searched, held_out = (int(number.replace(",", "")) for number in said.groups())
    assert total == searched + held_out
    history = Ledger(run_dir).read()
    assert history.tests[-1].trial == "ResNet-8@final0"
    assert len(history.tests) == sum(tested.values()) + 1
    refused = rksearch("final", str(run_dir), "--arch", "ResNet-14", cwd=tmp_path)
    assert refused.returncode == 2
    assert "ResNet-14" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_budget_of_work_ends_the_run_and_more_of_it_goes_on(tmp_path, space_file):
    run_dir = tmp_path / "run"
    done = rksearch("run", "--space", str(space_file), "--out", str(run_dir), "--cpu-hours", "0.002", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The run stops after 0.002 CPU hours; until then all" in done.stdout
    assert "stopped by its budget of time (after 0.002 CPU hours), with work left" in done.stdout
    history = Ledger(run_dir).read()
    assert history.state == "stopped"
    forecast = history.sessions[0].forecast
    assert forecast is not None
    assert forecast.budget == "after 0.002 CPU hours"
    assert 0.002 * 3600 <= history.cpu_s <= 0.002 * 3600 + 60
    more = rksearch("resume", str(run_dir), "--cpu-hours", "0.004", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert Ledger(run_dir).read().cpu_s >= 0.004 * 3600


@pytest.mark.slow
def test_at_a_time_of_day_trials_pause_where_they_are(tmp_path, space_file):
    space_file.write_text(TINY_SPACE.replace("epochs: 2", "epochs: 2000"))
    run_dir = tmp_path / "run"
    # Between one and two minutes from now: Ray starts and several epochs run before.
    until = (datetime.now() + timedelta(minutes=2)).replace(second=0, microsecond=0).isoformat()
    done = rksearch("run", "--space", str(space_file), "--out", str(run_dir), "--until", until, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    history = Ledger(run_dir).read()
    epochs = [len(result.epochs) for _, result in history.paused.values()]
    assert epochs
    assert 0 < max(epochs) < 2000
    assert not history.trials
    assert history.state == "stopped"


def start(space_file: Path, run_dir: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", "--space", str(space_file), "--out", str(run_dir), *more),
        cwd=run_dir.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_trials(run_dir: Path, count: int, driver: subprocess.Popen[str], timeout_s: float = 180) -> set[str]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        finished = set(Ledger(run_dir).read().trials)
        if len(finished) >= count:
            return finished
        assert driver.poll() is None, driver.communicate()[1]
        time.sleep(0.2)
    raise AssertionError(f"fewer than {count} trials finished in {timeout_s} s")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "finished_first"),
    [
        (signal.SIGINT, 1),
        (signal.SIGINT, 4),
        (signal.SIGTERM, 1),
        (signal.SIGTERM, 4),
        (signal.SIGKILL, 1),
        pytest.param(signal.SIGKILL, 4, marks=pytest.mark.ci),
    ],
)
def test_stopped_at_some_moment_and_resumed_nothing_finished_is_lost(tmp_path, space_file, how, finished_first):
    run_dir = tmp_path / "run"
    driver = start(space_file, run_dir)
    try:
        wait_for_trials(run_dir, finished_first, driver)
        os.kill(driver.pid, how)
        out, err = driver.communicate(timeout=90)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
    kept = Ledger(run_dir).read().trials
    assert len(kept) >= finished_first
    state = rksearch_json("status", str(run_dir), "--json")["state"]
    if how == signal.SIGKILL:
        assert state == "killed"
    else:
        assert driver.returncode == 130, err
        assert state == "interrupted"
        assert "rksearch resume" in out
    assert rksearch("report", str(run_dir)).returncode == 0

    resumed = rksearch("resume", str(run_dir), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    after = Ledger(run_dir).read().trials
    for trial, (spec, result) in kept.items():
        assert after[trial] == (spec, result)
    check_complete(run_dir, space_file, trials=3)


@pytest.mark.slow
@pytest.mark.ci
def test_a_killed_worker_goes_on_from_its_last_epoch(tmp_path, space_file):
    space_file.write_text(TINY_SPACE.replace("epochs: 2", "epochs: 60"))
    run_dir = tmp_path / "run"
    driver = start(space_file, run_dir, "--trials", "0")
    deadline = time.monotonic() + 120
    try:
        checkpoint = run_dir / "work" / "trials" / "ResNet-8@0" / "checkpoint.pt"
        while not checkpoint.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers = subprocess.run(["pgrep", "-f", "ray::"], capture_output=True, text=True, check=False).stdout.split()
        mine = [pid for pid in workers if session_of(int(pid)) == session_of(driver.pid)]
        for pid in mine:
            if "ImplicitFunc" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)
        out, err = driver.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
    assert driver.returncode == 0, err
    _, result = Ledger(run_dir).read().trials["ResNet-8@0"]
    assert [e.epoch for e in result.epochs] == list(range(1, 61))
    assert mine, out


def session_of(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return -1


@pytest.mark.slow
def test_two_drivers_do_not_work_on_one_run(tmp_path, space_file):
    space_file.write_text(TINY_SPACE.replace("epochs: 2", "epochs: 40"))  # at work until the second has asked
    run_dir = tmp_path / "run"
    driver = start(space_file, run_dir)
    try:
        wait_for_trials(run_dir, 1, driver)
        second = rksearch("resume", str(run_dir), cwd=tmp_path)
        assert second.returncode == 2
        assert "another one is at work" in second.stderr
        assert rksearch_json("status", str(run_dir), "--json")["state"] == "running"
        driver.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
    check_complete(run_dir, space_file, trials=3, epochs=40)


@pytest.mark.slow
@pytest.mark.ci
def test_missing_data_stops_before_anything_starts(tmp_path):
    done = rksearch("run", "--space", "cifar10_small", "--out", "run", "--no-download", cwd=tmp_path)
    assert done.returncode == 2
    assert "--data-dir" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.ci
def test_the_quickstart_shows_a_front_of_several_points(tmp_path):
    began = time.monotonic()
    done = rksearch("run", "--space", "quickstart", "--out", "run", cwd=tmp_path, timeout_s=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(rksearch("status", "run", "--json", cwd=tmp_path).stdout)
    assert len(found["front"]) >= 3
    assert all(item["seeds"] >= 2 for item in found["front"])
    assert found["roles"]["candidate"]["finished"] >= 12
    assert found["roles"]["baseline"]["finished"] >= 3
    errors = [item["val_error_pct"] for item in found["front"]]
    assert max(errors) - min(errors) > 2
    print(f"quickstart took {time.monotonic() - began:.0f} s")
