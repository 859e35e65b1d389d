"""A user's code that calls `sys.exit` ends a run in one line, never in silence and as if the run were done."""

from __future__ import annotations

from pathlib import Path

import pytest

from rksearch.results.ledger import Ledger
from tests.helpers.command_line import TINY_SPACE, rksearch
from tests.helpers.extending import installed

PLUGIN = """
import os
import sys
from dataclasses import replace

import optuna

import rksearch
from rksearch.data.digits import DIGITS

def leave(*_):
    sys.exit(0)

class Leaving(optuna.samplers.RandomSampler):
    def infer_relative_search_space(self, study, trial):
        leave()

def make(space, *, objectives, trials, seed):
    return Leaving()

def register():
    if os.environ["LEAVES"] == "plugin":
        leave()
    rksearch.register_dataset(replace(DIGITS, name="gone", load=leave))
    rksearch.register_sampler("leaving", make, title="leaves", description="leaves")
"""


@pytest.mark.parametrize(
    ("who", "dataset", "options", "code", "said"),
    [
        ("plugin", "digits", (), 2, "the plugin 'leaves' (leaves:register) must load, but raised SystemExit: 0"),
        ("dataset", "gone", (), 2, "the loader of gone must give its images, but failed (SystemExit: 0)"),
        pytest.param(
            *("sampler", "digits", ("--sampler", "leaving"), 1, "the session ended by SystemExit: 0"),
            marks=[pytest.mark.slow, pytest.mark.ci],
        ),
    ],
)
def test_a_run_ends_in_one_line(
    tmp_path: Path, who: str, dataset: str, options: tuple[str, ...], code: int, said: str
) -> None:
    env = {**installed(tmp_path / "site", "leaves", "leaves", PLUGIN), "LEAVES": who}
    space, out = tmp_path / "tiny.yaml", tmp_path / "run"
    space.write_text(TINY_SPACE.replace("dataset: digits", f"dataset: {dataset}"))
    done = rksearch("run", "--space", str(space), "--out", str(out), *options, cwd=tmp_path, env=env)
    assert done.returncode == code, (done.stdout, done.stderr)
    [line] = done.stderr.strip().splitlines()
    assert said in line
    if who == "plugin":
        assert not out.exists()
        return
    history = Ledger(out).read()
    assert history.state == "failed"
    assert said in str(history.message)
    if who == "sampler":
        assert "Traceback" in (out / "work" / "error.txt").read_text()


def test_any_command_ends_in_one_line(tmp_path: Path) -> None:
    env = {**installed(tmp_path / "site", "leaves", "leaves", PLUGIN), "LEAVES": "dataset"}
    done = rksearch("data", "show", "gone", cwd=tmp_path, env=env)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert "the loader of gone must give its images, but failed (SystemExit: 0); correct it" in line
    traced = rksearch("data", "show", "gone", cwd=tmp_path, env={**env, "RKSEARCH_TRACEBACK": "1"})
    assert "in leave\n" in traced.stderr  # where in the plugin
    assert traced.stderr.splitlines()[-1] == line
