"""Take the picture of Ray's dashboard in docs/watching.md from a real run, by a browser that gets in as users do.

    uv run python tools/dashboard_picture.py docs

It starts the quickstart in a temporary directory, enters the token that the printed command gives, and writes
`dashboard_actors.png`, the run's workers, into the directory. It needs Chromium or Google Chrome, and a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.helpers.browsers import FLAGS, MISSING, installed_browser

WIDTH, HEIGHT = 1280, 525
FIRST_S = 300.0
"""Longest wait for the first finished training."""

PAGE_MS = 60_000
"""Longest wait for what a page must show."""

COMMAND = ("run", "--space", "quickstart", "--epochs", "60", "--out", "quickstart-1")
"""Trainings of some seconds each, so that the run still works while it is looked at."""


def printed(run: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """Address of the dashboard and command for its token, once the run has printed both and finished a training.

    Raises:
        SystemExit: it has ended, or has not within the time.
    """
    until = time.monotonic() + FIRST_S
    while time.monotonic() < until and run.poll() is None:
        text = log.read_text(encoding="utf-8")
        address, token = re.search(r"Ray dashboard: (\S+)", text), re.search(r"its token: (.+)", text)
        if address and token and "[1 done" in text:
            return address[1], token[1]
        time.sleep(0.5)
    raise SystemExit(f"the run must finish a training within {FIRST_S:.0f} s, but it has not: {log.read_text()}")


def take(page: Page, address: str, token: str, to: Path) -> None:
    """Enter the token, wait for the run's workers, and save the picture."""
    page.goto(f"{address}/#/actors")
    page.get_by_placeholder("Enter your authentication token").fill(token, timeout=PAGE_MS)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("cell", name="quickstart_1").first.wait_for(timeout=PAGE_MS)
    page.wait_for_timeout(2000)  # the tables of the page are filled one after the other
    page.screenshot(path=to / "dashboard_actors.png")


def main() -> None:
    """Run, look, and end the run."""
    if len(sys.argv) != 2:
        raise SystemExit(f"one directory for the picture must be given, but got {sys.argv[1:]}")
    to = Path(sys.argv[1])
    executable = installed_browser()
    if executable is None:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "rksearch", *COMMAND]
            run = subprocess.Popen(command, stdout=out, stderr=out, cwd=place)
        try:
            address, command_for_token = printed(run, log)
            # A line for a shell, as users paste it.
            token = subprocess.run(
                ["/bin/sh", "-c", command_for_token], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
                take(chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}), address, token.strip(), to)
                chromium.close()
        finally:
            run.terminate()
            run.wait()


if __name__ == "__main__":
    main()
