"""Play the first repetitions of `bench search` again and compare each replay with the committed one, bit for bit.

    python tools/replays_again.py digits_table cifar10_table --to reports/search_benchmark/again.json

The committed replays of a table may have been played at several commits. A replay depends on the table and on its turn
alone, so that it comes out the same at another commit unless the code of a search has changed what it finds. Each table
is played as `python tools/evidence.py --list` says, into a directory that is removed afterwards. The exit code is 1
where a replay differs or is not among the committed ones.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parent))

from evidence import PARTS, ROOT
from recording import record

COMMITTED = Path("reports/search_benchmark")

Turn: TypeAlias = tuple[str, str, int]
"""Strategy, start and repetition of a replay."""


def main() -> int:
    """Play and compare; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="TABLE", choices=list(commands()), help="directories' names")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--to", type=Path, required=True, help="JSON file for what was found, written at the end")
    asked = parser.parse_args()
    found = {}
    for table in asked.tables:
        found[table] = compared(table, asked.repetitions)
        print(f"{table}: {found[table]}", flush=True)
    record(asked.to, {"repetitions": asked.repetitions, "tables": found})
    return 1 if any(own["different"] or own["missing"] for own in found.values()) else 0


def commands() -> dict[str, str]:
    """The command of each table's replays, by the table's directory."""
    return {Path(part.name).name: part.commands[0] for part in PARTS if part.name.startswith("search_benchmark/")}


def compared(table: str, repetitions: int) -> dict[str, Any]:
    """How many replays of a table are the committed ones, and the turns of those that differ or are not there."""
    words = shlex.split(commands()[table])
    words[words.index("--repetitions") + 1] = str(repetitions)
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, "-m", *words, "--out", out], cwd=ROOT, check=True)
        again = dict(replays(Path(out)))
    committed = dict(replays(ROOT / COMMITTED / table))
    return {
        "same": sum(committed.get(turn) == replay for turn, replay in again.items()),
        "different": sorted(turn for turn in again.keys() & committed.keys() if again[turn] != committed[turn]),
        "missing": sorted(again.keys() - committed.keys()),
        "strategies": sorted({strategy for strategy, _, _ in again}),
    }


def replays(directory: Path) -> Iterator[tuple[Turn, dict[str, Any]]]:
    """The replays of a directory as they were written, without the commit that played them."""
    for line in (directory / "replays.jsonl").read_text(encoding="utf-8").splitlines():
        if replay := json.loads(line).get("replay"):
            yield (replay["strategy"], replay["start"], replay["repetition"]), replay


if __name__ == "__main__":
    sys.exit(main())
