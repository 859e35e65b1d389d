"""Tables of a page under `reports/`, written from the measurements beside it.

The page has a pair of comments around each table: `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from rksearch.errors import RksearchError
from rksearch.results.environment import code_in_words

BLOCK = re.compile(r"(<!-- table (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Tables = Mapping[str, Callable[[Path], str]]
"""What makes each table of a page, from the directory of its measurements."""


def fill(directory: Path, tables: Tables) -> int:
    """Write a directory's page anew; the exit code is 2 where the page or the measurements do not allow that."""
    page = directory / "README.md"
    try:
        page.write_text(filled(page.read_text(encoding="utf-8"), directory, tables), encoding="utf-8")
    except RksearchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def filled(page: str, directory: Path, tables: Tables) -> str:
    """A page with its tables as the measurements of a directory say.

    Raises:
        RksearchError: the page has no place for a table; a measurement is missing or does not suit.
    """
    if not BLOCK.search(page):
        raise RksearchError("the page must have `<!-- table NAME -->` and `<!-- end -->` around each table; add them")
    return BLOCK.sub(lambda found: f"{found[1]}{tables[found['name']](directory)}\n{found[3]}", page)


def read(path: Path) -> dict[str, Any]:
    """A file of measurements.

    Raises:
        RksearchError: it is missing.
    """
    if not path.is_file():
        part = path.parent.name
        raise RksearchError(f"tables need {path.name}, which is missing; make it by `tools/evidence.py {part}`")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def commit_in_words(environment: Mapping[str, Any]) -> str:
    """The commit of a measurement with the first digits of its hash, and whether there were changes beside it."""
    commit = environment["commit"]
    return code_in_words(f"commit {commit[:7]}" if commit else "no commit", environment.get("dirty"))
