"""Write the table of `reports/precision/README.md` from the comparisons beside it.

    python tools/precision_table.py

Rows are the networks compared, on the digits and on CIFAR-10.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # for `pages`, which finds rksearch

from pages import Tables, commit_in_words, fill, read

from rksearch.report.text import count, gap, markdown_table, points

DIRECTORY = Path(__file__).parent.parent / "reports" / "precision"
COMPARED = ("digits", "cifar10")

HEAD = (
    *("Data", "Network", "fp32, %", "bf16, %", "bf16 − fp32 (95 %), points", "Difference?"),
    *("90 % interval", "Margin", "Equivalent?", "Found with 80 % power"),
)


def main() -> int:
    """Write the page; the exit code is 2 where it or the measurements do not allow that."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    return fill(DIRECTORY, TABLES)


def compared_table(directory: Path) -> str:
    """Every comparison: errors seed by seed, both tests, and what the first could have found."""
    rows, under = [], []
    for name in COMPARED:
        found = read(directory / f"{name}.json")
        rows += [[trained_on(found), network, *verdicts(own)] for network, own in found["architectures"].items()]
        environment = found["environment"]
        under.append(
            f"{name}: {count(found['threads'], 'thread')}, {environment['cpu']}, torch {environment['torch']}, "
            f"{commit_in_words(environment)}"
        )
    return f"{markdown_table(HEAD, rows)}\n\n{'; '.join(under)}."


def trained_on(found: Mapping[str, Any]) -> str:
    """Data, images, recipe and epochs of a comparison, in words."""
    images = f", {found['train_images']:,} training images" if found["train_images"] else ""
    recipe = found["recipe"]
    return f"{found['dataset']}{images}, recipe `{recipe['name']}`, {count(recipe['epochs'], 'epoch')}"


def verdicts(own: Mapping[str, Any]) -> list[str]:
    """The cells that one network's comparison gives."""
    low, high = own["interval_90"]
    return [
        *(", ".join(f"{error:.2f}" for error in own[f"{precision}_error_pct"]) for precision in ("fp32", "bf16")),
        gap(own["mean_difference"], tuple(own["interval_95"])),
        "found" if own["significant"] else "none found",
        *(f"{points(low)} to {points(high)}", f"{own['margin']:g}", "shown" if own["equivalent"] else "not shown"),
        f"about {own['detectable']:.1f} points",
    ]


TABLES: Tables = {"compared": compared_table}
"""What makes each table of the page."""


if __name__ == "__main__":
    sys.exit(main())
