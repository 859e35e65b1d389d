"""The script that writes the tables of the page on performance: numbers are those of the measurements."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from rksearch.arch import parse
from rksearch.bench.optimisations import _pairs
from rksearch.bench.settings import BenchSettings
from rksearch.data.facts import dataset
from rksearch.errors import RksearchError
from rksearch.training.throughput import ImageSource
from tests.helpers.tools import tool


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return tool("performance_tables")


COMMIT = "0123456789" * 4
ENVIRONMENT = {"commit": COMMIT, "cpu": "a CPU"}
SETTINGS = {"precision": "fp32", "threads": 2, "rounds": 2, "steps": 4, "slots": 2}
UNDER = "fp32, 2 threads; a CPU, commit 0123456."


def side(seconds: list[float], mib: float, prepare_s: float = 0.0) -> dict[str, Any]:
    return {"turns_s": seconds, "peak_mem_bytes": mib * 2**20, "prepare_s": prepare_s}


def write(path: Path, **found: Any) -> None:
    path.write_text(json.dumps({"settings": SETTINGS, "environment": ENVIRONMENT, **found}))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Three runs: the plain loop takes 4 s a turn, the tuned one 3, 3 and 2 times ours, compiled ones half of it."""
    for turn, factor in ((1, 3.0), (2, 3.0), (3, 2.0)):
        sides = {
            "plain": side([4.0, 4.0], 8),
            "tuned": side([factor, factor + 1], 6),
            "ours": side([1.0, 1.0], 5),
            "tuned compiled": side([0.75, 0.75], 4),
            "ours compiled": side([0.5, 0.5], 3, 10.0 * turn),
        }
        network = {"name": "ResNet-8", "steps": 4, "sides": sides, "predicted_mem_bytes": 5.5 * 2**20}
        write(tmp_path / f"train_{turn}.json", networks=[network])
    seconds = {
        "run": [100.0, 200.0, 100.0],
        "one loop": [150.0, 320.0, 140.0],
        "loops beside each other": [120.0, 220.0, 90.0],
    }
    spent = [
        {"wall_s": 100.0, "slots": 2, "slot_s": {"command to Ray": 20.0, "training": 160.0 + turn}}
        for turn in (1, 2, 3)
    ]
    write(tmp_path / "run.json", seconds=seconds, spent=spent)
    rate = {"median": 1000.0, "low": 900.0, "high": 1100.0}
    faster = {key: 1.5 * value for key, value in rate.items()}
    concurrent = [
        {"name": "a", "processes": p, "seeds": s, "threads": t, "images_per_s": of}
        for p, s, t, of in ((1, 1, 2, rate), (2, 1, 1, faster), (1, 4, 2, rate))
    ]
    write(tmp_path / "concurrent.json", concurrent=concurrent)
    optimisation = {
        "optimisation": "bf16", "subject": "a", "predicted": 2, "because": "bytes",
        "measured": {"median": 1.5, "low": 1.4, "high": 1.6},
    }  # fmt: skip
    write(tmp_path / "optimisations.json", optimisations=[optimisation])
    return tmp_path


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_ratios_are_of_paired_rounds_with_the_range_of_the_runs(tables: ModuleType, measured: Path) -> None:
    table = tables.train_table(measured)
    (row,) = rows(table)
    assert row == [
        "ResNet-8",
        "4.00 (runs 4.00 to 4.00; shortest turns 4.00 to 4.00)",
        "3.00 (runs 2.50 to 3.50; shortest turns 2.00 to 3.00)",
        "8.00 (runs 8.00 to 8.00; shortest turns 8.00 to 8.00)",
        "1.50 (runs 1.50 to 1.50; shortest turns 1.50 to 1.50)",
        "80 (40 to 120)",
    ]
    assert table.endswith(f"\n\n3 runs of 2 rounds, turns of 4 steps; {UNDER}")
    assert rows(tables.memory_table(measured)) == [["ResNet-8", "8.0", "6.0", "5.0", "5.5", "3.0"]]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"environment": {"commit": "f" * 40, "cpu": "a CPU"}}, "commit"),
        ({"environment": {"commit": None, "cpu": "a CPU"}}, "commit"),
        ({"environment": {"commit": COMMIT, "dirty": True, "cpu": "a CPU"}}, "commit"),
        ({"environment": {"commit": COMMIT, "cpu": "another"}}, "CPU"),
        (
            {"settings": {**SETTINGS, "precision": "bf16"}, "environment": {"commit": COMMIT, "cpu": "b"}},
            "settings, CPU",
        ),
    ],
)
def test_runs_of_different_things_are_not_pooled(
    changed: dict[str, Any], what: str, tables: ModuleType, measured: Path
) -> None:
    write(measured / "train_2.json", networks=[], **changed)
    with pytest.raises(RksearchError, match=f"but train_1.json and train_2.json differ in {what};"):
        tables.train_table(measured)


@pytest.mark.parametrize(
    ("made_with", "words"),
    [
        ({"commit": None, "dirty": None}, "a CPU, no commit."),
        ({"commit": COMMIT, "dirty": True}, "a CPU, commit 0123456, with uncommitted changes."),
    ],
)
def test_measurements_say_what_their_commit_leaves_open(
    made_with: dict[str, Any], words: str, tables: ModuleType, measured: Path
) -> None:
    for file in measured.glob("train_*.json"):
        found = json.loads(file.read_text())
        file.write_text(json.dumps({**found, "environment": {**ENVIRONMENT, **made_with}}))
    assert tables.train_table(measured).endswith(f"3 runs of 2 rounds, turns of 4 steps; fp32, 2 threads; {words}")


def test_later_commits_with_the_same_code_are_pooled(
    tables: ModuleType, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "state_of", lambda commit: "the code")
    file = measured / "train_2.json"
    found = json.loads(file.read_text())
    found["environment"]["commit"] = "f" * 40
    file.write_text(json.dumps(found))
    assert len(tables.pooled(measured, "train")) == 3


def test_a_whole_run_stands_beside_its_rivals(tables: ModuleType, measured: Path) -> None:
    table = tables.run_table(measured)
    assert rows(table) == [
        ["one loop", "1.50 (1.40 to 1.60)", "1.40"],
        ["loops beside each other", "1.10 (0.90 to 1.20)", "0.90"],
    ]
    assert table.endswith(f"\n\n2 rounds, 2 slots; {UNDER}")
    assert rows(tables.spent_table(measured)) == [
        ["command to Ray", "10.0 (10.0 to 10.0)"],
        ["training", "81.0 (80.5 to 81.5)"],
    ]


def test_trainings_beside_each_other_and_optimisations(tables: ModuleType, measured: Path) -> None:
    assert rows(tables.concurrent_table(measured)) == [
        ["a", "alone", "2", "1.00 (0.90 to 1.10)"],
        ["a", "2 processes", "1", "1.50 (1.35 to 1.65)"],
        ["a", "4 seeds as one program", "2", "1.00 (0.90 to 1.10)"],
    ]
    assert rows(tables.optimisations_table(measured)) == [
        ["bf16", "a", "2.00", "1.50 (1.40 to 1.60)", "bytes", "yes, where native"]
    ]


def test_the_table_says_of_each_optimisation_whether_it_is_in_use(tables: ModuleType) -> None:
    settings = BenchSettings(device=torch.device("cpu"), precision="bf16", batch_size=2)
    source = ImageSource(dataset("digits"), None, 0)
    pairs = _pairs([parse("DenseNet-BC-16-k4")], source, settings)
    not_made_here = {"compile", "CUDA graph", "fused concat-BN-ReLU-1x1 (compiled block)", "freed memory kept"}
    assert {pair.optimisation for pair in pairs} | not_made_here == set(tables.IN_USE)


def test_a_page_keeps_its_words_and_gets_its_tables(tables: ModuleType, measured: Path) -> None:
    pages = tool("pages")
    page = "Words.\n\n<!-- table memory -->\nold\n<!-- end -->\n\nMore.\n<!-- table run -->\n<!-- end -->\n"
    filled = pages.filled(page, measured, tables.TABLES)
    assert filled.startswith("Words.\n\n<!-- table memory -->\n| Network |")
    assert "\n<!-- end -->\n\nMore.\n<!-- table run -->\n|  | Its time over the run's |" in filled
    assert "old" not in filled
    assert pages.filled(filled, measured, tables.TABLES) == filled
    with pytest.raises(KeyError):
        pages.filled("<!-- table none -->\n<!-- end -->", measured, tables.TABLES)
    with pytest.raises(RksearchError, match="the page must have `<!-- table NAME -->`"):
        pages.filled("Words.\n", measured, tables.TABLES)
    (measured / "run.json").unlink()
    with pytest.raises(RksearchError, match=r"tables need run\.json, which is missing"):
        pages.filled(page, measured, tables.TABLES)
