"""The report's section on the effects of design choices: words and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rksearch.report import text
from rksearch.report.sections import (
    Block,
    FigureSlot,
    Paragraph,
    ReportTable,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
)
from rksearch.space.plan import TOP1, ErrorMetric

if TYPE_CHECKING:
    from rksearch.results.choice_sample import ChoiceSample
    from rksearch.results.contrasts import Effect
    from rksearch.results.importances import Importance

NOTE = (
    "Each row compares trained networks that differ in one choice, over matched pairs; the number is the ratio of the "
    "odds of an error, after against before: × 0.80 means four errors where there were five. With equal parameters or "
    "equal MACs (within 10 %), what the choice costs is missing elsewhere in the network; with all else equal, it "
    "comes on top. Intervals are corrected for their number (Bonferroni, 95 %: over all at equal budget, and over all "
    "with all else equal); those that leave out × 1 are significant and marked by an asterisk."
)

DESCRIPTIVE_NOTE = "Descriptive: results chose the networks."


TONES: dict[str, Tone] = {"fewer errors": "win", "more errors": "loss"}
"""Marks of effects that are significant after a correction for their number."""


def answered(effects: Iterable[Effect]) -> bool:
    """Whether any contrast rests on enough architectures for an interval."""
    return any(effect.low is not None for effect in effects)


def by_change(effects: Iterable[Effect]) -> dict[str, dict[str, Effect]]:
    """The effects by their change, then by the way in which pairs were matched."""
    rows: dict[str, dict[str, Effect]] = {}
    for effect in effects:
        rows.setdefault(effect.change, {})[effect.design] = effect
    return rows


def ratio(effect: Effect | None) -> str:
    """The ratio with its adjusted interval, `× 0.82 (0.72 to 0.93)`; the reason where there is none."""
    if effect is None or effect.odds_ratio is None:
        return text.MISSING
    if effect.low_adjusted is None or effect.high_adjusted is None:
        return "too few to say"
    mark = " *" if effect.is_announced else ""
    return f"× {effect.odds_ratio:.2f} ({effect.low_adjusted:.2f} to {effect.high_adjusted:.2f}){mark}"


def choices_summary(effects: Sequence[Effect]) -> str:
    """The significant effects at equal parameters and at equal MACs, corrected for their number, in words."""
    from rksearch.results.contrasts import EQUAL_BUDGET  # numpy: not needed to read a ledger

    looked = [e for e in effects if e.design in EQUAL_BUDGET and e.low is not None]
    if not looked:
        return (
            "Too few architectures were trained to the end to say what a single choice does at equal budget: at "
            "least four on either side must match."
        )
    parts = []
    for design in EQUAL_BUDGET:
        for answer in ("fewer errors", "more errors"):
            found = [e for e in looked if e.design == design and e.answer == answer]
            if found:
                named = "; ".join(f"{e.change} (×\u00a0{e.odds_ratio:.2f})" for e in found)
                parts.append(f"At {design}, {answer}: {named}.")
    counted = text.count(len(looked), "comparison")
    if not parts and len(looked) == 1:
        return "The one comparison at equal budget is not significant (5 %)."
    if not parts:
        return (
            f"None of {counted} at equal budget is significant after a correction for their number (Bonferroni, 5 %)."
        )
    return f"{' '.join(parts)} These are significant after a correction for {counted} (Bonferroni, 5 %)."


def sample_words(sample: ChoiceSample) -> str:
    """The networks that effects and importances rest on, their number, and what follows from that."""
    number = len(sample.items)
    networks = text.count(number, "network")
    if sample.origin == "control arm":
        return (
            f"Effects and importances rest on the {networks} that the control arm drew at random and trained to the "
            "end. The search's own are left out: it joined choices that had done well, so that each would be credited "
            "with what the others do."
        )
    if sample.origin == "whole space":
        return (
            f"Effects and importances rest on the {networks} of the space that could be trained to the end: the run "
            "proposed every member, and no result chose among them."
        )
    if sample.origin == "sampler":
        return (
            f"Effects and importances rest on the {networks} that the sampler proposed without a look at results and "
            "that were trained to the end."
        )
    return (
        f"Effects and importances are descriptive here: they rest on the {networks} that results chose for training. "
        "Choices that had done well stand together in these, so that each is credited with what the others do; effects "
        "tend to be too large, and intervals hold less often than they say. A run with --control draws networks at "
        "random that have no such fault."
    )


def choices_note(metric: ErrorMetric, sample: ChoiceSample) -> str:
    """Explanation of the table; it says so where the odds are of another error than top-1."""
    note = NOTE if metric == TOP1 else f"{NOTE} The error here is the {metric.title}."
    return f"{DESCRIPTIVE_NOTE} {note}" if sample.is_descriptive else note


def choices_blocks(
    effects: Sequence[Effect],
    importances: Sequence[Importance],
    sample: ChoiceSample,
    pruned: int,
    metric: ErrorMetric = TOP1,
) -> Iterator[Block]:
    """Words, picture and tables; without an answer in any design, words alone.

    Args:
        effects: of the choices on the error.
        importances: of the choices, beside chance.
        sample: the networks that both rest on.
        pruned: number of networks that racing stopped.
        metric: the error.
    """
    lead = [choices_summary(effects), sample_words(sample)]
    # A reader of the first sentence alone must not take a description for more.
    for words in reversed(lead) if sample.is_descriptive else lead:
        yield Paragraph(text=words)
    # The control arm trains all of its networks to the end.
    if pruned and sample.origin != "control arm":
        yield Paragraph(
            text=f"{text.count(pruned, 'network')} that racing stopped early {'is' if pruned == 1 else 'are'} missing "
            "here. They were stopped because of higher errors, so that a choice that is frequent among them seems "
            "better than it is."
        )
    if answered(effects):
        yield Paragraph(text=choices_note(metric, sample))
        yield FigureSlot(
            id="effects",
            title="Odds of an error by choice",
            alt="Ratio of the odds of an error for each choice with its corrected 95 % interval, matched in three ways",
        )
        yield _table(effects)
    if importances:
        yield from _importances(importances, sample)


def _table(effects: Sequence[Effect]) -> ReportTable:
    from rksearch.results.contrasts import DESIGNS  # numpy: not needed to read a ledger

    columns = [TableColumn(label="Choice")]
    for design in DESIGNS:
        columns += [TableColumn(label=design[0].upper() + design[1:], numeric=True)]
        columns += [TableColumn(label="Pairs", numeric=True)]
    note = "factor on the cost with all else equal"
    columns += [TableColumn(label=label, numeric=True, note=note) for label in ("Parameters", "MACs")]
    rows = []
    for change, found in by_change(effects).items():
        if not answered(found.values()):
            continue
        cells = [TableCell(text=change)]
        for design in DESIGNS:
            effect = found.get(design)
            cells.append(TableCell(text=ratio(effect), tone=_tone(effect)))
            cells.append(_pairs(effect))
        alone = found.get("all else equal")
        cells += [_times(alone.params_ratio if alone else None), _times(alone.macs_ratio if alone else None)]
        rows.append(TableRow(cells=tuple(cells)))
    return ReportTable(id="choices", caption="Effects of the choices", columns=tuple(columns), rows=tuple(rows))


def _tone(effect: Effect | None) -> Tone:
    if effect is None or not effect.is_announced:
        return ""
    return TONES.get(effect.answer, "")


def _pairs(effect: Effect | None) -> TableCell:
    return TableCell(text=f"{effect.pairs:,}") if effect else TableCell(text=text.MISSING)


def _times(value: float | None) -> TableCell:
    return TableCell(text=text.MISSING) if value is None else TableCell(text=text.times(value))


def _importances(importances: Sequence[Importance], sample: ChoiceSample) -> Iterator[Block]:
    beyond = [found.choice for found in importances if found.is_beyond_chance]
    chance = text.share(importances[0].by_chance)
    which = f"Beyond that: {text.listing(beyond)}." if beyond else "None is beyond that."
    descriptive = f"{DESCRIPTIVE_NOTE} " if sample.is_descriptive else ""
    yield Paragraph(
        text=f"{descriptive}Share of the variance of the log-odds of an error that each choice alone explains over "
        "these networks, whatever they cost (one-way analysis of variance, adjusted for the number of values). Choices "
        "that were often made together share what they explain. Where nothing "
        f"matters, the largest share is at most {chance} in 95 % of the cases (errors shuffled among the networks). "
        f"{which}"
    )
    columns = (
        TableColumn(label="Choice"),
        TableColumn(label="Share of the variance", numeric=True),
        TableColumn(label="Beyond chance"),
    )
    rows = tuple(
        TableRow(
            cells=(
                TableCell(text=found.choice),
                TableCell(text=text.share(found.share)),
                TableCell(text="yes" if found.is_beyond_chance else "no"),
            )
        )
        for found in importances
    )
    yield ReportTable(id="importances", caption="Importances of the choices", columns=columns, rows=rows)
