"""What a report says: verdict, findings, tables and notes, from ledgers of our making."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rksearch.report.choices import choices_summary
from rksearch.report.content import report_content
from rksearch.report.markdown import report_markdown
from rksearch.report.page_data import page_data
from rksearch.report.prose import hypervolume_sentence, limitations
from rksearch.report.sections import (
    BulletList,
    CodeBlock,
    FactList,
    FigureSlot,
    Fold,
    Paragraph,
    ReportContent,
    ReportTable,
)
from rksearch.report.status import format_status, status_json
from rksearch.results.contrasts import Effect
from rksearch.results.dominance import Reference
from rksearch.results.fronts import HypervolumeBand
from rksearch.results.history import History
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.lines import sealed
from rksearch.results.own_files import is_own_readme
from rksearch.results.records import Role, TestResult
from rksearch.results.status import run_status
from rksearch.results.summaries import summarise
from rksearch.results.tables import tables
from tests.helpers.ledgers import (
    begin,
    candidates,
    complete,
    environment_record,
    full_run,
    plan_record,
    pruned,
    space_record,
    ticking,
    trial,
)

SMALL, LARGE, THIRD = (spec.name for spec in candidates(3))

Made = tuple[str, Role, int, int, Sequence[float], Sequence[float]]
"""Name, role, parameters, MACs, validation errors and test errors by seed."""


def recorded(path: Path, made: Sequence[Made]) -> History:
    ledger = begin(path)
    for arch, role, params, macs, errors, tests in made:
        for replicate, error in enumerate(errors):
            asked = trial(arch, replicate, role)
            ledger.write_trial(asked, complete(error, params=params, macs=macs), wall_time_s=1.0)
            if tests:
                outcome = TestResult(test_error_pct=tests[replicate], test_loss=1.0, test_images=10_000)
                ledger.write_test(asked, outcome)
    ledger.write_end("finished")
    return ledger.read()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A finished run with baselines, further seeds, failures and readings of the test set."""
    path = tmp_path_factory.mktemp("runs") / "full"
    full_run(path)
    return Ledger(path).read()


def said(history: History) -> ReportContent:
    return report_content(history, tables(history))


def seeds(error: float) -> list[float]:
    return [error - 0.2, error, error + 0.2]


def table(content: ReportContent, section: str, id: str) -> ReportTable:
    found = content.section(section)
    assert found is not None
    return next(b for b in found.blocks if isinstance(b, ReportTable) and b.id == id)


def cells(found: ReportTable) -> list[dict[str, list[str]]]:
    rows = []
    for row in found.rows:
        assert len(row.cells) == len(found.columns)
        shown: dict[str, list[str]] = {}
        for column, cell in zip(found.columns, row.cells, strict=True):
            shown.setdefault(column.label, []).append(cell.text)
        rows.append(shown)
    return rows


def test_a_win_by_parameters_that_costs_more_macs_is_half_a_win(tmp_path: Path) -> None:
    history = recorded(
        tmp_path,
        [
            ("ResNet-8", "baseline", 12_000, 1_000_000, seeds(20), ()),
            (SMALL, "candidate", 10_800, 3_400_000, seeds(15), ()),
            (LARGE, "candidate", 20_000, 900_000, seeds(30), ()),
        ],
    )
    content = said(history)
    assert [line.text for line in content.verdict] == [
        "1 of 2 Runge-Kutta networks stands alone on the front: 10.8k parameters at 15.00 % validation error.",
        "Against 1 baseline at no more parameters: 1 win (with more MACs). At no more MACs: 1 loss.",
        "The test set has not been read.",
    ]
    assert (
        f"{SMALL} beats ResNet-8 by 5.00 points with 0.90 times its parameters and 3.40 times its MACs."
        in content.details
    )
    first, _ = cells(table(content, "ladder", "ladder-params"))
    assert (first["Result"], first["MACs"], first["Runge-Kutta network"]) == (["half win"], ["3.40M", "1.00M"], [SMALL])
    by_macs = cells(table(content, "ladder", "ladder-macs"))
    assert [row["Result"] for row in by_macs] == [["–"], ["loss"], ["–"]]
    assert by_macs[1]["Runge-Kutta network"] == [LARGE]
    (row,) = table(content, "baselines", "baselines-params").rows
    assert row.tone == "half-win"


def test_test_gaps_stand_beside_validation_gaps_and_what_they_do_not_bear_is_said(tmp_path: Path) -> None:
    history = recorded(
        tmp_path,
        [
            ("ResNet-8", "baseline", 12_000, 1_000_000, seeds(20), seeds(20)),
            (SMALL, "candidate", 10_800, 900_000, seeds(15), seeds(20.5)),
        ],
    )
    content = said(history)
    assert content.verdict[2].text == (
        "Confirmed on the test set: 0 of 1 win at no more parameters and 0 of 1 win at no more MACs. It shows 1 loss "
        "at no more parameters and 1 loss at no more MACs."
    )
    assert content.verdict[2].tone == "warning"
    gaps = re.compile(r"beats ResNet-8 at no more parameters on the validation images \(−5\.00 \(−[\d.]+ to −[\d.]+\) ")
    assert gaps.search(content.details[0])
    assert "and not on the test set (+0.50 (" in content.details[0]
    (row,) = cells(table(content, "ladder", "ladder-params"))
    assert row["Result"] == ["win, not on test"]
    assert row["Test gap (95 %), points"][0].startswith("+0.50 (")
    (row,) = cells(table(content, "baselines", "baselines-params"))
    assert (row["Test error"], row["Baseline's test error"]) == (["20.50 ± 0.20 %"], ["20.00 ± 0.20 %"])
    state = run_status(history)
    assert [line.text for line in content.verdict] == status_json(state)["verdict"]
    assert status_json(state)["baselines"][0]["test"]["gap_pct"] == pytest.approx(0.5)
    for line in content.verdict:
        assert line.text in format_status(state)
        assert line.text in report_markdown(content).replace("\\", "")


def test_losses_on_the_test_set_stand_beside_what_it_confirms(tmp_path: Path) -> None:
    history = recorded(
        tmp_path,
        [
            ("ResNet-8", "baseline", 12_000, 1_000_000, seeds(20), seeds(20)),
            ("ResNet-14", "baseline", 22_000, 1_900_000, seeds(15), seeds(9)),
            (SMALL, "candidate", 10_800, 900_000, seeds(15), seeds(15)),
        ],
    )
    line = said(history).verdict[2]
    assert line.text == (
        "Confirmed on the test set: 1 of 1 win at no more parameters and 1 of 1 win at no more MACs. It shows 1 loss "
        "at no more parameters and 1 loss at no more MACs."
    )
    assert line.tone == "warning"


def test_a_half_win_that_the_test_set_does_not_bear_is_not_called_one(tmp_path: Path) -> None:
    def details(tests: Sequence[float]) -> str:
        history = recorded(
            tmp_path / str(tests[0]),
            [
                ("ResNet-8", "baseline", 12_000, 1_000_000, seeds(20), seeds(20)),
                (SMALL, "candidate", 10_800, 3_400_000, seeds(15), tests),
            ],
        )
        return "\n".join(said(history).details)

    beats = f"{SMALL} beats ResNet-8 by 5.00 points with 0.90 times its parameters"
    assert beats in details(seeds(15))
    assert beats not in (borne := details(seeds(20.5)))
    assert "and not on the test set" in borne


def test_as_many_errors_are_a_tie(tmp_path: Path) -> None:
    errors = [100 * wrong / 5_000 for wrong in (31, 31, 31)]
    other = [100 * wrong / 5_000 for wrong in (30, 31, 32)]
    content = said(
        recorded(
            tmp_path,
            [
                ("ResNet-8", "baseline", 12_000, 1_000_000, errors, ()),
                (SMALL, "candidate", 10_800, 900_000, other, ()),
            ],
        )
    )
    assert "at no more parameters: 1 tie. At no more MACs: 1 tie." in content.verdict[1].text
    assert "No baseline dominates a network on the front." in content.details


def test_the_smallest_network_is_no_evidence_and_counts_are_those_shown(full: History) -> None:
    history = full
    derived = tables(history)
    content = report_content(history, derived)
    shown = {row["Architecture"][0]: row["P(front)"][0] for row in cells(table(content, "front", "front"))}
    first, *others = derived.front
    assert shown[first.item.arch] == "smallest"
    assert "smallest" not in [shown[row.item.arch] for row in others]
    sure = sum(int(re.sub(r"\D", "", shown[row.item.arch])) >= 90 for row in others)
    sentence = next(s for s in content.details if "P(front)" in s)
    assert sentence.startswith(f"Of the {len(others)} networks on the front beyond the smallest, {sure} ha")
    page = report_markdown(content)
    assert "among the networks trained and given these seeds" in page
    assert "among the networks trained and given these seeds" in format_status(run_status(history))
    # Terminal, JSON and tables show one set of draws.
    entries = {entry["name"]: entry for entry in status_json(run_status(history))["front"]}
    for row in derived.front:
        assert entries[row.item.arch]["p_front"] == derived.row(row.item.arch).p_front
    assert [e["smallest"] for e in entries.values()] == [True] + [False] * len(others)


def made(p_adjusted: float | None, design: str, answer: str, factor: str = "stages s") -> Effect:
    return Effect(
        factor=factor,
        period=1,
        before="1",
        after="2",
        design=design,  # type: ignore[arg-type]
        pairs=40,
        archs_before=10,
        archs_after=10,
        odds_ratio=0.8 if answer == "fewer errors" else 1.3,
        low=0.7,
        high=0.9,
        low_adjusted=0.6,
        high_adjusted=0.95 if answer == "fewer errors" else 1.4,
        params_ratio=1.0,
        macs_ratio=1.0,
        answer=answer,  # type: ignore[arg-type]
        p_value=p_adjusted,
        p_adjusted=p_adjusted,
    )


def test_the_lead_names_what_is_significant_after_correction_by_both_budgets() -> None:
    found = choices_summary(
        [
            made(0.01, "equal parameters", "fewer errors"),
            made(0.2, "equal parameters", "not distinguishable", "multiple m"),
            made(0.04, "equal MACs", "more errors"),
            made(0.001, "all else equal", "fewer errors", "sharing"),
        ]
    )
    assert found.startswith(
        "At equal parameters, fewer errors: stages s, period 1: 1 to 2 (×\u00a00.80). At equal MACs, "
    )
    assert "multiple m" not in found
    assert "sharing" not in found
    assert "for 3 comparisons (Bonferroni, 5 %)" in found
    nothing = choices_summary([made(0.2, "equal parameters", "not distinguishable")])
    assert nothing == "The one comparison at equal budget is not significant (5 %)."


def test_networks_that_racing_stopped_are_said_to_be_missing_from_the_effects(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_trial(trial(SMALL), complete(10.0), wall_time_s=1.0)
    ledger.write_trial(trial(LARGE), pruned(50.0), wall_time_s=1.0)
    section = said(ledger.read()).section("choices")
    assert section is not None
    words = " ".join(b.text for b in section.blocks if isinstance(b, Paragraph))
    assert "1 network that racing stopped early is missing here." in words


def test_test_errors_of_the_search_s_trainings_share_the_luck_by_which_the_front_was_picked(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_trial(trial(SMALL), complete(10.0), wall_time_s=1.0)

    def optimism() -> str:
        history = ledger.read()
        (found,) = [note for note in limitations(history, tables(history)) if "optimistic" in note]
        return found

    assert "test errors" not in optimism().lower(), "none was read"
    read = TestResult(test_error_pct=11.0, test_loss=0.4, test_images=10_000)
    ledger.write_test(trial(SMALL), read)
    assert "the luck of their seeds is in both errors; rksearch final --fresh N" in optimism()
    fresh = trial(SMALL, 0, "final")
    ledger.write_trial(fresh, complete(10.0), wall_time_s=1.0)
    assert "in both" in optimism(), "a training for the test that it was not read with changes nothing"
    ledger.write_test(fresh, read)
    assert optimism().endswith("test errors are not picked: images and trainings are new.")


def test_control_networks_are_called_control_and_judged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, clock=ticking())
    ledger.write_run(name="controlled", space=space_record(), plan=plan_record(control=True))
    ledger.write_session(environment=environment_record(), options={})
    section = said(ledger.read()).section("control")
    assert section is not None
    ledger.write_trial(trial("ResNet-8", 0, "baseline"), complete(20.0), wall_time_s=8.0)
    for replicate in range(2):
        for i, spec in enumerate(candidates(12)):
            role: Role = "control" if i % 2 else "candidate"
            done = complete(40 - i / 2 + replicate + 20 * (i % 2), params=20_000 + 2_000 * i)
            ledger.write_trial(trial(spec.name, replicate, role), done, wall_time_s=8.0)
        if replicate == 0:  # the distance is known by then, what chance makes of it is not
            early = " ".join(said(ledger.read()).details)
            assert "Search and random search are not judged while no network has a second seed. At equal size" in early
    content = said(ledger.read())
    assert content.key_figures[0].note == "beside 1 baseline and 6 control networks"
    section = content.section("control")
    assert section is not None
    (words,) = section.blocks
    assert isinstance(words, Paragraph)
    assert words.text.startswith("The search did better than random search.")
    assert re.search(r"lies \+1\d\.\d\d \(\+1?\d\.\d\d to \+\d\d\.\d\d\) points", words.text)
    assert "With 48 epochs each, the search had trained 6 networks and random search 6." in words.text
    assert words.text.split(" Networks dealt")[0] in " ".join(content.details)


def test_the_hypervolume_sentence_holds_whichever_number_is_larger() -> None:
    for means in (100.0, 120.0, 140.0):
        found = HypervolumeBand(
            of_means=means, expected=120.0, band=(110.0, 130.0), reference=Reference(cost=1_000, error_pct=90)
        )
        words = hypervolume_sentence(found, "parameters")
        assert "120.00 by the draws of true errors (median; 90 % of them lie from 110.00 to 130.00)" in words
        assert f"{means:.2f} by the mean errors" in words
        assert "luck" not in words
    assert "too few seeds" in hypervolume_sentence(replace(found, band=None), "MACs")


def test_damaged_lines_stand_in_the_report_with_number_and_reason(tmp_path: Path) -> None:
    full_run(tmp_path)
    lines = (tmp_path / FILE_NAME).read_bytes().splitlines()
    lines[5] = b'{"half a line'
    (tmp_path / FILE_NAME).write_bytes(b"\n".join(lines) + b"\n")
    history = Ledger(tmp_path).read()
    content = said(history)
    rows = table(content, "damage", "damage").rows
    assert [row.cells[0].text for row in rows] == [str(d.line) for d in history.damage] == ["6"]
    assert [cell.text for cell in rows[0].cells][1:] == ["damaged", "", "", history.damage[0].reason]
    assert "## Damaged lines of the ledger" in report_markdown(content)
    assert content.section("front") is not None


def test_images_that_could_not_be_read_are_said_once(tmp_path: Path) -> None:
    ledger = full_run(tmp_path)
    reason = "a/1.jpg (no image)", "b/2.jpg (Truncated File Read)"
    spec = trial("ResNet-8", 7)
    ledger.write_trial(spec, replace(complete(20.0), unreadable=reason), wall_time_s=1.0)
    reading = TestResult(
        test_error_pct=17.0, test_loss=0.5, test_images=9_999, unreadable=("b/2.jpg (Truncated File Read)",)
    )
    ledger.write_test(spec, reading)
    history = ledger.read()
    words = f"2 images could not be read and count nowhere: {reason[0]}, {reason[1]}"
    assert f"images: {words}" in format_status(run_status(history)).splitlines()
    assert status_json(run_status(history))["unreadable"] == list(reason)
    assert report_markdown(said(history)).count(words) == 1


def broken(record: dict[str, Any], kind: str) -> None:
    """Make an intact record of a training one of these broken or odd ones."""
    result = record["result"]
    match kind:
        case "null in a curve":
            result["epochs"][2]["val_error_pct"] = None
        case "error too large":
            result["epochs"][-1]["val_error_pct"] = 1e308
        case "negative error":
            result["epochs"][-1]["val_error_pct"] = -5
        case "no params":
            result["params"] = 0
        case "params of text":
            result["params"] = "12"
        case "unknown network":
            record["trial"] = record["trial"].replace(record["spec"]["arch"], "SmoothRK-1x2")
            record["spec"]["arch"] = "SmoothRK-1x2"
        case "unknown role":
            record["spec"]["role"] = "visitor"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("null in a curve", "an error is a number"),
        ("error too large", "between 0 and 100"),
        ("negative error", "between 0 and 100"),
        ("no params", ">= 1"),
        ("params of text", "got `str`"),
        ("unknown network", "must be registered"),
        ("unknown role", "visitor"),
    ],
)
def test_a_broken_record_costs_its_line_and_never_the_report(tmp_path: Path, kind: str, reason: str) -> None:
    made: list[Made] = [
        ("ResNet-8", "baseline", 12_000, 1_000_000, seeds(20), ()),
        (SMALL, "candidate", 10_800, 900_000, seeds(15), ()),
        (LARGE, "candidate", 30_000, 2_000_000, seeds(12), ()),
    ]
    whole = recorded(tmp_path, made)
    lines = (tmp_path / FILE_NAME).read_bytes().splitlines(keepends=True)
    (at, *_) = [i for i, line in enumerate(lines) if b'"event":"trial"' in line and b'"complete"' in line]
    record = json.loads(lines[at])
    lost = record["trial"]
    del record["crc"]
    broken(record, kind)
    lines[at] = sealed(json.dumps(record, separators=(",", ":")).encode())
    (tmp_path / FILE_NAME).write_bytes(b"".join(lines))
    history = Ledger(tmp_path).read()
    assert history.trials == {key: pair for key, pair in whole.trials.items() if key != lost}
    content = said(history)
    (row,) = table(content, "damage", "damage").rows
    assert row.cells[0].text == str(at + 1)
    assert reason in row.cells[4].text
    assert f"| {at + 1} |" in report_markdown(content)
    assert len(page_data(history, tables(history))["values"]["arch"]) == len(summarise(whole))
    assert format_status(run_status(history))


def test_every_state_of_a_run_has_its_sentence(full: History) -> None:
    history = full
    for state, words in (
        ("interrupted", "was interrupted and can be resumed"),
        ("killed", "was killed and can be resumed"),
        ("running", "has not finished"),
        ("failed", "ended with an error"),
    ):
        content = said(replace(history, state=state))  # type: ignore[arg-type]
        assert words in content.details[0]
        assert content.state == state
    assert "provisional" not in " ".join(said(history).details)


def blocks(content: ReportContent) -> list[object]:
    return [block for section in content.sections for block in section.blocks]


def test_the_readme_holds_every_section_block_and_row(full: History, tmp_path: Path) -> None:
    content = said(full)
    readme = report_markdown(content)
    plain = readme.replace("\\", "")
    for section in content.shown_in("readme"):
        assert f"\n## {section.title}\n" in readme
        for block in section.blocks:
            if isinstance(block, Paragraph | CodeBlock):
                assert block.text in plain
            elif isinstance(block, BulletList):
                assert all(f"- {item}" in plain for item in block.items)
            elif isinstance(block, FactList):
                assert all(f"- **{fact.label}:** " in plain for fact in block.facts)
            elif isinstance(block, FigureSlot):
                assert (f"]({block.file})" in plain) == bool(block.file)
            elif isinstance(block, ReportTable):
                for row in block.rows:
                    assert f"| {' | '.join(cell.text for cell in row.cells)} |" in plain
            else:
                assert isinstance(block, Fold)
    assert "\n\n\n" not in readme
    (tmp_path / "README.md").write_text(readme)
    assert is_own_readme(tmp_path / "README.md"), "the next report may replace it"
    assert readme.endswith("\n")
    titles = [section.id for section in content.sections]
    assert titles == sorted(set(titles), key=titles.index)
    assert "architectures" not in [section.id for section in content.shown_in("readme")]


def test_the_tables_of_the_readme_are_recomputed_from_the_raw_records(tmp_path: Path) -> None:
    """Front, rivals, gaps, costs and test gaps by plain loops over the ledger's JSON."""
    full_run(tmp_path)
    errors: dict[str, list[float]] = {}
    tests: dict[str, list[float]] = {}
    costs: dict[str, tuple[int, int]] = {}
    baselines: set[str] = set()
    for line in (tmp_path / FILE_NAME).read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "trial" and record["result"]["status"] == "complete":
            arch = record["spec"]["arch"]
            errors.setdefault(arch, []).append(record["result"]["epochs"][-1]["val_error_pct"])
            costs[arch] = (record["result"]["params"], record["result"]["macs"])
            if record["spec"]["role"] == "baseline":
                baselines.add(arch)
        elif record["event"] == "test":
            tests.setdefault(record["arch"], []).append(record["result"]["test_error_pct"])
    mean = {arch: sum(values) / len(values) for arch, values in errors.items()}
    searched = [arch for arch in mean if arch not in baselines]
    content = said(Ledger(tmp_path).read())
    for by, name in ((0, "params"), (1, "macs")):
        rows = {row["Baseline"][0]: row for row in cells(table(content, "baselines", f"baselines-{name}"))}
        assert set(rows) == baselines
        for baseline, row in rows.items():
            rivals = [arch for arch in searched if costs[arch][by] <= costs[baseline][by]]
            if not rivals:
                assert row["Runge-Kutta network"] == ["none costs as little"]
                continue
            rival = min(rivals, key=lambda arch: (mean[arch], costs[arch][by]))
            assert row["Runge-Kutta network"] == [rival]
            shown = float(row["Validation gap (95 %), points"][0].split(" ")[0].replace("−", "-"))
            assert shown == pytest.approx(mean[rival] - mean[baseline], abs=0.0051)
            assert row["MACs, ratio"] == [f"× {costs[rival][1] / costs[baseline][1]:.2f}"]
            assert row["Parameters, ratio"] == [f"× {costs[rival][0] / costs[baseline][0]:.2f}"]
            gap = row["Test gap (95 %), points"][0]
            if rival in tests:
                read = sum(tests[rival]) / len(tests[rival]) - sum(tests[baseline]) / len(tests[baseline])
                assert float(gap.split(" ")[0].replace("−", "-")) == pytest.approx(read, abs=0.0051)
            else:
                assert gap == "–"
    front = [row["Architecture"][0] for row in cells(table(content, "front", "front"))]
    expected = [
        arch
        for arch in sorted(searched, key=lambda arch: costs[arch][0])
        if not any(costs[o][0] <= costs[arch][0] and mean[o] < mean[arch] - 1e-9 for o in searched)
    ]
    assert front == expected


def test_hostile_names_stay_text_in_the_readme(tmp_path: Path) -> None:
    evil = "</details> | `x` ](http://x) *b* <img src=x>"
    ledger = begin(tmp_path, name=evil)
    ledger.write_trial(trial(SMALL), complete(10.0), wall_time_s=1.0)
    first = report_markdown(said(ledger.read())).splitlines()[0]
    assert first == "# \\</details\\> \\| \\`x\\` \\](http://x) \\*b\\* \\<img src=x\\>"
