"""Damage to a ledger: each flipped bit is seen, later versions are read, and commands name file, line and field."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.results.history import History, HistoryReader
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.lines import DamagedLineError, read_line
from rksearch.results.records import TestResult
from tests.helpers.ledgers import begin, complete, failed, pruned, trial


def dozen(run_dir: Path) -> bytes:
    """The content of a ledger of twelve records of every common kind."""
    ledger = begin(run_dir)
    ledger.write_start("ResNet-8@0")
    ledger.write_trial(trial("ResNet-8", 0, "baseline"), complete(20.0, epochs=2), wall_time_s=3.25)
    ledger.write_start("ResNet-14@0")
    ledger.write_trial(trial("ResNet-14"), failed(message="naïve ✓"), wall_time_s=1.0)
    ledger.write_start("ResNet-20@0")
    ledger.write_trial(trial("ResNet-20"), pruned(30.0, epochs=1), wall_time_s=2.0, cpus=1.0)
    ledger.write_retry("ResNet-26@0", "out of memory")
    ledger.write_test(trial("ResNet-8"), TestResult(test_error_pct=21.5, test_loss=0.4, test_images=100))
    ledger.write_start("ResNet-26@0")
    ledger.write_end("interrupted", "ctrl-C")
    content = ledger.path.read_bytes()
    assert content.count(b"\n") == 12
    return content


def read(content: bytes) -> History:
    reader = HistoryReader()
    for line in content.split(b"\n"):
        reader.take(line)
    return reader.history()


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_flipped_bit_of_a_record_is_damage(tmp_path: Path) -> None:
    for line in dozen(tmp_path).splitlines():
        read_line(line)
        for bit in range(8 * len(line)):
            # A byte that becomes a line feed leaves two lines, and neither is a record.
            for piece in flipped(line, bit).split(b"\n"):
                with pytest.raises(DamagedLineError):
                    read_line(piece)


def test_a_flipped_line_feed_costs_the_two_records_beside_it_and_no_other(tmp_path: Path) -> None:
    content = dozen(tmp_path)
    lines = content.splitlines()
    ends = [i for i, byte in enumerate(content) if byte == ord("\n")]
    for number, end in enumerate(ends, 1):
        for bit in range(8):
            history = read(flipped(content, 8 * end + bit))
            assert [damage.line for damage in history.damage] == [number]
            others = read(b"\n".join([*lines[: number - 1], *lines[number + 1 :]]))
            assert known(history) == known(others)


def known(history: History) -> tuple[object, ...]:
    """Everything that a history says of trials, plan and tests."""
    return (history.plans, history.trials, history.retried, history.tests, history.started, history.wall_time_s)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_reported_with_its_line_and_changes_no_other_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = dozen(tmp_path_factory.mktemp("run"))
    lines = content.splitlines()
    number = data.draw(st.integers(1, len(lines)), label="line")
    bit = data.draw(st.integers(0, 8 * len(lines[number - 1]) - 1), label="bit")
    line = flipped(lines[number - 1], bit)
    history = read(b"\n".join([*lines[: number - 1], line, *lines[number:]]))
    assert {damage.line for damage in history.damage} == set(range(number, number + 1 + line.count(b"\n")))
    assert known(history) == known(read(b"\n".join([*lines[: number - 1], *lines[number:]])))


RECORDS = (
    (),
    ("plan",),
    ("plan", "recipe"),
    ("space",),
    ("space", "budgets"),
    ("space", "smallest"),
    ("environment",),
    ("spec",),
    ("spec", "recipe"),
    ("result",),
    ("result", "epochs", 0),
)
"""Paths of the records within a line; what else is a JSON object maps names that are free to choose."""


def signed(record: dict[str, Any]) -> bytes:
    """A line of schema 2 or later, with its checksum."""
    body = json.dumps({"schema": 2, **record}, separators=(",", ":"), ensure_ascii=False).encode()
    return body[:-1] + b',"crc":"%08x"}' % zlib.crc32(body)


@pytest.mark.parametrize("schema", [2, 3])
def test_keys_of_a_later_version_are_ignored_and_kept(tmp_path: Path, schema: int) -> None:
    content = dozen(tmp_path)
    lines = []
    for line in content.splitlines():
        record = json.loads(line)
        del record["crc"]
        record["schema"] = schema
        for path in RECORDS:
            value: Any = record
            for key in path:
                value = value.get(key) if isinstance(value, dict) else (value or [None])[0]
            if isinstance(value, dict):
                value["later"] = {"of": ["a", None, 1.5]}
        lines.append(signed(record))
    later = b"\n".join(lines) + b"\n"
    assert read(later) == read(content)
    (tmp_path / FILE_NAME).write_bytes(later)
    Ledger(tmp_path).write_start("ResNet-32@0")
    assert (tmp_path / FILE_NAME).read_bytes().startswith(later)


def test_an_event_of_a_later_version_is_ignored_and_kept(tmp_path: Path) -> None:
    content = dozen(tmp_path)
    event = signed({"schema": 3, "event": "telemetry", "time": "2026-02-01T00:00:00Z", "watts": [1, 2]})
    (tmp_path / FILE_NAME).write_bytes(event + b"\n" + content)
    history = Ledger(tmp_path).read()
    assert (history.damage, known(history)) == ((), known(read(content)))
    assert [(item.line, item.record, item.missing) for item in history.unknown] == [(1, "telemetry", ())]
    Ledger(tmp_path).write_start("ResNet-32@0")
    assert (tmp_path / FILE_NAME).read_bytes().startswith(event + b"\n" + content)


def test_a_record_of_a_later_schema_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    content = dozen(tmp_path)
    lines = content.splitlines()
    record = json.loads(lines[3])
    del record["crc"]
    record["schema"], record["result"]["params"] = 3, {"trained": 12}
    history = read(b"\n".join([*lines[:3], signed(record), *lines[4:]]))
    [damage] = history.damage
    assert (damage.line, damage.field) == (4, "result.params")
    assert damage.reason.endswith("(a later version wrote it, with schema 3; install that)")
    assert len(history.trials) == len(read(content).trials) - 1


@pytest.mark.parametrize("schema", [0, -1, True, "2", None, 2.5, [2]])
def test_a_schema_that_is_no_number_is_damage(tmp_path: Path, schema: object) -> None:
    line = signed({"schema": schema, "event": "start", "time": "2026-02-01T00:00:00Z", "trial": "ResNet-8@0"})
    with pytest.raises(DamagedLineError, match="schema is"):
        read_line(line)


def test_the_words_of_a_damaged_line_are_no_commands_to_a_terminal() -> None:
    reader = HistoryReader()
    reader.take(signed({"event": "trial\x1b]0;title\x07", "time": "2026-02-01T00:00:00Z"}))
    reader.take(signed({"event": "start", "trial": "\x1b[2J@0", "time": "2026-02-01T00:00:00Z"}))
    history = reader.history()
    text = " ".join(map(str, (*history.damage, *history.unknown)))
    assert "\x1b" not in text
