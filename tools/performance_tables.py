"""Write the tables of `reports/performance/README.md` from the measurements beside it.

    python tools/performance_tables.py

A machine's times mean nothing on another one: tables have ratios of times of the same round, with the range of the runs
or rounds beside them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # for `evidence`, which finds rksearch

from evidence import state_of
from pages import Tables, commit_in_words, fill, read

from rksearch.bench.whole_run import BESIDE, ONE, RUN
from rksearch.errors import RksearchError
from rksearch.report.text import count, markdown_table

DIRECTORY = Path(__file__).parent.parent / "reports" / "performance"
TURNS = (1, 2, 3)

IN_USE = {
    "channels last": "yes",
    "bf16": "yes, where native",
    "resident data": "yes",
    "fused optimiser": "yes",
    "transitions pool first": "yes",
    "recomputation": "only where memory does not suffice",
    "4 seeds batched (fp32)": "no",
    "4 seeds as one program": "on a GPU, where a run measures that it pays",
    "compile": "where it is expected to pay",
    "CUDA graph": "yes, on a GPU",
    "ReLU in place": "yes",
    "preallocated concatenation": "no",
    "fused concat-BN-ReLU-1x1 (compiled block)": "where a network is compiled",
    "stages added from growths": "yes",
    "freed memory kept": "yes, on a CPU with glibc",
}
"""Whether a training uses an optimisation, by its name in the measurement."""


def main() -> int:
    """Write the page; the exit code is 2 where it or the measurements do not allow that."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    return fill(DIRECTORY, TABLES)


def train_table(directory: Path) -> str:
    """Ours against the plain and the tuned loop, eager and compiled, network by network."""
    head = (
        *("Network", "Ours / plain loop", "Ours / tuned loop", "Compiled: ours / plain", "Compiled: ours / tuned"),
        "Compiling ours, in its eager steps",
    )
    found = pooled(directory, "train")
    rows = []
    for i, network in enumerate(found[0]["networks"]):
        cells, sides = [network["name"]], [run["networks"][i]["sides"] for run in found]
        for ours, tuned in (("ours", "tuned"), ("ours compiled", "tuned compiled")):
            for rival in ("plain", tuned):
                cells.append(ratio([(one[rival]["turns_s"], one[ours]["turns_s"]) for one in sides]))
        eager_step_s = [median(one["ours"]["turns_s"]) / network["steps"] for one in sides]
        compiling = [one["ours compiled"]["prepare_s"] / s for one, s in zip(sides, eager_step_s, strict=True)]
        rows.append([*cells, with_range(compiling, ",.0f")])
    settings = found[0]["settings"]
    turns = f"{len(found)} runs of {settings['rounds']} rounds, turns of {settings['steps']} steps"
    return f"{markdown_table(head, rows)}\n\n{conditions(found[0], turns)}"


def memory_table(directory: Path) -> str:
    """Peak memory of a step by torch's count, and what is predicted for ours."""
    head = ("Network", "Plain, MiB", "Tuned", "Ours", "Predicted for ours", "Ours compiled")
    rows = []
    for one in pooled(directory, "train")[0]["networks"]:
        plain, tuned, ours, compiled = (
            one["sides"][name]["peak_mem_bytes"] for name in ("plain", "tuned", "ours", "ours compiled")
        )
        peaks = [plain, tuned, ours, one["predicted_mem_bytes"], compiled]
        rows.append([one["name"], *(f"{peak / 2**20:,.1f}" for peak in peaks)])
    return markdown_table(head, rows)


def run_table(directory: Path) -> str:
    """The rivals that train the same networks as a whole run: their times over that of the run in the same round."""
    found = read(directory / "run.json")
    times = found["seconds"]
    rows = []
    for name in (ONE, BESIDE):
        rounds = [rival / run for rival, run in zip(times[name], times[RUN], strict=True)]
        rows.append([name, with_range(rounds, ".2f"), f"{min(times[name]) / min(times[RUN]):.2f}"])
    table = markdown_table(("", "Its time over the run's", "Shortest over shortest"), rows)
    rounds_and_slots = f"{found['settings']['rounds']} rounds, {found['settings']['slots']} slots"
    return f"{table}\n\n{conditions(found, rounds_and_slots)}"


def spent_table(directory: Path) -> str:
    """Shares of a run's slot-seconds by part: median and range over the rounds."""
    spent = read(directory / "run.json")["spent"]
    shares: dict[str, list[float]] = {}
    for one in spent:
        for part in {part: None for own in spent for part in own["slot_s"]}:
            share = 100 * one["slot_s"].get(part, 0.0) / (one["slots"] * one["wall_s"])
            shares.setdefault(part, []).append(share)
    rows = [[part, with_range(own, ".1f")] for part, own in shares.items()]
    return markdown_table(("Part", "Share of the slot-seconds, %"), rows)


def concurrent_table(directory: Path) -> str:
    """Summed throughput of trainings beside each other, relative to the median of one alone."""
    found = read(directory / "concurrent.json")
    cases = found["concurrent"]
    alone = {one["name"]: one["images_per_s"]["median"] for one in cases if one["processes"] == one["seeds"] == 1}
    rows = []
    for one in cases:
        beside = "alone" if one["processes"] == 1 else f"{one['processes']} processes"
        relative = {key: rate / alone[one["name"]] for key, rate in one["images_per_s"].items()}
        rows.append(
            [
                one["name"],
                beside if one["seeds"] == 1 else f"{one['seeds']} seeds as one program",
                f"{one['threads']}",
                spread(relative, ".2f"),
            ]
        )
    table = markdown_table(("Network", "Trainings", "Threads of each", "Throughput in all, one alone = 1"), rows)
    return f"{table}\n\n{conditions(found)}"


def optimisations_table(directory: Path) -> str:
    """Every optimisation with and without."""
    found = read(directory / "optimisations.json")
    rows = [
        [
            *(one["optimisation"], one["subject"], f"{one['predicted']:.2f}", spread(one["measured"], ".2f")),
            *(one["because"], IN_USE[one["optimisation"]]),
        ]
        for one in found["optimisations"]
    ]
    table = markdown_table(("Optimisation", "On", "Predicted", "Measured", "Prediction from", "In use"), rows)
    return f"{table}\n\n{conditions(found)}"


TABLES: Tables = {
    "train": train_table,
    "memory": memory_table,
    "run": run_table,
    "spent": spent_table,
    "concurrent": concurrent_table,
    "optimisations": optimisations_table,
}
"""What makes each table of the page."""


def ratio(runs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> str:
    """Times of a rival over ours: median of the paired rounds of all runs, range of the runs' medians and minima.

    No interval from the rounds: how runs differ among each other is not seen in the rounds of one of them.
    """
    paired = [[rival / ours for rival, ours in zip(*run, strict=True)] for run in runs]
    medians = [median(rounds) for rounds in paired]
    minima = [min(rival) / min(ours) for rival, ours in runs]
    whole = median([one for rounds in paired for one in rounds])
    return (
        f"{whole:.2f} (runs {min(medians):.2f} to {max(medians):.2f}; "
        f"shortest turns {min(minima):.2f} to {max(minima):.2f})"
    )


def with_range(values: Sequence[float], style: str) -> str:
    """The median of values with their range."""
    return spread({"median": median(values), "low": min(values), "high": max(values)}, style)


def spread(one: Mapping[str, float], style: str) -> str:
    """A median with its range."""
    return f"{one['median']:{style}} ({one['low']:{style}} to {one['high']:{style}})"


def conditions(found: Mapping[str, Any], rounds: str = "") -> str:
    """The line under a table: rounds (in these words), precision, threads, processor and commit."""
    settings, environment = found["settings"], found["environment"]
    rounds = rounds or f"{settings['rounds']} rounds"
    threads = count(settings["threads"], "thread")
    return f"{rounds}; {settings['precision']}, {threads}; {environment['cpu']}, {commit_in_words(environment)}."


def pooled(directory: Path, name: str) -> list[dict[str, Any]]:
    """The measurements of three runs of one command.

    Raises:
        RksearchError: they are not of the same code, settings and CPU.
    """
    found = {f"{name}_{turn}.json": read(directory / f"{name}_{turn}.json") for turn in TURNS}
    (first, base), *others = found.items()
    for file, one in others:
        alike = {
            "commit": same_code(base["environment"], one["environment"]),
            "settings": base["settings"] == one["settings"],
            "CPU": base["environment"]["cpu"] == one["environment"]["cpu"],
        }
        differ = [what for what, same in alike.items() if not same]
        if differ:
            raise RksearchError(
                f"runs in one table must have the same commit, settings and CPU, but {first} and {file} differ in "
                f"{', '.join(differ)}; measure all of them again"
            )
    return list(found.values())


def same_code(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two measurements were made with the same code, as far as their commits say it."""
    first, second = one["commit"], other["commit"]
    if bool(one.get("dirty")) != bool(other.get("dirty")):
        return False
    return first == second or (None not in (first, second) and state_of(first) == state_of(second) is not None)


if __name__ == "__main__":
    sys.exit(main())
