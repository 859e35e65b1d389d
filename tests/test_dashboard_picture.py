"""The script that takes the picture of Ray's dashboard: the way in that a run prints works in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.browsers import MISSING, installed_browser
from tests.helpers.command_line import python

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(installed_browser() is None, reason=MISSING)
def test_the_printed_token_opens_the_dashboard_of_a_run(tmp_path: Path) -> None:
    """It waits for the run's name among the actors."""
    done = python("tools/dashboard_picture.py", str(tmp_path), cwd=ROOT, timeout_s=600)
    assert done.returncode == 0, done.stderr
    taken, shown = (path / "dashboard_actors.png" for path in (tmp_path, ROOT / "docs"))
    with Image.open(taken) as one, Image.open(shown) as other:
        assert one.size == other.size
    assert max(taken.stat().st_size, shown.stat().st_size) < 300_000
