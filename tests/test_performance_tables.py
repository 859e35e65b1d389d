"""The script that writes the tables of the page on performance: numbers are those of the measurements."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.tools import tool


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return tool("performance_tables")


def side(seconds: list[float], mib: float) -> dict[str, Any]:
    return {"turns_s": seconds, "peak_mem_bytes": mib * 2**20}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Three runs: the plain loop takes 4 s a turn, the tuned one 3, 3 and 2 times ours, compiled ones half of it."""
    for turn, factor in ((1, 3.0), (2, 3.0), (3, 2.0)):
        sides = {
            "plain": side([4.0, 4.0], 8),
            "tuned": side([factor, factor], 6),
            "ours": side([1.0, 1.0], 5),
            "tuned compiled": side([0.75, 0.75], 4),
            "ours compiled": side([0.5, 0.5], 3),
        }
        network = {"name": "ResNet-8", "sides": sides, "predicted_mem_bytes": 5.5 * 2**20}
        (tmp_path / f"train_{turn}.json").write_text(json.dumps({"networks": [network]}))
        seconds = {"run": [100.0], "one loop": [150.0], "loops beside each other": [110.0 + 10 * turn]}
        spent = [{"wall_s": 100.0, "slots": 2, "slot_s": {"command to Ray": 20.0, "training": 160.0 + turn}}]
        (tmp_path / f"run_{turn}.json").write_text(json.dumps({"seconds": seconds, "spent": spent}))
    rate = {"median": 1000.0, "low": 900.0, "high": 1100.0}
    cases = [(1, 1, 2, 1.0), (2, 1, 1, 1.5), (1, 4, 2, 0.9)]
    concurrent = [
        {"name": "a", "processes": p, "seeds": s, "threads": t, "images_per_s": rate, "times_one": o}
        for p, s, t, o in cases
    ]
    (tmp_path / "concurrent.json").write_text(json.dumps({"concurrent": concurrent}))
    optimisation = {
        "optimisation": "bf16", "subject": "a", "predicted": 2, "because": "bytes",
        "measured": {"median": 1.5, "low": 1.4, "high": 1.6},
    }  # fmt: skip
    (tmp_path / "optimisations.json").write_text(json.dumps({"optimisations": [optimisation]}))
    return tmp_path


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_ratios_are_of_paired_rounds_with_the_range_of_the_runs(tables: ModuleType, measured: Path) -> None:
    (row,) = rows(tables.train_table(measured))
    assert row[0] == "ResNet-8"
    assert row[1] == "4.00 (4.00 to 4.00; runs 4.00 to 4.00)"
    assert row[2].startswith("3.00 (")
    assert row[2].endswith("runs 2.00 to 3.00)")
    assert row[3].startswith("8.00 (")
    assert row[4] == "1.50 (1.50 to 1.50; runs 1.50 to 1.50)"
    assert rows(tables.memory_table(measured)) == [["ResNet-8", "8.0", "6.0", "5.0", "5.5", "3.0"]]


def test_a_whole_run_stands_beside_its_rivals(tables: ModuleType, measured: Path) -> None:
    run, one, beside = rows(tables.run_table(measured))
    assert run == ["run", "100", "100", "100", "–"]
    assert one == ["one loop", "150", "150", "150", "1.50 (1.50 to 1.50; runs 1.50 to 1.50)"]
    assert beside[1:4] == ["120", "130", "140"]
    assert beside[4].startswith("1.30 (")
    assert beside[4].endswith("runs 1.20 to 1.40)")
    assert rows(tables.spent_table(measured)) == [
        ["command to Ray", "10.0 (10.0 to 10.0)"],
        ["training", "81.0 (80.5 to 81.5)"],
    ]


def test_trainings_beside_each_other_and_optimisations(tables: ModuleType, measured: Path) -> None:
    assert rows(tables.concurrent_table(measured)) == [
        ["a", "alone", "2", "1,000 (900 to 1,100)", "1.00"],
        ["a", "2 processes", "1", "1,000 (900 to 1,100)", "1.50"],
        ["a", "4 seeds as one program", "2", "1,000 (900 to 1,100)", "0.90"],
    ]
    assert rows(tables.optimisations_table(measured)) == [["bf16", "a", "2.00", "1.50 (1.40 to 1.60)", "bytes"]]


def test_a_page_keeps_its_words_and_gets_its_tables(tables: ModuleType, measured: Path) -> None:
    page = "Words.\n\n<!-- table memory -->\nold\n<!-- end -->\n\nMore.\n<!-- table run -->\n<!-- end -->\n"
    filled = tables.filled(page, measured)
    assert filled.startswith("Words.\n\n<!-- table memory -->\n| Network |")
    assert "\n<!-- end -->\n\nMore.\n<!-- table run -->\n|  | Run 1, s |" in filled
    assert "old" not in filled
    assert tables.filled(filled, measured) == filled
    with pytest.raises(KeyError):
        tables.filled("<!-- table none -->\n<!-- end -->", measured)
