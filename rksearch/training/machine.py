"""The machine that a process runs on, told apart from others without its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A random number of Linux's, made when the machine starts."""


@cache
def machine_id() -> str:
    """Sixteen hexadecimal digits that processes share which see each other's process ids, until the machine restarts.

    They are a hash: neither the host name nor anything else that lasts can be found from them on Linux.
    """
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(BOOT_ID.read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # containers of a machine have process ids of their own
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
