"""What a report of many trainings costs, and that working in blocks changes no number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rksearch.results import fronts, uncertainty
from rksearch.results.fronts import front_band, hypervolume_band
from rksearch.results.ledger import Ledger
from rksearch.results.summaries import by_params, summarise
from rksearch.results.tables import reference, tables
from rksearch.results.uncertainty import draw, front_shares
from tests.helpers.command_line import python
from tests.helpers.ledgers import full_run, large_run

TRAININGS, EPOCHS = 10_000, 30

CPU_S, MEMORY_BYTES = 30.0, 10**9
"""What `rksearch report` may take for that many trainings."""

MEASURED = """
import json, resource, sys
sys.argv = ["rksearch", "report", sys.argv[1], "--json"]
from rksearch.cli import main
try:
    main()
except SystemExit as ended:
    used = resource.getrusage(resource.RUSAGE_SELF)
    bytes_of_unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps([ended.code, used.ru_utime + used.ru_stime, used.ru_maxrss * bytes_of_unit]), file=sys.stderr)
"""


@pytest.mark.timing
def test_the_report_of_ten_thousand_trainings_takes_half_a_minute_of_computing(tmp_path: Path) -> None:
    """Seconds of the processor, so that a busy machine does not fail the test."""
    run = large_run(tmp_path / "run", TRAININGS, epochs=EPOCHS)
    done = python("-c", MEASURED, str(run), timeout_s=600)
    code, cpu_s, peak_bytes = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert cpu_s < CPU_S
    assert peak_bytes < MEMORY_BYTES
    assert (run / "report.html").stat().st_size < 10 * 10**6


def test_a_large_run_has_the_tables_of_its_trainings(tmp_path: Path) -> None:
    history = Ledger(large_run(tmp_path, 300, epochs=3, control=100)).read()
    assert (history.state, history.damaged) == ("finished", 0)
    found = tables(history)
    assert len(found.items) == 304
    assert sum(item.is_searched for item in found.items) == 200
    assert {row.arch: row for row in found.archs} == found.by_name
    assert all(found.row(row.arch) is row for row in found.archs)
    assert found.control is not None


def test_blocks_change_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = full_run(tmp_path).read()
    items = summarise(history)
    searched = [item for item in items if item.is_searched]
    corner = reference(history, items, by_params)

    def everything() -> tuple[object, ...]:
        draws = draw(items, resamples=500)
        errors = draws.of(searched)
        assert np.array_equal(np.concatenate(list(draws.blocks(searched))), errors)
        assert np.array_equal(draws.of(searched, first=7), errors[:7])
        return (
            draws.errors_pct.round(10).tolist(),
            np.round(draws.medians_pct, 10).tolist(),
            front_shares(draws, items, by_params),
            np.round(front_band(errors, 0.9), 10).tolist(),
            hypervolume_band(items, draws, corner),
        )

    whole = everything()
    monkeypatch.setattr(uncertainty, "BLOCK_NUMBERS", 101)
    monkeypatch.setattr(fronts, "BLOCK_COLUMNS", 5)
    blocks = everything()
    assert blocks[:4] == whole[:4]
    assert str(blocks[4])[:60] == str(whole[4])[:60]


def test_a_band_in_blocks_is_that_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.random.default_rng(1).normal(20, 2, (200, 23)).round(1)
    least = np.minimum.accumulate(errors, axis=1)
    whole = front_band(errors, 0.8)
    low, high = (np.array(end) for end in whole)
    assert ((least >= low) & (least <= high)).all(axis=1).mean() >= 0.8
    for block in (1, 2, 22, 23, 400):
        # Depth is counted in every column, whatever is worked on at once.
        monkeypatch.setattr(fronts, "BLOCK_COLUMNS", block)
        assert front_band(errors, 0.8) == whole
