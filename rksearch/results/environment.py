"""The environment of a measurement: code, versions, hardware."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import rksearch
from rksearch.errors import without_credentials
from rksearch.ordinary import read_json
from rksearch.results.codec import to_plain

PACKAGES = (
    *("torch", "torchvision", "ray", "optuna", "fvcore", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib"),
    *("botorch", "gpytorch", "syne-tune"),
)
"""Packages whose versions are recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Code, versions and hardware.

    Attributes:
        rksearch: version of this package.
        commit, dirty: commit of the checkout that the package runs from, and whether the package has uncommitted
            changes; None for an installed package.
        command: the words of the command line.
        python: version of Python.
        packages: versions by package; None for one that is not installed.
        os, cpu, cpu_count, memory_bytes: facts about the machine.
        gpus: names of the NVIDIA devices.
    """

    rksearch: str = ""
    commit: str | None = None
    dirty: bool | None = None
    command: tuple[str, ...] = ()
    python: str = ""
    packages: dict[str, str | None] = field(default_factory=dict)
    os: str = ""
    cpu: str = ""
    cpu_count: int | None = None
    memory_bytes: int | None = None
    gpus: tuple[str, ...] = ()

    def version(self, name: str) -> str | None:
        """The version of `rksearch`, `python` or a package; None where it is not recorded."""
        own = {"rksearch": self.rksearch, "python": self.python}
        return own.get(name) or self.packages.get(name)

    @property
    def code(self) -> str:
        """The commit in words, `none` for an installed package."""
        return code_in_words(self.commit, self.dirty)

    def flat(self) -> dict[str, Any]:
        """Plain values with one key per package, for files that people read."""
        plain = to_plain(self)
        flat: dict[str, Any] = {}
        for key, value in plain.items():
            flat |= value if key == "packages" else {key: value}
        return flat


def code_in_words(commit: str | None, dirty: bool | None) -> str:
    """A commit, `none` for an installed package, and whether there were uncommitted changes beside it."""
    return f"{commit or 'none'}{', with uncommitted changes' if dirty else ''}"


def with_short_hash(code: str, digits: int) -> str:
    """The words of `code_in_words` with the first digits of the hash alone; what they say of changes stays."""
    commit, comma, changes = code.partition(",")
    return f"{commit[:digits]}{comma}{changes}"


LARGEST_MEASUREMENT = 100_000_000
"""Largest file that is read to see whether it is a measurement, in bytes."""


def is_measurement(path: Path) -> bool:
    """Whether a file holds JSON with an `environment` as `Environment.flat` gives it, as measurements do."""
    found = read_json(path, LARGEST_MEASUREMENT)
    environment = found.get("environment") if isinstance(found, dict) else None
    return isinstance(environment, dict) and {"rksearch", "commit", "command"} <= environment.keys()


def own_cpus() -> int:
    """Number of CPUs that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def current_environment() -> Environment:
    """Code, versions and hardware of this process's machine; imports none of the packages that it names."""
    commit, dirty = _git()
    return Environment(
        rksearch=rksearch.__version__,
        commit=commit,
        dirty=dirty,
        command=("rksearch", *(without_credentials(_as_text(word)) for word in sys.argv[1:])),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        os=platform.platform(),
        cpu=_cpu(),
        cpu_count=own_cpus(),
        memory_bytes=_memory_bytes(),
        gpus=tuple(_gpus()),
    )


def _as_text(word: str) -> str:
    """A word of the command line as text; bytes of a path that are no UTF-8 are shown by their codes."""
    return os.fsencode(word).decode("utf-8", errors="backslashreplace")


def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package runs from, and whether the package differs from it; None for a wheel."""
    package = Path(rksearch.__file__).parent
    root = package.parent
    if not (root / ".git").exists():
        return None, None
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    # Files beside the package (a ledger that grows, for one), and those that git does not know, change no code.
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", str(package))
    return commit, bool(changed) if commit else None


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
    """The output of a command; None when it is missing or fails."""
    try:
        # Both commands are ours: `git` and `nvidia-smi` with fixed words.
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
