"""Limits of control groups, read from trees like those of systems in use."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from rksearch import limits

GIB = 2**30


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(limits, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(limits, "MEMBERSHIPS", tmp_path / "memberships")
    monkeypatch.setattr(limits, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemTotal: {64 * 2**20} kB\nMemAvailable: {40 * 2**20} kB\n")
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 64 * GIB // 4096)
    return tmp_path


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def test_without_groups_the_machine_is_the_limit(tree: Path) -> None:
    assert limits.memory_bytes() == 64 * GIB
    assert limits.free_memory_bytes() == 40 * GIB
    assert limits.cpu_quota() == math.inf


def test_the_narrowest_of_nested_groups_holds(tree: Path) -> None:
    """As systemd and SLURM nest them: the limit stands above the process's own group."""
    (tree / "memberships").write_text("0::/slurm/job_17/step_0/task\n")
    root = tree / "groups"
    write(root / "slurm" / "job_17" / "step_0" / "task", memory__max="max", cpu__max="max 100000")
    write(root / "slurm" / "job_17", memory__max=str(8 * GIB), memory__current=str(3 * GIB), cpu__max="250000 100000",
          memory__stat=f"anon 5\ninactive_file {GIB}\n", memory__events="low 0\noom 3\noom_kill 2\n")  # fmt: skip
    write(root / "slurm", memory__max=str(32 * GIB), memory__current=str(30 * GIB))
    assert limits.memory_bytes() == 8 * GIB
    assert limits.free_memory_bytes() == 2 * GIB, "the outer group has less left than the inner one"
    assert limits.cpu_quota() == 2.5
    assert limits.memory_kills() == 2


def test_version_1_has_a_tree_for_each_resource(tree: Path) -> None:
    (tree / "memberships").write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    root = tree / "groups"
    write(root / "memory" / "docker" / "abc", memory__limit_in_bytes=str(4 * GIB), memory__usage_in_bytes=str(GIB),
          memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")  # fmt: skip
    write(root / "memory", memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes=str(50 * GIB))
    write(root / "cpu,cpuacct" / "docker" / "abc", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(root / "cpu,cpuacct" / "docker", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert limits.memory_bytes() == 4 * GIB
    assert limits.free_memory_bytes() == 3 * GIB
    assert limits.cpu_quota() == 0.5
    assert limits.memory_kills() == 7


def test_in_a_container_the_tree_begins_at_its_own_group(tree: Path) -> None:
    (tree / "memberships").write_text("0::/../../kubepods/pod3/c9\n")
    write(tree / "groups", memory__max=str(2 * GIB), memory__current="0", cpu__max="100000 100000")
    assert limits.memory_bytes() == 2 * GIB
    assert limits.cpu_quota() == 1.0


@pytest.mark.parametrize("text", ["max 0", "100000 0", "x", "", "-5 100000"])
def test_what_is_no_limit_is_none(tree: Path, text: str) -> None:
    (tree / "memberships").write_text("0::/\n")
    write(tree / "groups", cpu__max=text)
    assert limits.cpu_quota() == math.inf


def test_this_machine_has_plausible_limits() -> None:
    assert 0 < limits.free_memory_bytes() <= limits.memory_bytes()
    assert limits.resident_bytes() > 10**6
    assert limits.cpu_quota() > 0
