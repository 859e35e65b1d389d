"""Ray's token: where it is found, and how to get into the dashboard, which asks for it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

VARIABLE = "RAY_AUTH_TOKEN"
"""Variable that may hold the token itself."""


def token_place() -> Path | str | None:
    """The file, or the name of the variable, in which Ray finds this user's token; None where there is none."""
    if os.environ.get(VARIABLE):
        return VARIABLE
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(path).absolute()
    file = Path.home() / ".ray" / "auth_token"
    return file if file.is_file() else None


def token_hint() -> str | None:
    """The line that says how to get the token in another terminal; None where the dashboard asks for none.

    The command names the file, since a variable that leads to it here may be unset there.
    """
    place = token_place()
    if place is None or os.environ.get("RAY_AUTH_MODE", "token").lower() == "disabled":
        return None
    where = f"that in ${VARIABLE}" if isinstance(place, str) else f"cat {shlex.quote(str(place))}"
    return f"It asks for a token: {where}"
