"""What a number was measured with: code, versions, hardware."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import rksearch

PACKAGES = ("torch", "torchvision", "ray", "optuna", "fvcore", "numpy", "scikit-learn", "pandas", "plotly")


def environment() -> dict[str, Any]:
    """Commit, versions and hardware of this process's machine; importing none of the packages it names."""
    return {
        "rksearch": rksearch.__version__,
        **_git(),
        "command": ["rksearch", *sys.argv[1:]],
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "os": platform.platform(),
        "cpu": _cpu(),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "gpus": _gpus(),
    }


def _git() -> dict[str, Any]:
    """Commit of the checkout that this package runs from; None for an installed wheel."""
    root = Path(rksearch.__file__).parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    # Files that git does not know (a run's own directory, for one) change no code; edited files do.
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed) if commit else None}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[str]:
    """Names of the NVIDIA devices that the driver's own tool lists."""
    listed = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") if shutil.which("nvidia-smi") else None
    return listed.splitlines() if listed else []


def _output(*command: str) -> str | None:
    """What a command prints; None when it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
