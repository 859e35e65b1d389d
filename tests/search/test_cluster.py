"""Runs on a Ray cluster of several nodes, all on this machine."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rksearch.results.ledger import Ledger
from tests.helpers.command_line import TINY_SPACE, command, environment
from tests.helpers.nodes import descendants
from tests.helpers.processes import wait_until


class Nodes:
    """Started nodes, and the environment that may join them."""

    def __init__(self, program: subprocess.Popen[str], env: dict[str, str]) -> None:
        self._program = program
        self.env = env
        said = self._said()
        self.address: str = said["address"]
        self.raylets: list[int] = said["raylets"]

    def kill(self, raylet: int) -> list[int]:
        """End a node as a power cut would: its raylet and all its workers, at once."""
        assert self._program.stdin is not None
        self._program.stdin.write(f"{raylet}\n")
        self._program.stdin.flush()
        killed: list[int] = self._said()
        return killed

    def _said(self) -> Any:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            if line.startswith(("{", "[")) and line.rstrip().endswith(("}", "]")):
                return json.loads(line)
        raise AssertionError("the nodes could not be started")


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    env = {**environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.nodes", "2"],
        cwd=Path(__file__).parents[2],
        env={**env, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Nodes(program, env)
    finally:
        assert program.stdin is not None
        program.stdin.close()  # shuts the nodes down
        try:
            program.wait(timeout=60)
        except subprocess.TimeoutExpired:
            program.kill()


@pytest.mark.slow
@pytest.mark.ci
def test_a_node_that_dies_loses_no_trial_and_no_epoch_but_the_one_in_progress(tmp_path: Path, nodes: Nodes) -> None:
    import torch

    space = tmp_path / "tiny.yaml"
    space.write_text(TINY_SPACE.replace("epochs: 2", "epochs: 150"))
    run_dir = tmp_path / "run"
    arguments = ("run", "--space", str(space), "--out", str(run_dir), "--trials", "0", "--seeds", "1")
    driver = subprocess.Popen(
        command(*arguments, "--address", nodes.address),
        cwd=tmp_path,
        env=nodes.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        checkpoints = run_dir / "work" / "trials"
        wait_until(lambda: len(list(checkpoints.glob("*/previous.pt"))) == 2, driver, timeout_s=240)
        # Whichever node it is, a trial runs on it: there are two of both.
        killed = nodes.kill(nodes.raylets[0])
        assert len(killed) > 1
        finished = set(Ledger(run_dir).read().trials)
        saved = {}
        for directory in checkpoints.iterdir():
            # Between the two renamings of a write, the last epoch stands under the earlier name.
            path = next(path for path in (directory / "checkpoint.pt", directory / "previous.pt") if path.exists())
            payload = tmp_path / "payload"
            payload.write_bytes(path.read_bytes().partition(b"\n")[2])
            saved[directory.name] = torch.load(payload, weights_only=True)["state"]["epochs"]
        out, err = driver.communicate(timeout=420)
    finally:
        if driver.poll() is None:
            for pid in [driver.pid, *descendants(driver.pid)]:
                subprocess.run(["kill", "-9", str(pid)], check=False)
    assert driver.returncode == 0, (out, err)
    history = Ledger(run_dir).read()
    assert history.state == "finished"
    assert history.repeated == 0
    assert finished <= set(history.trials)
    assert set(saved) == set(history.trials)
    assert len(saved) == 2
    for trial, epochs in saved.items():
        result = history.trials[trial][1]
        assert result.status == "complete", result.message
        assert [e.epoch for e in result.epochs] == list(range(1, 151))
        # The times of what was trained before say that it was not trained again.
        kept = [e.train_time_s for e in result.epochs][: len(epochs)]
        assert kept == [e["train_time_s"] for e in epochs]
        assert len(epochs) >= 2
    assert any(len(epochs) < 150 for epochs in saved.values())


def test_the_cluster_file_is_one_that_ray_accepts() -> None:
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    path = Path(__file__).parents[2] / "examples" / "cluster.yaml"
    prepared = prepare_config(yaml.safe_load(path.read_text()))
    validate_config(prepared)
    start = prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in line for line in start if "ray start" in line)
    # None of Ray's defaults, which would install another version of Ray.
    assert not any("ray-wheels" in line for line in prepared["setup_commands"] + prepared["head_setup_commands"])
