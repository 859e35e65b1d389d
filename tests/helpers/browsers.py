"""The browser of this machine, for tests and pictures."""

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root with its sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = f"a browser must be on PATH, but none of {', '.join(BROWSERS)} is; install Debian's chromium"


def installed_browser() -> str | None:
    """Path of the first of `BROWSERS` that is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)
