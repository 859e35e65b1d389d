"""Runs the command line as a user does: in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TINY_SPACE = """
description: tiny networks for tests
dataset: digits
families: [dense]
growth_rate: [4]
periods:
  - {m: [1, 2], s: [1, 2], r: [1]}
  - {m: [1, 2], s: [1], r: [1, 2], share: [false, true]}
recipe: {name: short, epochs: 2, batch_size: 32}
train_images: 100
trials: 3
seeds: {search: 1, final: 2}
search: {racing: false, replicates: 0}
baselines: [DenseNet-10-k2, ResNet-8]
"""


Answer = tuple[int, str, str]
"""Exit code, output and errors of a command."""


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "rksearch", *args]


def environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    # Users' Pythons keep their bytecode; timings without it would be those of a compiler.
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def python(
    *args: str, cwd: Path | None = None, env: dict[str, str] | None = None, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """A Python of its own; `env` is that of `environment` unless it is given."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def rksearch(
    *args: str, cwd: Path | None = None, env: dict[str, str] | None = None, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    return python("-m", "rksearch", *args, cwd=cwd, env=env, timeout_s=timeout_s)


def rksearch_json(*args: str, cwd: Path | None = None) -> Any:
    done = rksearch(*args, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
