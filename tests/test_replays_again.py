"""The script that plays committed replays again: what is the same, what differs and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import rksearch
from tests.helpers.tools import tool

again = tool("replays_again")

COMMAND = "bench search --made-up quickstart --strategies random --start same --trainings 4 --repetitions 3"
STRATEGY = "random+smallest"


def test_each_table_has_the_command_of_its_replays() -> None:
    for table, command in again.commands().items():
        assert command.startswith("rksearch bench search --table ")
        assert table in command
        assert "--repetitions 40" in command


def test_a_replay_that_came_out_otherwise_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "commands", lambda: {"made": f"rksearch {COMMAND}"})
    monkeypatch.setattr(again, "COMMITTED", tmp_path)
    committed, to = tmp_path / "made" / "replays.jsonl", tmp_path / "again.json"
    done = rksearch(*COMMAND.split(), "--out", str(committed.parent))
    assert done.returncode == 0, done.stderr

    def found() -> tuple[int, Any]:
        monkeypatch.setattr("sys.argv", ["replays_again.py", "made", "--repetitions", "3", "--to", str(to)])
        code = again.main()
        return code, json.loads(to.read_text())["tables"]["made"]

    assert found() == (0, {"same": 3, "different": [], "missing": [], "strategies": [STRATEGY]})
    head, *lines = map(json.loads, committed.read_text().splitlines())
    first, _, third = sorted(lines, key=lambda line: int(line["replay"]["repetition"]))
    first["replay"]["finished"][0]["val_error_pct"] += 1e-9
    committed.write_text("\n".join(map(json.dumps, (head, first, third))))
    differs, lacks = [[STRATEGY, "same", 0]], [[STRATEGY, "same", 1]]
    assert found() == (1, {"same": 1, "different": differs, "missing": lacks, "strategies": [STRATEGY]})
