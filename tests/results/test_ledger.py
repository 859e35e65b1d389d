from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.errors import LedgerError
from rksearch.results.environment import Environment
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.records import TestResult
from rksearch.results.run_dir import read_run
from tests.helpers.fuzzing import checked_line
from tests.helpers.ledgers import begin, complete, environment_record, failed, full_run, ticking, trial

ARCHS = ("ResNet-8", "ResNet-14", "DenseNet-10-k4", "DenseNet-BC-16-k8")


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    ledger = begin(tmp_path / "new" / "run", name="a name")
    spec, result = trial("ResNet-8", 1, "baseline"), complete(12.5)
    ledger.write_start(spec.id)
    ledger.write_trial(spec, result, wall_time_s=3.25)
    ledger.write_test(spec, TestResult(test_error_pct=13.5, test_loss=0.4, test_images=100))
    ledger.write_end("finished", "done ✓")
    history = ledger.read()
    assert history.run is not None
    assert history.run.name == "a name"
    assert history.trials == {"ResNet-8@1": (spec, result)}
    assert history.wall_time_s == {"ResNet-8@1": 3.25}
    assert history.tests[0].result.test_error_pct == 13.5
    assert (history.state, history.message, history.damaged, history.running) == ("finished", "done ✓", 0, ())
    assert history.sessions[0].environment == environment_record()
    assert history.sessions[0].duration_s == 4 * 7


def test_every_line_is_strict_json_with_event_and_time(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    result = failed()
    bad = replace(complete(50.0).epochs[0], train_loss=math.nan, val_loss=math.inf)
    ledger.write_trial(trial("ResNet-8"), replace(result, epochs=(bad,)), wall_time_s=1.0)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for line in (tmp_path / FILE_NAME).read_text(encoding="utf-8").splitlines():
        record = json.loads(line, parse_constant=refuse)
        assert record["event"]
        assert record["time"].endswith("Z")
    [(_, read)] = ledger.read().trials.values()
    assert math.isnan(read.epochs[0].train_loss)
    assert math.isnan(read.epochs[0].val_loss)
    assert read.epochs[0].val_error_pct == bad.val_error_pct


def test_the_first_result_of_a_trial_is_final(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    for error in (10.0, 20.0):
        ledger.write_trial(trial("ResNet-8"), complete(error), wall_time_s=error)
    history = ledger.read()
    assert history.trials["ResNet-8@0"][1].epochs[-1].val_error_pct == 10.0
    assert history.wall_time_s["ResNet-8@0"] == 10.0
    assert history.repeated == 1


@pytest.mark.parametrize(("head", "end"), [(b"", b"\r\n"), (b"\xef\xbb\xbf", b"\n"), (b"\xef\xbb\xbf", b"\r\n")])
def test_what_other_systems_put_around_lines_costs_no_record(tmp_path: Path, head: bytes, end: bytes) -> None:
    ledger = full_run(tmp_path)
    before = ledger.read()
    ledger.path.write_bytes(head + ledger.path.read_bytes().replace(b"\n", end))
    assert ledger.read() == before
    assert read_run(tmp_path) == before  # its directory still counts as a run's
    ledger.write_end("interrupted")
    after = ledger.read()
    assert (after.state, after.damage, after.trials) == ("interrupted", (), before.trials)


@pytest.mark.parametrize("twice", [lambda lines: lines * 2, lambda lines: [line for line in lines for _ in "ab"]])
def test_a_ledger_that_was_copied_into_itself_counts_once(
    tmp_path: Path, twice: Callable[[list[bytes]], list[bytes]]
) -> None:
    ledger = full_run(tmp_path)
    ledger.write_test(trial("ResNet-8"), TestResult(test_error_pct=13.5, test_loss=0.4, test_images=100))
    ledger.write_end("finished")
    before, lines = ledger.read(), ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(twice(lines)))
    again = ledger.read()
    assert again.repeated > 0
    assert replace(again, repeated=0) == before


def test_ledgers_of_two_runs_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    first = full_run(tmp_path)
    alone, lines = first.read(), first.path.read_bytes()
    records = [json.loads(line) for line in lines.splitlines()]
    for record in records:
        for part in ("plan", "spec"):
            if part in record:
                record[part]["recipe"]["lr"] = 0.5
    first.path.write_bytes(lines + b"".join(checked_line(record) + b"\n" for record in records))
    both = first.read()
    assert (both.plan, both.trials) == (alone.plan, alone.trials)
    strange = [damage for damage in both.damage if damage.record.startswith(("run", "trial"))]
    assert len(strange) == 1 + len(alone.trials)
    assert strange[0].field == "plan.recipe"
    assert "this one is of another run" in strange[0].reason
    assert {damage.field for damage in strange[1:]} == {"spec.recipe"}


def test_states_follow_the_last_session(tmp_path: Path) -> None:
    assert Ledger(tmp_path).read().state == "empty"
    ledger = begin(tmp_path)
    ledger.write_start("ResNet-8@0")
    ledger.write_start("ResNet-14@0")
    ledger.write_trial(trial("ResNet-8"), complete(10.0), wall_time_s=1.0)
    assert (ledger.read().state, ledger.read().running) == ("running", ("ResNet-14@0",))
    ledger.write_end("interrupted")
    assert (ledger.read().state, ledger.read().running) == ("interrupted", ())
    ledger.write_session(environment=Environment(), options={})
    assert (ledger.read().state, ledger.read().running) == ("running", ())
    ledger.write_start("ResNet-14@0")
    assert ledger.read().running == ("ResNet-14@0",)
    assert ledger.read().started == ("ResNet-8@0", "ResNet-14@0")
    ledger.write_end("failed", "no space left")
    assert (ledger.read().state, ledger.read().message) == ("failed", "no space left")


def test_events_of_later_versions_are_kept_and_ignored(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    before = ledger.read()

    @dataclass
    class Telemetry:
        event: ClassVar[str] = "telemetry"
        reading: tuple[int, ...] = (1, 2)

    ledger.append(Telemetry())  # type: ignore[arg-type]
    after = ledger.read()
    assert (after.damaged, after.run, after.trials) == (0, before.run, before.trials)
    assert '"telemetry"' in (tmp_path / FILE_NAME).read_text()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"\0\0\0\0",
        b'{"event":"trial"}',
        b'{"event":"trial","time":"2026-01-01T00:00:00Z"}',
        b'{"event":"trial","time":"2026-01-01T00:00:00Z","spec":{},"result":{"epochs":[[]]},"wall_time_s":1}',
        b'{"event":"end","time":"2026-01-01T00:00:00Z","state":"bored","message":null}',
        b'{"event":"start","time":"yesterday","trial":"ResNet-8@0"}',
    ],
)
def test_a_damaged_line_is_counted_and_hides_nothing(tmp_path: Path, line: bytes) -> None:
    ledger = begin(tmp_path)
    with ledger.path.open("ab") as file:
        file.write(line + b"\n")
    ledger.write_trial(trial("ResNet-8"), complete(10.0), wall_time_s=1.0)
    history = ledger.read()
    assert history.damaged == 1
    assert list(history.trials) == ["ResNet-8@0"]
    assert history.started == ()


def test_a_complete_result_must_have_error_and_counts(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    good = complete(10.0)
    for bad in (replace(good, epochs=()), replace(good, macs=None)):
        with pytest.raises(LedgerError, match=r"must have .* of ResNet-8@0"):
            ledger.write_trial(trial("ResNet-8"), bad, wall_time_s=1.0)
    assert ledger.read().trials == {}


TRIALS = st.lists(
    st.tuples(st.sampled_from(ARCHS), st.integers(0, 3), st.floats(0, 100), st.booleans()),
    max_size=8,
    unique_by=lambda t: t[:2],
)


@settings(max_examples=60, deadline=None)
@given(TRIALS, st.data())
def test_a_cut_at_any_byte_loses_only_the_torn_record(trials: list[tuple[str, int, float, bool]], data) -> None:
    with TemporaryDirectory() as directory:
        ledger = begin(Path(directory), name="naïve ✓")
        for arch, replicate, error, fails in trials:
            result = failed(message="größer als ∞") if fails else complete(error)
            ledger.write_trial(trial(arch, replicate), result, wall_time_s=error)
        content = ledger.path.read_bytes()
        cut = data.draw(st.integers(0, len(content)), label="cut")
        os.truncate(ledger.path, cut)
        # A record is whole when all its bytes but the line feed are there.
        ends = [i for i, byte in enumerate(content) if byte == ord("\n")]
        whole = sum(end <= cut for end in ends)
        starts = [0, *(end + 1 for end in ends)]
        torn = cut > starts[whole]
        after = trial("ResNet-110", 0)
        ledger.write_trial(after, complete(1.0), wall_time_s=1.0)
        ledger.write_end("finished")
        history = ledger.read()
        kept = [f"{arch}@{replicate}" for arch, replicate, _, _ in trials[: max(0, whole - 2)]]
        assert list(history.trials) == [*kept, after.id]
        for arch, replicate, error, fails in trials[: max(0, whole - 2)]:
            expected = failed(message="größer als ∞") if fails else complete(error)
            assert history.trials[f"{arch}@{replicate}"][1] == expected
        assert history.damaged == int(torn)
        assert (history.run is not None) == (whole >= 1)
        assert history.state == "finished"


def test_a_full_disk_leaves_the_old_records_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = begin(tmp_path)
    before = ledger.path.read_bytes()
    whole_write = os.write

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: whole_write(descriptor, data[:20]))
        with pytest.raises(LedgerError, match=r"bytes fit on the disk.*free some space"):
            ledger.write_start("ResNet-8@0")
    assert ledger.path.read_bytes() == before

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(LedgerError, match="No space left") as caught:
            ledger.write_start("ResNet-8@0")
    assert "\n" not in str(caught.value)
    assert ledger.path.read_bytes() == before
    ledger.write_start("ResNet-8@0")
    assert ledger.read().started == ("ResNet-8@0",)


def test_a_ledger_that_cannot_be_opened_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    ledger = Ledger(tmp_path)
    with pytest.raises(LedgerError, match="must be writable"):
        ledger.write_start("ResNet-8@0")
    with pytest.raises(LedgerError, match="must be readable"):
        ledger.read()


def _append_many(path: str, writer: int) -> None:
    ledger = Ledger(Path(path), clock=ticking())
    for i in range(40):
        ledger.write_retry(f"ResNet-8@{writer}{i:02d}", "x" * 5000)


def test_processes_that_append_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(_append_many, [str(tmp_path)] * 3, range(1, 4)))
    history = Ledger(tmp_path).read()
    assert history.damaged == 0
    assert sorted(history.retried) == sorted(f"ResNet-8@{w}{i:02d}" for w in range(1, 4) for i in range(40))


def test_bytes_that_are_no_text_are_written_by_their_codes(tmp_path: Path) -> None:
    """A path or a plugin's message may hold surrogates, for which UTF-8 has no bytes."""
    ledger = Ledger(tmp_path)
    ledger.write_session(environment=Environment(command=("rksearch", "a\udcff")), options={"out": "a\udcff"})
    ledger.write_trial(trial("ResNet-8"), replace(failed("error"), message="no \ud800 é"), wall_time_s=1.0)
    ledger.write_end("failed", "/tmp/\udcff")
    history = ledger.read()
    assert not history.damage
    assert history.sessions[0].options == {"out": r"a\udcff"}
    assert [result.message for _, result in history.trials.values()] == [r"no \ud800 é"]
    assert (history.state, history.message) == ("failed", r"/tmp/\udcff")
