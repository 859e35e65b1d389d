"""The script that writes the table of the page on precision: numbers and verdicts are those of the comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rksearch.bench.precision_comparison import summary
from tests.helpers.documents import ROOT
from tests.helpers.tools import tool


def write(
    path: Path, pairs: list[tuple[float, float]], margin_pct: float, images: int | None, **made_with: Any
) -> None:
    found = {
        "dataset": path.stem,
        "recipe": {"name": "short", "epochs": 1},
        "train_images": images,
        "threads": 1,
        "architectures": {"ResNet-8": summary(pairs, margin_pct)},
        "environment": {"cpu": "a CPU", "torch": "2.11.0", "commit": "0123456789" * 4, **made_with},
    }
    path.write_text(json.dumps(found))


def test_a_row_has_errors_differences_and_both_verdicts(tmp_path: Path) -> None:
    write(tmp_path / "digits.json", [(10.0, 11.0), (10.0, 13.0)], 1.0, None)
    write(tmp_path / "cifar10.json", [(60.0, 60.5), (61.0, 61.5), (62.0, 62.5 + 1e-9)], 2.0, 2000)
    table = tool("precision_table").compared_table(tmp_path)
    digits, cifar = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:4])
    # Differences 1 and 3: mean 2, standard error 1, one degree of freedom; t is 12.71 at 95 % and 6.31 at 90 %.
    assert digits[:5] == [
        "digits, recipe `short`, 1 epoch",
        "ResNet-8",
        "10.00, 10.00",
        "11.00, 13.00",
        "+2.00 (−10.71 to +14.71)",
    ]
    assert digits[5:] == ["none found", "−4.31 to +8.31", "1", "not shown", "about 14.1 points"]
    assert cifar[0] == "cifar10, 2,000 training images, recipe `short`, 1 epoch"
    assert cifar[4:9] == ["+0.50 (+0.50 to +0.50)", "found", "+0.50 to +0.50", "2", "shown"]


def test_the_line_under_the_table_says_what_the_commits_leave_open(tmp_path: Path) -> None:
    write(tmp_path / "digits.json", [(10.0, 11.0), (10.0, 13.0)], 1.0, None, dirty=True)
    write(tmp_path / "cifar10.json", [(60.0, 60.5), (61.0, 61.5)], 2.0, 2000, commit=None, dirty=None)
    table = tool("precision_table").compared_table(tmp_path)
    assert table.endswith(
        "\n\ndigits: 1 thread, a CPU, torch 2.11.0, commit 0123456, with uncommitted changes; "
        "cifar10: 1 thread, a CPU, torch 2.11.0, no commit."
    )


@pytest.mark.parametrize("name", ["performance", "precision"])
def test_committed_pages_have_the_tables_of_the_measurements_beside_them(name: str) -> None:
    page = ROOT / "reports" / name / "README.md"
    text = page.read_text(encoding="utf-8")
    module = tool({"performance": "performance_tables", "precision": "precision_table"}[name])
    assert tool("pages").filled(text, page.parent, module.TABLES) == text
