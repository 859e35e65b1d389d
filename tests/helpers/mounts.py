"""File systems that a command alone sees, mounted without being root."""

import shutil
import subprocess
from pathlib import Path

MOUNTS = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
"""A shell that may mount what nobody else sees, without being root."""


def can_mount(directory: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run([*MOUNTS, f"mount -t tmpfs -o size=1m full '{directory}'"], capture_output=True, check=False)
    return done.returncode == 0
