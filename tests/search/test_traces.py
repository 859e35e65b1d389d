"""What a worker process leaves when it dies, and what is made of it."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rksearch.search.ray import traces
from rksearch.search.ray.traces import CRASH, WORKER, death_of
from rksearch.training.machine import machine_id
from tests.helpers.command_line import environment

RAY_SAYS = """The actor died unexpectedly before finishing this task.
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed
by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due
to SIGSEGV or another unexpected error."""
"""Ray's own words about any death."""


def died(directory: Path, code: str) -> int:
    """Return code of a process that does `code` while it leaves traces."""
    program = f"""
import ctypes, os, sys
from pathlib import Path
from rksearch.search.ray.traces import traces
def forward():
    {code}
with traces(Path({str(directory)!r})):
    forward()
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, check=False)
    return done.returncode


def test_a_segmentation_fault_is_named_with_its_place(tmp_path: Path) -> None:
    assert died(tmp_path, "ctypes.string_at(0)") == -11
    death = death_of(RAY_SAYS, tmp_path)
    assert death.kind == "worker_died"
    assert death.message.startswith("its worker process crashed: Segmentation fault at line ")
    assert f"work/trials/{tmp_path.name}/{CRASH}" in death.message
    assert "\n" not in death.message


def test_an_exit_leaves_no_word(tmp_path: Path) -> None:
    assert died(tmp_path, "os._exit(7)") == 7
    death = death_of(RAY_SAYS, tmp_path)
    assert (death.kind, death.message) == (
        "worker_died",
        "its worker process ended without a word: it was killed, or code of the training called os._exit",
    )


def test_a_machine_is_told_apart_without_its_name(tmp_path: Path) -> None:
    died(tmp_path, "os._exit(7)")
    about = json.loads((tmp_path / WORKER).read_text())
    assert about["machine"] == machine_id()
    assert re.fullmatch("[0-9a-f]{16}", machine_id())
    assert platform.node() not in (tmp_path / WORKER).read_text()


def test_an_orderly_end_leaves_no_traces(tmp_path: Path) -> None:
    assert died(tmp_path / "trial", "pass") == 0
    assert list((tmp_path / "trial").iterdir()) == []


def test_traces_that_cannot_be_left_stop_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert died(tmp_path / "file", "pass") == 0


def test_memory_is_named_where_ray_or_the_system_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Task was killed due to the node running low on memory.\nMemory on the node was 0.96 of 24 GB."
    assert death_of(said, tmp_path).kind == "out_of_memory"
    assert death_of(RAY_SAYS, tmp_path).kind == "worker_died", "a cause that Ray thinks possible is none"
    monkeypatch.setattr(traces, "memory_kills", lambda: 5)
    for kills, machine, kind in (
        (4, machine_id(), "out_of_memory"),
        (5, machine_id(), "worker_died"),
        (4, "another", "worker_died"),
        (None, machine_id(), "worker_died"),
    ):
        (tmp_path / WORKER).write_text(json.dumps({"pid": 1, "machine": machine, "memory_kills": kills}))
        assert death_of(RAY_SAYS, tmp_path).kind == kind
    (tmp_path / WORKER).write_text("{")
    assert death_of(RAY_SAYS, tmp_path).kind == "worker_died"


def test_an_exception_that_ray_passes_on_is_its_last_line(tmp_path: Path) -> None:
    said = """ray::ImplicitFunc.train() (pid=1, ip=127.0.0.1)
Traceback (most recent call last):
  File "worker.py", line 1, in <module>
ModuleNotFoundError: No module named 'rksearch'"""
    death = death_of(said, tmp_path)
    assert (death.kind, death.message) == ("fault", "ModuleNotFoundError: No module named 'rksearch'")
