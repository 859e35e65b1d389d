"""What a comparison of runs says, as the sections that page and Markdown render, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rksearch.report import text
from rksearch.report.against import FRESH, tested_text
from rksearch.report.racing import racing_plan
from rksearch.report.sections import (
    Block,
    BulletList,
    FactList,
    FigureSlot,
    Fold,
    LabelledFact,
    Paragraph,
    ReportContent,
    ReportSection,
    ReportTable,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
    VerdictLine,
)
from rksearch.results.codec import to_plain
from rksearch.results.comparisons import ErrorComparison
from rksearch.results.run_comparison import HypervolumeDifference, RunComparison, RunSide, SideCost, SizeRung
from rksearch.results.summaries import ArchSummary, tested_by_both
from rksearch.search.samplers.registry import samplers
from rksearch.space.plan import OBJECTIVES

COST_WORDS: dict[SideCost, str] = {"params": "parameters", "macs": "MACs"}

MOST_VERDICT_LINES = 3
"""Sides beside the first one that have a line of their own at the top; all others stand in the tables."""


def comparison_content(found: RunComparison, *, figures: bool = True) -> ReportContent:
    """Verdict, figures, tables and limits of a comparison.

    Args:
        found: the comparison.
        figures: whether figures have their places, for readers that see them.
    """
    sections = [_hypervolumes(found), _ladder(found), _fronts(found), _sides(found), _limits(found)]
    if figures:
        sections.insert(0, _figures(found))
    return ReportContent(
        name=f"Comparison of {text.listing([side.label for side in found.sides])}",
        description=f"Runs of rksearch side by side, by {found.metric.title}",
        state="finished",
        verdict=tuple(_verdict(found)),
        details=(),
        key_figures=(),
        sections=tuple(sections),
    )


def picture_name(cost: SideCost) -> str:
    """Name of the picture of the fronts of this cost, without its ending."""
    return f"comparison_{cost}"


def _figures(found: RunComparison) -> ReportSection:
    sides = text.listing([side.label for side in found.sides])
    slots = (
        FigureSlot(
            id=picture_name(cost),
            title=f"Fronts of {words}",
            alt=f"fronts of {words} and {found.metric.title} of {sides}",
            file=f"{picture_name(cost)}.svg",
        )
        for cost, words in COST_WORDS.items()
    )
    return ReportSection(id="figures", title="The fronts", blocks=tuple(slots))


def comparison_json(found: RunComparison) -> dict[str, Any]:
    """The comparison as plain values for JSON.

    Keys: `metric`, `pooled`, `shared` (architectures that more than one side has trained), `references` (by cost),
    `mismatches` (`field` and `values` by run), `sides` (`label`, `run`, `arm`, `space`, `sampler`, `racing`, `trained`,
    `pruned`, `failed`, `epochs`, `hours`, and by cost `fronts` and `hypervolumes`), `differences` (see
    `rksearch.results.run_comparison.HypervolumeDifference`), `ladder` (by cost and limit the `best` of each side, with
    its gaps to the first side's by validation and by test errors).
    """
    return {
        "metric": found.metric.name,
        "pooled": found.pooled,
        "shared": found.shared,
        "references": to_plain(found.references),
        "mismatches": to_plain(found.mismatches),
        "sides": [_side_json(side) for side in found.sides],
        "differences": to_plain(found.differences),
        "ladder": [_rung_json(rung, found.sides) for rung in found.rungs],
        "baselines": [_arch_json(item) for item in found.baselines],
    }


def _side_json(side: RunSide) -> dict[str, Any]:
    plan = side.plan
    return {
        "label": side.label,
        "run": side.run,
        "arm": side.arm,
        "space": side.space,
        "space_sha256": side.space_sha256,
        "sampler": "random" if side.is_control else plan.sampler,
        "sampler_seed": plan.sampler_seed,
        "objectives": list(plan.objectives),
        "racing": to_plain(plan.racing),
        "trained": side.trained,
        "pruned": side.pruned,
        "failed": side.failed,
        "epochs": side.epochs,
        "hours": side.hours,
        "fronts": {"params": [*map(_arch_json, side.front)], "macs": [*map(_arch_json, side.macs_front)]},
        "hypervolumes": {"params": to_plain(side.hypervolume), "macs": to_plain(side.macs_hypervolume)},
    }


def _rung_json(rung: SizeRung, sides: Sequence[RunSide]) -> dict[str, Any]:
    return {
        "cost": rung.cost,
        "limit": rung.limit,
        "best": {
            side.label: item
            and {**_arch_json(item), "against_first": to_plain(comparison), "tested_against_first": to_plain(tested)}
            for side, item, comparison, tested in zip(sides, rung.best, rung.comparisons, rung.tested, strict=True)
        },
    }


def _arch_json(item: ArchSummary) -> dict[str, Any]:
    return {
        "arch": item.arch,
        "params": item.params,
        "macs": item.macs,
        "error_pct": item.error_pct,
        "error_sd_pct": item.error_sd_pct,
        "tested_error_pct": item.tested_error_pct,
        "seeds": item.seeds,
    }


# -- verdict


def _verdict(found: RunComparison) -> list[VerdictLine]:
    first, *others = found.sides
    lines = []
    for side in others[:MOST_VERDICT_LINES]:
        whole = found.difference(first.label, side.label, "params")
        equal = found.difference(first.label, side.label, "params", equal=True)
        lines.append(VerdictLine(text=_side_sentence(first, side, whole, equal)))
    if found.mismatches:
        names = text.listing([mismatch.field for mismatch in found.mismatches])
        lines.append(VerdictLine(text=f"The runs differ in {names}: their errors are not comparable.", tone="warning"))
    return lines


def _side_sentence(
    first: RunSide, side: RunSide, whole: HypervolumeDifference | None, equal: HypervolumeDifference | None
) -> str:
    if whole is None:
        empty = first if first.hypervolume is None else side
        return f"{empty.label} has trained no network to the end, so that there is nothing to compare."
    words = {"larger": "is better than", "smaller": "is worse than"}.get(whole.verdict, "does not differ clearly from")
    sentence = (
        f"By parameters, the front of {first.label} {words} that of {side.label}: hypervolume {difference_text(whole)}"
    )
    if equal is None or first.epochs == side.epochs:
        return f"{sentence}."
    words = {"larger": "better", "smaller": "worse"}.get(equal.verdict, "no clear difference")
    return f"{sentence}. After {equal.epochs:,} epochs each: {words}, {difference_text(equal)}."


def difference_text(difference: HypervolumeDifference) -> str:
    """A difference of hypervolumes with its interval, `+1.20 (+0.31 to +2.04)`."""
    if difference.interval is None:
        return f"{_signed(difference.of_means)} (too few seeds)"
    low, high = difference.interval
    return f"{_signed(difference.expected)} ({_signed(low)} to {_signed(high)})"


def _signed(value: float) -> str:
    return text.points(value)


# -- tables


def _hypervolumes(found: RunComparison) -> ReportSection:
    rows = []
    for difference in found.differences:
        effort = "all that was spent" if difference.epochs is None else f"{difference.epochs:,} epochs each"
        rows.append(
            TableRow(
                cells=(
                    TableCell(text=difference.a),
                    TableCell(text=difference.b),
                    TableCell(text=COST_WORDS[difference.cost]),
                    TableCell(text=effort),
                    TableCell(text=difference_text(difference)),
                    TableCell(text=difference.verdict, tone=_tone(difference)),
                )
            )
        )
    columns = (
        TableColumn(label="Side"),
        TableColumn(label="Less"),
        TableColumn(label="Cost"),
        TableColumn(label="Effort"),
        TableColumn(label="Difference (95 %)", numeric=True, note="of the hypervolumes, percent times decades"),
        TableColumn(label="The first is", note="larger areas are better"),
    )
    corner = found.references["params"]
    pooled = (
        "All runs' trainings of a network count together, and all fronts are compared in the same draws of the true "
        "errors, so that what two sides have in common cancels."
        if found.pooled
        else "Each run has draws of its own, because the runs differ in what makes errors comparable."
    )
    note = (
        "The hypervolume is the area between a front and a corner that all sides share "
        f"({text.size(corner.cost)} parameters at {corner.error_pct:.0f} % error), in percent times decades. {pooled} "
        "At equal effort, each side is cut after the same number of epochs of first trainings."
    )
    table = ReportTable(id="hypervolumes", caption="", columns=columns, rows=tuple(rows))
    blocks = (Paragraph(text=note), table) if rows else (Paragraph(text="No two sides have a network to compare."),)
    return ReportSection(id="hypervolumes", title="Differences of the hypervolumes", blocks=blocks)


def _tone(difference: HypervolumeDifference) -> Tone:
    tones: dict[str, Tone] = {"larger": "win", "smaller": "loss"}
    return "open" if difference.interval is None else tones.get(difference.verdict, "tie")


def _ladder(found: RunComparison) -> ReportSection:
    if not found.rungs:
        return ReportSection(
            id="ladder", title="The size ladder", blocks=(Paragraph(text="No side has a network at any size."),)
        )
    tables = tuple(_ladder_table(found, cost) for cost in COST_WORDS)
    first = found.sides[0].label
    note = (
        f"At each size, the network of least mean {found.metric.title} of every side that costs no more, and its gap "
        f"to that of {first} in percentage points. A negative gap is a lower error than that of {first}. The 95 % "
        "interval allows for each having been picked as the best of many. Rows in which no side has another network "
        "than in the row before are left out."
    )
    kinds = {item.tested_afresh for rung in found.rungs for item in rung.best if item and item.test_seeds}
    if _is_tested(found) or len(kinds) > 1:
        note += (
            " Test gaps compare the same two networks on the test set, where it was read for both by one kind of "
            "training: those of the search, or those made for it on more images."
        )
    return ReportSection(id="ladder", title="The size ladder", blocks=(Paragraph(text=note), *tables))


def _is_tested(found: RunComparison) -> bool:
    """Whether the ladder has a test gap."""
    return any(tested for rung in found.rungs for tested in rung.tested)


def _ladder_table(found: RunComparison, cost: SideCost) -> ReportTable:
    gaps = ["Gap (95 %), points", *(["Test gap (95 %), points"] if _is_tested(found) else [])]
    columns = [TableColumn(label=f"At most, {COST_WORDS[cost]}", numeric=True)]
    for i, side in enumerate(found.sides):
        columns += [TableColumn(label=side.label), TableColumn(label="Error", numeric=True)]
        columns += [TableColumn(label=label, numeric=True) for label in gaps if i]
    rows = []
    for rung in (rung for rung in found.rungs if rung.cost == cost):
        cells = [TableCell(text=text.tick(rung.limit))]
        for i, (item, *comparisons) in enumerate(zip(rung.best, rung.comparisons, rung.tested, strict=True)):
            cells.append(TableCell(text=item.arch if item else "none is as small"))
            error = text.mean_sd(item.error_pct, item.error_sd_pct) if item else text.MISSING
            cells.append(TableCell(text=error))
            cells += [_gap_cell(comparison) for comparison in comparisons[: len(gaps)] if i]
        rows.append(TableRow(cells=tuple(cells)))
    caption = f"By {COST_WORDS[cost]}"
    return ReportTable(id=f"ladder-{cost}", caption=caption, columns=tuple(columns), rows=tuple(rows))


def _gap_cell(comparison: ErrorComparison | None) -> TableCell:
    if comparison is None:
        return TableCell(text=text.MISSING)
    return TableCell(text=text.gap(comparison.gap_pct, comparison.interval_pct), tone=comparison.outcome)


def _fronts(found: RunComparison) -> ReportSection:
    """The networks of both fronts of every side: the same as the figures, for those who read."""
    columns = (
        TableColumn(label="Network"),
        TableColumn(label="Side"),
        TableColumn(label="On the front of"),
        TableColumn(label="Parameters", numeric=True),
        TableColumn(label="MACs", numeric=True),
        TableColumn(label=found.metric.title.capitalize(), numeric=True),
        TableColumn(label=found.metric.test_title.capitalize(), numeric=True),
        TableColumn(label="Seeds", numeric=True),
    )
    shown = [(side, item) for side in found.sides for item in _on_fronts(side)]
    apart = tested_by_both(item for _, item in shown)
    rows = [_front_row(side, item, apart=apart) for side, item in shown]
    table = ReportTable(id="fronts", caption="", columns=columns, rows=tuple(rows))
    fold = Fold(summary=text.count(len(rows), "network").capitalize(), table=table)
    blocks: list[Block] = [fold] if rows else [Paragraph(text="No side has trained a network to the end.")]
    if apart:
        blocks.insert(0, Paragraph(text=FRESH))
    return ReportSection(id="fronts", title="Networks on the fronts", blocks=tuple(blocks))


def _on_fronts(side: RunSide) -> list[ArchSummary]:
    both = {item.arch: item for item in (*side.front, *side.macs_front)}
    return sorted(both.values(), key=lambda item: (item.params, item.arch))


def _front_row(side: RunSide, item: ArchSummary, *, apart: bool) -> TableRow:
    fronts = [
        words
        for words, front in ((COST_WORDS["params"], side.front), (COST_WORDS["macs"], side.macs_front))
        if any(other.arch == item.arch for other in front)
    ]
    return TableRow(
        cells=(
            TableCell(text=item.arch),
            TableCell(text=side.label),
            TableCell(text=text.listing(fronts)),
            TableCell(text=text.size(item.params)),
            TableCell(text=text.size(item.macs)),
            TableCell(text=text.mean_sd(item.error_pct, item.error_sd_pct)),
            TableCell(text=tested_text(item, apart=apart)),
            TableCell(text=f"{item.seeds:,}"),
        )
    )


def _sides(found: RunComparison) -> ReportSection:
    """What each side is and what it cost: one row for each fact, one column for each side."""
    facts = [
        ("Search space", [_space(side) for side in found.sides]),
        ("Candidates by", [_sampler(side) for side in found.sides]),
        ("Objectives", [text.listing([OBJECTIVES.get(o, o) for o in side.plan.objectives]) for side in found.sides]),
        ("Racing", ["none" if side.is_control else racing_plan(side.plan.racing) or "none" for side in found.sides]),
        ("Trainings, complete", [f"{side.trained:,}" for side in found.sides]),
        ("Trainings, pruned", [f"{side.pruned:,}" for side in found.sides]),
        ("Trainings, failed", [f"{side.failed:,}" for side in found.sides]),
        ("Epochs", [f"{side.epochs:,}" for side in found.sides]),
        ("Work", [text.duration(3600 * side.hours) for side in found.sides]),
        ("Networks on the front", [f"{len(side.front)}" for side in found.sides]),
        ("Networks on the front of MACs", [f"{len(side.macs_front)}" for side in found.sides]),
        ("Hypervolume, parameters", [_area(side, "params") for side in found.sides]),
        ("Hypervolume, MACs", [_area(side, "macs") for side in found.sides]),
    ]
    rows = tuple(
        TableRow(cells=(TableCell(text=label), *(TableCell(text=value) for value in values))) for label, values in facts
    )
    columns = (TableColumn(label=""), *(TableColumn(label=side.label) for side in found.sides))
    blocks: list[ReportTable | FactList] = [ReportTable(id="sides", caption="", columns=columns, rows=rows)]
    if found.mismatches:
        differing = tuple(
            LabelledFact(
                label=mismatch.field,
                value="; ".join(f"{label}: {value or 'not recorded'}" for label, value in mismatch.values.items()),
            )
            for mismatch in found.mismatches
        )
        blocks.append(FactList(facts=differing))
    return ReportSection(id="sides", title="Side by side", blocks=tuple(blocks))


def _space(side: RunSide) -> str:
    return f"{side.space or 'not recorded'}{f' ({side.space_sha256[:8]})' if side.space_sha256 else ''}"


def _sampler(side: RunSide) -> str:
    if side.is_control:
        return "random draws"
    name = side.plan.sampler
    title = samplers.get(name).title if name in samplers else name
    return f"{title}, seed {side.plan.sampler_seed}"


def _area(side: RunSide, cost: SideCost) -> str:
    found = side.hypervolume if cost == "params" else side.macs_hypervolume
    if found is None:
        return text.MISSING
    if found.band is None:
        return f"{found.of_means:.2f} (too few seeds for a band)"
    return f"{found.expected:.2f} (90 %: {found.band[0]:.2f} to {found.band[1]:.2f})"


def _limits(found: RunComparison) -> ReportSection:
    notes = [
        "Each side is one search with one seed of its sampler. How much two searches of the same kind differ by "
        "chance, the intervals do not say: they hold the luck of trainings, not that of proposals.",
    ]
    efforts = [side.epochs for side in found.sides if side.epochs]
    if efforts and max(efforts) > 1.1 * min(efforts):
        notes.append(
            f"The sides spent {min(efforts):,} to {max(efforts):,} epochs on first trainings; compare them at equal "
            "epochs where the searches are to be judged. Further seeds of the best networks do not count as effort."
        )
    if found.shared:
        notes.append(f"{text.count(found.shared, 'architecture')} stand on more than one side.")
    if len({side.space_sha256 for side in found.sides}) > 1:
        notes.append("The search spaces differ: a better front may be that of the better space.")
    return ReportSection(id="limitations", title="Limitations", blocks=(BulletList(items=tuple(notes)),))
