"""Limits of memory and CPU time that the system sets to this process: those of its control groups (Linux).

A process lies in a group that lies in others, and the least limit of all holds. With version 2 there is one tree
(`memory.max`, `cpu.max`), with version 1 one for each resource (`memory.limit_in_bytes`, `cpu.cfs_quota_us`); see
cgroups(7). Inside of a container the tree may begin at the container's own group, whatever its path outside.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIPS = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")

UNLIMITED = 2**60
"""Version 1 writes a number of about 2^63 for no limit of memory."""


def cpu_quota() -> float:
    """CPUs whose time this process may use; infinite where there is no limit."""
    quota = math.inf
    for group in _groups("cpu"):
        if found := _words(group / "cpu.max"):
            quota = min(quota, _ratio(*found[:2]) if len(found) > 1 else math.inf)
        elif found := _words(group / "cpu.cfs_quota_us"):
            period = _words(group / "cpu.cfs_period_us")
            quota = min(quota, _ratio(found[0], period[0]) if period else math.inf)
    return quota


def memory_bytes() -> int:
    """Bytes of memory that this process may use at most: those of the machine, or of the narrowest of its groups."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in _memory_limits())])


def free_memory_bytes() -> int:
    """Bytes of memory that are free for this process: the least of what the machine and each group has left."""
    left = [memory_bytes()]
    for line in _lines(MEMORY):
        if line.startswith("MemAvailable:"):
            left.append(int(line.split()[1]) * 1024)
    left += [limit - used for limit, used in _memory_limits()]
    return max(0, min(left))


def resident_bytes() -> int:
    """Bytes of memory that this process has now, without what it shares with files; 0 where that is not known."""
    found = _words(Path("/proc/self/statm"))
    if len(found) < 3:
        return 0
    return (int(found[1]) - int(found[2])) * os.sysconf("SC_PAGE_SIZE")


def memory_kills() -> int | None:
    """Number of processes that the system has killed for memory in this process's group, or else on the machine.

    Returns:
        The number so far; None where it is not counted.
    """
    for group in _groups("memory"):
        for name in ("memory.events", "memory.oom_control"):
            for line in _lines(group / name):
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    for line in _lines(Path("/proc/vmstat")):
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Limit and use of each group that has a limit, in bytes. Files that can be dropped from memory are no use."""
    for group in _groups("memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most = _words(group / limit)
            if most and most[0].isdecimal() and int(most[0]) < UNLIMITED:
                now = _words(group / used)
                yield int(most[0]), max(0, (int(now[0]) if now else 0) - _droppable_bytes(group))


def _droppable_bytes(group: Path) -> int:
    """Bytes of files that a group has read and not used lately."""
    for line in _lines(group / "memory.stat"):
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            return int(line.split()[1])
    return 0


def _groups(controller: str) -> Iterator[Path]:
    """Directories of this process's groups for a resource, the innermost first."""
    for line in _lines(MEMBERSHIPS):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            root = GROUPS
        elif controller in names.split(","):
            root = next((GROUPS / name for name in (names, controller) if os.path.isdir(GROUPS / name)), GROUPS / names)
        else:
            continue
        inner = PurePosixPath(path.strip().lstrip("/"))
        yield from (root / at for at in (inner, *inner.parents) if os.path.isdir(root / at))


def _ratio(quota: str, period: str) -> float:
    try:
        found = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return found if found > 0 else math.inf


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)[:1]).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
