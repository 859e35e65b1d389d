"""What a script of this directory has found, with the command, commit, versions and hardware beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from rksearch.results.environment import current_environment


def record(path: Path, found: Mapping[str, Any]) -> None:
    """Write JSON; the running script's words are the command."""
    command = ["python", f"tools/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    text = json.dumps({**found, "environment": {**current_environment().flat(), "command": command}}, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
