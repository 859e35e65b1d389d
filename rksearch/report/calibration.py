"""The report's section on its own intervals: how often they hold in simulated runs of the run's shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rksearch.report import text
from rksearch.report.sections import Block, Paragraph, ReportTable, TableCell, TableColumn, TableRow, Tone
from rksearch.results.calibration import Calibration, Coverage, Noise, Reliability

NOISE_WORDS: dict[Noise, str] = {
    "normal": "Normal seeds",
    "heavy-tailed": "Heavy-tailed seeds",
    "resampled": "Resampled run",
}
"""Headings of the sources of truths and seeds."""


ROUNDING = 0.005
"""Difference of two shares that the tables do not show."""


def calibration_blocks(found: Calibration) -> tuple[Block, ...]:
    """What was simulated, the answer in a sentence, and the two tables."""
    return (
        Paragraph(text=_answer(found)),
        Paragraph(text=_what(found)),
        _coverage_table(found),
        Paragraph(
            text="P(front) is right when, of all networks to which it gives about this probability, this share is on "
            "the front of true errors."
        ),
        _reliability_table(found),
    )


def _answer(found: Calibration) -> str:
    """The claims that hold less often than they say, and the probabilities that are wrong, in words."""
    short = [
        f"“{own.claim}” in {_share(own.share)} instead of {_share(own.nominal)} ({NOISE_WORDS[case.noise].lower()})"
        for case in found.cases
        for own in case.coverages
        if own.nominal is not None and own.made and own.high < own.nominal
    ]
    judged = sum(own.nominal is not None and own.made > 0 for case in found.cases for own in case.coverages)
    wrong = [_wrong(own, case.noise) for case in found.cases for own in case.reliabilities if _is_wrong(own)]
    if not short:
        held = (
            f"none of {text.count(judged, 'claim')} holds in fewer simulated runs than it says, beyond the chance of "
            "the simulation."
        )
        if not wrong:
            return f"Yes, in runs of this shape: {held}"
        return f"Not all probabilities. In runs of this shape, {held} {_probabilities(wrong)}"
    answer = (
        f"Not all. These hold in too few simulated runs: {'; '.join(short)}. The other {judged - len(short)} of "
        f"{judged} hold as often as they say."
    )
    return f"{answer} {_probabilities(wrong)}" if wrong else answer


def _is_wrong(own: Reliability) -> bool:
    """Whether the share on the front differs from the mean probability, beyond chance and rounding."""
    low, high = own.interval
    return own.networks > 0 and not low - ROUNDING <= own.claimed <= high + ROUNDING


def _wrong(own: Reliability, noise: Noise) -> str:
    return f"of those at {_share(own.claimed)} on average, {_share(own.happened)} are ({NOISE_WORDS[noise].lower()})"


def _probabilities(wrong: Sequence[str]) -> str:
    return f"P(front) is not always the share of networks that are on the front: {'; '.join(wrong)}."


def _what(found: Calibration) -> str:
    raced = ", stopped early by the same rule" if found.raced else ""
    left_out = f" ({found.left_out:,} further ones are left out)" if found.left_out else ""
    return (
        f"{found.runs:,} runs were simulated for each column: the {text.count(found.baselines, 'baseline')} and "
        f"{text.count(found.candidates, 'candidate')} of this run{left_out}, with their sizes{raced}, and further "
        f"seeds for the front by the same rule: {found.trainings:,.0f} complete trainings each. Each report's claims "
        "are compared with the truth, and which network is good differs from run to run. With normal seeds, true "
        "errors follow the trend, the scatter and the spread between seeds that the report's model finds in this run: "
        "this shows only whether the intervals are right where the model is. With heavy-tailed seeds, trainings stray "
        "further than it assumes. The resampled run uses no model: a network has the error of one of the ten networks "
        "of this run that are nearest in parameters and MACs, and its seeds stray as those of networks of about that "
        "error did."
    )


def _coverage_table(found: Calibration) -> ReportTable:
    columns = [TableColumn(label="Claim"), TableColumn(label="Promised", numeric=True)]
    for case in found.cases:
        columns.append(TableColumn(label=NOISE_WORDS[case.noise], numeric=True, note="share that held, 95 % interval"))
        columns.append(TableColumn(label="Claims", numeric=True))
    rows = []
    for claims in zip(*(case.coverages for case in found.cases), strict=True):
        first = claims[0]
        cells = [TableCell(text=first.claim), _promised(first)]
        for own in claims:
            cells += [_held(own), TableCell(text=f"{own.made:,}")]
        rows.append(TableRow(cells=tuple(cells)))
    return ReportTable(id="coverage", caption="Intervals and bands", columns=tuple(columns), rows=tuple(rows))


def _promised(own: Coverage) -> TableCell:
    if own.nominal is None:
        return TableCell(text=text.MISSING)
    return TableCell(text=_share(own.nominal))


def _held(own: Coverage) -> TableCell:
    if not own.made:
        return TableCell(text="never made")
    tone: Tone = "loss" if own.nominal is not None and own.high < own.nominal else ""
    return TableCell(text=_with_interval(own.share, own.low, own.high), tone=tone)


def _reliability_table(found: Calibration) -> ReportTable:
    columns = [TableColumn(label="P(front)")]
    for case in found.cases:
        columns += [
            TableColumn(label=f"{NOISE_WORDS[case.noise]}: mean P(front)", numeric=True),
            TableColumn(label="On the front", numeric=True, note="share that was, 95 % interval"),
            TableColumn(label="Networks", numeric=True),
        ]
    rows = []
    for ranges in zip(*(case.reliabilities for case in found.cases), strict=True):
        cells = [TableCell(text=f"{_share(ranges[0].low)} to {_share(ranges[0].high)}")]
        for own in ranges:
            cells += _reliability_cells(own)
        rows.append(TableRow(cells=tuple(cells)))
    caption = "Probabilities of being on the front"
    return ReportTable(id="reliability", caption=caption, columns=tuple(columns), rows=tuple(rows))


def _reliability_cells(own: Reliability) -> Sequence[TableCell]:
    networks = TableCell(text=f"{own.networks:,}")
    if math.isnan(own.claimed):
        return TableCell(text=text.MISSING), TableCell(text=text.MISSING), networks
    happened = TableCell(text=_with_interval(own.happened, *own.interval))
    return TableCell(text=_share(own.claimed)), happened, networks


def _with_interval(share: float, low: float, high: float) -> str:
    return f"{_share(share)} ({_share(low)} to {_share(high)})"


def _share(value: float | None) -> str:
    return text.MISSING if value is None else f"{100 * value:.0f} %"
