"""Trainings that crash, exit, raise or hang, by a plugin's family: each is a failed row, and the run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rksearch.results.ledger import Ledger
from tests.helpers.command_line import TINY_SPACE, rksearch
from tests.helpers.extending import example, installed

pytestmark = pytest.mark.slow

MISBEHAVIOUR = """
import ctypes, json, os, sys, time
from pathlib import Path

def misbehave(name, calls):
    kind = json.loads(os.environ.get("MISBEHAVIOUR", "{}")).get(name)
    if kind == "crash":
        ctypes.string_at(0)
    elif kind == "exit":
        os._exit(7)
    elif kind == "leave":
        sys.exit(3)
    elif kind == "raise":
        raise ValueError("no such step")
    elif kind == "hang" and calls > 40:
        while True:
            time.sleep(1)
"""

IN_FORWARD = """
            def forward(self, x):
                if self.training and torch.is_grad_enabled():
                    self.calls = getattr(self, "calls", 0) + 1
                    misbehave(name, self.calls)
"""

CRASH, EXIT, LEAVE, RAISE, HANG = (f"SmoothRK-{s}x1_1x{r}" for s, r in ((1, 1), (2, 1), (3, 1), (1, 2), (2, 2)))


def plugin(directory: Path) -> dict[str, str]:
    """The document's family, whose stages misbehave as the environment says."""
    code = example("A family")
    for there, instead in (
        ("            def forward(self, x):\n", IN_FORWARD.lstrip("\n")),
        (
            "        from torch import nn ",
            "        import torch\n        name = str(spec)\n        from torch import nn ",
        ),
        ("\nimport rksearch\n", f"\nimport rksearch\n{MISBEHAVIOUR}\n"),
    ):
        assert code.count(there) == 1
        code = code.replace(there, instead)
    return installed(directory, "smooth", "smooth_rk", code)


def space(directory: Path, *baselines: str, epochs: int = 2) -> Path:
    path = directory / "tiny.yaml"
    text = TINY_SPACE.replace("epochs: 2", f"epochs: {epochs}").replace("search: 1, final: 2", "search: 1, final: 1")
    path.write_text(text.replace("[DenseNet-10-k2, ResNet-8]", f"[ResNet-8, {', '.join(baselines)}]"))
    return path


GONE = """
import sys

def register():
    if "default_worker" in sys.argv[0]:
        raise ImportError("libgone.so")
"""
"""A plugin that works in the driver and in no worker."""

IMPATIENT = """
import rksearch.search.hanging as hanging
hanging.LEAST_S, hanging.TIMES = 6.0, 100.0
from rksearch.cli import main
main()
"""


def impatient(*args: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that takes seconds for a hang, and not minutes."""
    return subprocess.run(
        [sys.executable, "-c", IMPATIENT, *args],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=450,
        check=False,
    )


def test_what_goes_wrong_is_said_the_run_goes_on_and_failed_trainings_are_tried_again(tmp_path: Path) -> None:
    kinds = {CRASH: "crash", EXIT: "exit", LEAVE: "leave", RAISE: "raise", HANG: "hang"}
    env = plugin(tmp_path / "site")
    run_dir = tmp_path / "run"
    asked = ("run", "--space", str(space(tmp_path, *kinds, epochs=30)), "--out", str(run_dir), "--trials", "1")
    done = impatient(*asked, cwd=tmp_path, env={**env, "MISBEHAVIOUR": json.dumps(kinds)})
    assert done.returncode == 3, (done.stdout, done.stderr)
    history = Ledger(run_dir).read()
    assert history.state == "finished"
    failed = {spec.arch: result for spec, result in history.failed.values()}
    assert {kinds[arch]: result.failure for arch, result in failed.items()} == {
        "crash": "worker_died",
        "exit": "worker_died",
        "leave": "error",
        "raise": "error",
        "hang": "hung",
    }
    said = {kinds[arch]: str(result.message) for arch, result in failed.items()}
    assert "crashed: Segmentation fault at line" in said["crash"]
    assert "os._exit" in said["exit"] or "code 7" in said["exit"]
    assert said["leave"] == "SystemExit: 3"
    assert "ValueError" in said["raise"]
    assert "no such step" in said["raise"]
    assert "it hangs: a step has lasted" in said["hang"]
    complete = {spec.arch for spec, result in history.trials.values() if result.status == "complete"}
    assert len(complete) == 2  # ResNet-8 and the candidate

    again = rksearch("resume", str(run_dir), "--retry-failed", cwd=tmp_path, env=env)
    assert again.returncode == 0, again.stderr
    history = Ledger(run_dir).read()
    assert not history.failed
    assert history.repeated == 0
    assert all(len(result.epochs) == 30 for _, result in history.trials.values())


def test_a_session_ends_at_its_time_although_a_training_hangs(tmp_path: Path) -> None:
    env = {**plugin(tmp_path / "site"), "MISBEHAVIOUR": json.dumps({HANG: "hang"})}
    run_dir = tmp_path / "run"
    until = (datetime.now() + timedelta(seconds=75)).replace(microsecond=0)
    done = rksearch("run", "--space", str(space(tmp_path, HANG, epochs=30)), "--out", str(run_dir), "--trials", "0",
                    "--until", until.isoformat(), cwd=tmp_path, env=env)  # fmt: skip
    assert time.time() < until.timestamp() + 75
    assert done.returncode == 0, (done.stdout, done.stderr)
    history = Ledger(run_dir).read()
    assert not history.failed
    assert history.state == "stopped"


def test_a_training_that_takes_too_long_fails_by_the_users_limit(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    text = TINY_SPACE.replace("epochs: 2", "epochs: 100_000").replace("[DenseNet-10-k2, ResNet-8]", "[ResNet-8]")
    (tmp_path / "tiny.yaml").write_text(text)
    done = rksearch("run", "--space", "tiny.yaml", "--out", str(run_dir), "--trials", "0", "--seeds", "1",
                    "--trial-hours", "0.004", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 3, done.stderr
    _, result = Ledger(run_dir).read().trials["ResNet-8@0"]
    assert result.failure == "time_limit"
    assert "--trial-hours 0.004" in str(result.message)


def test_workers_that_cannot_import_end_the_run_and_no_training_counts(tmp_path: Path) -> None:
    """As on a node where a package is missing: the driver has it."""
    env = installed(tmp_path / "site", "gone", "gone_plugin", GONE)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    began = time.monotonic()
    done = rksearch("run", "--space", "tiny.yaml", "--out", "run", cwd=tmp_path, env=env)
    assert time.monotonic() - began < 150
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "libgone.so" in done.stderr
    history = Ledger(tmp_path / "run").read()
    assert history.state == "failed"
    assert not history.trials


@pytest.mark.parametrize("look_ms", [200, 15_000])
def test_a_worker_that_ray_kills_for_memory_is_named_as_that(tmp_path: Path, look_ms: int) -> None:
    """With a threshold that any machine is above, each worker is killed: as it begins, or in its training."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("epochs: 2", "epochs: 100_000"))
    env_changes = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": str(look_ms)}
    from tests.helpers.command_line import environment

    done = rksearch("run", "--space", "tiny.yaml", "--out", "run", "--trials", "0", "--seeds", "1", cwd=tmp_path,
                    env={**environment(), **env_changes})  # fmt: skip
    assert done.returncode == 3, done.stderr
    history = Ledger(tmp_path / "run").read()
    assert {result.failure for _, result in history.failed.values()} == {"out_of_memory"}
    assert history.retried
