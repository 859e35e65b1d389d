"""Write the tables of `reports/performance/README.md` from the measurements beside it.

    python tools/performance_tables.py

The page has a pair of comments around each table (`<!-- table NAME -->` to `<!-- end -->`). Ratios are those of paired
rounds, of the three runs together; the range of the runs' own medians stands beside them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from rksearch.bench.ratios import speed_up
from rksearch.bench.whole_run import BESIDE, ONE, RUN
from rksearch.report.text import markdown_table

DIRECTORY = Path(__file__).parent.parent / "reports" / "performance"
TURNS = (1, 2, 3)
BLOCK = re.compile(r"(<!-- table (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    page = DIRECTORY / "README.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), DIRECTORY), encoding="utf-8")


def filled(page: str, directory: Path) -> str:
    """A page with its tables as the measurements of a directory say."""
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found['name']](directory)}\n{found[3]}", page)


def train_table(directory: Path) -> str:
    """Ours against the plain and the tuned loop, eager and compiled, network by network."""
    head = ("Network", "Ours / plain loop", "Ours / tuned loop", "Compiled: ours / plain", "Compiled: ours / tuned")
    found = runs(directory, "train")
    rows = []
    for i, network in enumerate(found[0]["networks"]):
        cells, sides = [network["name"]], [run["networks"][i]["sides"] for run in found]
        for ours, tuned in (("ours", "tuned"), ("ours compiled", "tuned compiled")):
            for rival in ("plain", tuned):
                cells.append(ratio([(one[rival]["turns_s"], one[ours]["turns_s"]) for one in sides]))
        rows.append(cells)
    return markdown_table(head, rows)


def memory_table(directory: Path) -> str:
    """Peak memory of a step by torch's count, and what is predicted for ours."""
    head = ("Network", "Plain, MiB", "Tuned", "Ours", "Predicted for ours", "Ours compiled")
    rows = []
    for one in runs(directory, "train")[0]["networks"]:
        plain, tuned, ours, compiled = (
            one["sides"][name]["peak_mem_bytes"] for name in ("plain", "tuned", "ours", "ours compiled")
        )
        peaks = [plain, tuned, ours, one["predicted_mem_bytes"], compiled]
        rows.append([one["name"], *(f"{peak / 2**20:,.1f}" for peak in peaks)])
    return markdown_table(head, rows)


def run_table(directory: Path) -> str:
    """A whole run beside the rivals that train the same networks, run by run."""
    found = runs(directory, "run")
    head = ("", *(f"Run {turn}, s" for turn in TURNS), "Times the run")
    rows = []
    for name in (RUN, ONE, BESIDE):
        times = [run["seconds"][name] for run in found]
        against = "–" if name == RUN else ratio(list(zip(times, (run["seconds"][RUN] for run in found), strict=True)))
        rows.append([name, *(f"{median(each):.0f}" for each in times), against])
    return markdown_table(head, rows)


def spent_table(directory: Path) -> str:
    """Shares of a run's slot-seconds by part: median and range over the runs."""
    spent = [one for run in runs(directory, "run") for one in run["spent"]]
    shares: dict[str, list[float]] = {}
    for one in spent:
        for part in {part: None for own in spent for part in own["slot_s"]}:
            share = 100 * one["slot_s"].get(part, 0.0) / (one["slots"] * one["wall_s"])
            shares.setdefault(part, []).append(share)
    rows = [[part, f"{median(own):.1f} ({min(own):.1f} to {max(own):.1f})"] for part, own in shares.items()]
    return markdown_table(("Part", "Share of the slot-seconds, %"), rows)


def concurrent_table(directory: Path) -> str:
    """Summed throughput of trainings beside each other."""
    rows = []
    for one in read(directory / "concurrent.json")["concurrent"]:
        beside = "alone" if one["processes"] == 1 else f"{one['processes']} processes"
        rows.append(
            [
                one["name"],
                beside if one["seeds"] == 1 else f"{one['seeds']} seeds as one program",
                f"{one['threads']}",
                spread(one["images_per_s"], ",.0f"),
                f"{one['times_one']:.2f}",
            ]
        )
    return markdown_table(("Network", "Trainings", "Threads of each", "Images/s in all", "Times one alone"), rows)


def optimisations_table(directory: Path) -> str:
    """Every optimisation with and without."""
    rows = []
    for one in read(directory / "optimisations.json")["optimisations"]:
        measured = spread(one["measured"], ".2f")
        rows.append([one["optimisation"], one["subject"], f"{one['predicted']:.2f}", measured, one["because"]])
    return markdown_table(("Optimisation", "On", "Predicted", "Measured", "Prediction from"), rows)


TABLES: Mapping[str, Callable[[Path], str]] = {
    "train": train_table,
    "memory": memory_table,
    "run": run_table,
    "spent": spent_table,
    "concurrent": concurrent_table,
    "optimisations": optimisations_table,
}
"""What makes each table of the page."""


def ratio(rounds: Sequence[tuple[Sequence[float], Sequence[float]]]) -> str:
    """Times of a rival over ours in the rounds of several runs: of all rounds, and the range of the runs' medians."""
    rival, ours = ([seconds for run in rounds for seconds in run[side]] for side in (0, 1))
    whole, medians = speed_up(rival, ours), [speed_up(*run).median for run in rounds]
    return f"{whole.median:.2f} ({whole.low:.2f} to {whole.high:.2f}; runs {min(medians):.2f} to {max(medians):.2f})"


def spread(one: Mapping[str, float], style: str) -> str:
    """A median with its range."""
    return f"{one['median']:{style}} ({one['low']:{style}} to {one['high']:{style}})"


def runs(directory: Path, name: str) -> list[dict[str, Any]]:
    """The measurements of three runs of one command."""
    return [read(directory / f"{name}_{turn}.json") for turn in TURNS]


def read(path: Path) -> dict[str, Any]:
    """A file of measurements."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main()
