"""Content of a report from the history of its run: what page and README say, see `rksearch.report.sections`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rksearch.report import against, text
from rksearch.report.calibration import calibration_blocks
from rksearch.report.cells import show
from rksearch.report.choices import choices_blocks
from rksearch.report.class_errors import class_error_blocks
from rksearch.report.facts import command, facts
from rksearch.report.prose import (
    P_FRONT,
    control_sentences,
    findings,
    hypervolume_sentence,
    limitations,
    reading_sentences,
    verdict_lines,
)
from rksearch.report.sections import (
    MEDIA,
    Block,
    BulletList,
    CodeBlock,
    FactList,
    FigureSlot,
    KeyFigure,
    LabelledFact,
    Medium,
    Paragraph,
    ReportContent,
    ReportSection,
    ReportTable,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
)
from rksearch.report.short_long import short_long_blocks
from rksearch.results.columns import TRIAL_METRICS, Metric, arch_metric, columns
from rksearch.results.history import History
from rksearch.results.lines import Damage, Unknown
from rksearch.results.tables import ArchRow, Tables

CODE = ("Command", "Commit")
"""Facts that are for a terminal."""

PAGE_ONLY: frozenset[Medium] = frozenset({"page"})
README_ONLY: frozenset[Medium] = frozenset({"readme"})


def report_content(history: History, tables: Tables) -> ReportContent:
    """Everything that the report of a run says.

    Args:
        history: the history of the run.
        tables: the tables derived from it.
    """
    sections = (section(history, tables) for section in SECTIONS)
    return ReportContent(
        name=text.one_line(history.name),
        description=text.one_line((history.space and history.space.description) or ""),
        state=history.state,
        verdict=verdict_lines(
            history, tables.items, [row.item for row in tables.front], tables.baselines, tables.macs_baselines
        ),
        details=tuple(findings(history, tables)),
        key_figures=tuple(_key_figures(history, tables)),
        sections=tuple(found for found in sections if found.blocks),
    )


def _key_figures(history: History, tables: Tables) -> Iterator[KeyFigure]:
    counts = {role: sum(item.role == role for item in tables.items) for role in ("baseline", "control")}
    beside = [text.count(counts["baseline"], "baseline")]
    if counts["control"]:
        beside.append(text.count(counts["control"], "control network"))
    yield KeyFigure(
        label="Runge-Kutta networks", value=f"{len(tables.searched)}", note=f"beside {text.listing(beside)}"
    )
    complete = sum(row.status == "complete" for row in tables.trials)
    yield KeyFigure(label="Complete trainings", value=f"{complete}", note=_others(history))
    beaten = sum(bool(row.beaten_by) for row in tables.front)
    yield KeyFigure(label="On the front", value=f"{len(tables.front)}", note=f"{beaten} dominated by a baseline")
    best = tables.front[-1].item if tables.front else None
    yield KeyFigure(
        label=f"Lowest {tables.metric.title}",
        value=text.pct(best.error_pct) if best else text.MISSING,
        note=f"{text.size(best.params)} parameters, {text.count(best.seeds, 'seed')}" if best else "no network yet",
    )
    if tables.hypervolume and tables.hypervolume.band:
        low, high = tables.hypervolume.band
        value = f"{tables.hypervolume.expected:.2f}"
        yield KeyFigure(label="Hypervolume", value=value, note=f"90 % band {low:.2f} to {high:.2f}")
    when = "after the search" if history.tests else "none so far"
    yield KeyFigure(label="Readings of the test set", value=f"{len(history.tests)}", note=when)
    work = text.duration(sum(history.wall_time_s.values()))
    yield KeyFigure(label="Work", value=work, note="of trials, which may overlap")


def _others(history: History) -> str:
    """Numbers of the trainings that are not complete, by their state."""
    counts = [(len(history.pruned), "pruned"), (len(history.failed), "failed"), (len(history.running), "running")]
    shown = [f"{number} {what}" for number, what in counts if number or what != "pruned"]
    return ", ".join(shown)


def _section(id: str, title: str, blocks: Iterable[Block], media: frozenset[Medium] = MEDIA) -> ReportSection:
    return ReportSection(id=id, title=title, blocks=tuple(blocks), media=media)


def _ladder(history: History, tables: Tables) -> ReportSection:
    steps = (tables.ladder, tables.macs_ladder)
    shown = [against.ladder_table(found, *cost) for found, cost in zip(steps, against.COSTS, strict=True) if found]
    # Without a baseline, or without a network to compare with, the steps say nothing.
    blocks: list[Block] = [Paragraph(text=against.NOTE), *shown] if tables.baselines and tables.front else []
    return _section("ladder", "Size ladder", blocks)


def _figures(history: History, tables: Tables) -> ReportSection:
    blocks: list[Block] = []
    if tables.items:
        blocks = [
            FigureSlot(
                id="front",
                title=f"Parameters and {tables.metric.title}",
                alt=f"Parameters and {tables.metric.title} of every network",
                file="front.svg",
            ),
            Paragraph(text=_figure_note(tables)),
            FigureSlot(
                id="curves",
                title="Learning curves",
                alt=f"{tables.metric.title.capitalize()} after each epoch of front and baselines",
            ),
        ]
    return _section("figures", f"Cost and {tables.metric.title}", blocks)


def _figure_note(tables: Tables) -> str:
    note = "Lower left is better. The line falls along the best mean error at each cost."
    if tables.draws.spread_known:
        note += " The band holds the whole front of true errors in 90 % of the draws, among the networks trained."
    return note


def _baselines(history: History, tables: Tables) -> ReportSection:
    blocks: list[Block] = []
    if tables.baselines:
        lead = (
            "Every baseline beside the Runge-Kutta network of least mean error that costs no more: once by parameters, "
            "once by MACs, with both costs. Shared weights make parameters cheap and leave MACs as they are."
        )
        rows = (tables.baselines, tables.macs_baselines)
        lead += f" {against.FRESH}" if any(map(against.marks_fresh, rows)) else ""
        blocks = [
            Paragraph(text=lead),
            *(against.baseline_table(r, *cost, tables.metric) for r, cost in zip(rows, against.COSTS, strict=True)),
        ]
    return _section("baselines", "Against the baselines", blocks)


def _front(history: History, tables: Tables) -> ReportSection:
    blocks: list[Block] = []
    if tables.front:
        metrics = [m for m in columns(tables.arch_metrics) if m.kind != "flag" and m.field != "train_time_s"]
        metrics.append(arch_metric("beaten_by"))
        volumes = ((tables.hypervolume, "parameters"), (tables.macs_hypervolume, "MACs"))
        blocks = [
            Paragraph(text=_front_note(tables)),
            _metric_table("front", "", metrics, [tables.row(row.item.arch) for row in tables.front]),
            *(Paragraph(text=hypervolume_sentence(found, cost)) for found, cost in volumes if found),
        ]
    return _section("front", "The front", blocks)


def _front_note(tables: Tables) -> str:
    both = {row.item.arch for row in tables.front} & {row.item.arch for row in tables.macs_front}
    note = (
        f"No other Runge-Kutta network has as few parameters and as low a mean {tables.metric.title}. The front "
        f"by MACs has {text.count(len(tables.macs_front), 'network')}; {_also(len(both), len(tables.macs_front))}."
    )
    if not tables.draws.spread_known:
        return f"{note} No network has two seeds that differ, so nothing can be said of chance."
    return (
        f"{note} The errors shown are the lowest of many and so partly luck; the expected error of a further training "
        f"allows for that. {P_FRONT}"
    )


def _also(number: int, of: int) -> str:
    """`2 of them are in this table`."""
    if number == of:
        return "it is in this table" if of == 1 else "all are in this table"
    return f"{number} of them {'is' if number == 1 else 'are'} in this table" if number else "none is in this table"


def _short_long(history: History, tables: Tables) -> ReportSection:
    blocks = short_long_blocks(tables.short_long, tables.metric) if tables.short_long else ()
    return _section("short-long", "Short and long trainings", blocks)


def _control(history: History, tables: Tables) -> ReportSection:
    found = tables.control
    blocks = [Paragraph(text=" ".join(control_sentences(found)))] if found else []
    if history.plan and history.plan.control and not found:
        blocks = [Paragraph(text="Search and random search have not both trained a network to the end yet.")]
    return _section("control", "Search and random search", blocks)


def _progress(history: History, tables: Tables) -> ReportSection:
    blocks: list[Block] = []
    if any(len(arm.epochs) > 1 for arm in tables.histories):
        guess = "" if tables.draws.spread_known else " The band rests on a guess, for no network has two seeds."
        blocks = [
            Paragraph(
                text="Regret: how far the front of what had been found lies above the final front, in percentage "
                "points of error, mean over the logarithm of the size. Errors are those known at the end; epochs and "
                f"hours are those of first trainings, pruned ones included. The band holds 90 % of the draws.{guess}"
            ),
            FigureSlot(
                id="progress", title="Regret to the final front", alt="Regret to the final front as epochs are spent"
            ),
        ]
    return _section("progress", "Progress", blocks, PAGE_ONLY)


def _choices(history: History, tables: Tables) -> ReportSection:
    blocks: Iterable[Block] = ()
    if tables.front:
        trained = {item.arch for item in tables.items}
        pruned = len({spec.arch for spec, _ in history.pruned.values()} - trained)
        blocks = choices_blocks(tables.effects, tables.importances, tables.choice_sample, pruned, tables.metric)
    return _section("choices", "What the choices do", blocks)


def _trust(history: History, tables: Tables) -> ReportSection:
    blocks = calibration_blocks(tables.calibration) if tables.calibration else ()
    return _section("trust", "Can these intervals be trusted?", blocks)


def _classes(history: History, tables: Tables) -> ReportSection:
    blocks = class_error_blocks(tables.class_errors) if tables.class_errors else ()
    return _section("classes", "Errors by class", blocks)


def _architectures(history: History, tables: Tables) -> ReportSection:
    blocks: list[Block] = []
    if tables.archs:
        blocks = [
            Paragraph(text=f"Every architecture with a complete training. {P_FRONT}"),
            FigureSlot(id="networks", title="All networks", alt="Every network with its costs and errors"),
        ]
    return _section("architectures", "All architectures", blocks, PAGE_ONLY)


def _failures(history: History, tables: Tables) -> ReportSection:
    rows = [row for row in tables.trials if row.status == "failed"]
    blocks: list[Block] = []
    if rows:
        blocks = [
            Paragraph(text="Trainings that failed, with their reasons. They count nowhere else."),
            _metric_table("failures", "", columns(TRIAL_METRICS), rows),
        ]
    return _section("failures", "Failures", blocks)


def _damage(history: History, tables: Tables) -> ReportSection:
    left_out: Sequence[Damage | Unknown] = sorted([*history.damage, *history.unknown], key=lambda found: found.line)
    blocks: list[Block] = []
    if left_out:
        rows = tuple(
            TableRow(
                cells=(
                    TableCell(text=f"{found.line:,}"),
                    TableCell(text="damaged" if isinstance(found, Damage) else "unknown here"),
                    TableCell(text=text.one_line(found.record)),
                    TableCell(text=text.one_line(found.field) if isinstance(found, Damage) else ""),
                    TableCell(text=text.one_line(found.reason)),
                )
            )
            for found in left_out
        )
        heads = (TableColumn(label="Line", numeric=True), *map(_head, ("State", "Record", "Field", "Reason")))
        counts = [text.count(len(history.damage), "damaged line")] if history.damage else []
        counts += [text.count(len(history.unknown), "unknown line")] if history.unknown else []
        blocks = [
            Paragraph(
                text=f"{text.listing(counts)} of the ledger could not be used. This report shows what all others say."
            ),
            ReportTable(id="damage", caption="", columns=heads, rows=rows),
        ]
    return _section("damage", "Damaged lines of the ledger", blocks)


def _head(label: str) -> TableColumn:
    return TableColumn(label=label)


def _run(history: History, tables: Tables) -> ReportSection:
    shown = tuple(LabelledFact(label=label, value=value, code=label in CODE) for label, value in facts(history, tables))
    sentences = Paragraph(text=" ".join(reading_sentences(history)))
    return _section("run", "What was run", (sentences, FactList(facts=shown)))


def _limitations(history: History, tables: Tables) -> ReportSection:
    notes = limitations(history, tables)
    return _section("limitations", "Limitations", [BulletList(items=tuple(notes))] if notes else [])


def _again(history: History, tables: Tables) -> ReportSection:
    blocks: list[Block] = [
        CodeBlock(text=text.one_line(command(history))),
        Paragraph(
            text="rksearch report derives every other file of this directory from ledger.jsonl. report.html opens in a "
            "browser without a network and has all networks, all costs and the learning curves."
        ),
    ]
    return _section("again", "Repeat this run", blocks, README_ONLY)


SECTIONS: tuple[Callable[[History, Tables], ReportSection], ...] = (
    _ladder,
    _figures,
    _baselines,
    _front,
    _short_long,
    _control,
    _progress,
    _choices,
    _trust,
    _classes,
    _architectures,
    _failures,
    _damage,
    _run,
    _limitations,
    _again,
)
"""The sections in reading order."""


def _metric_table(id: str, caption: str, metrics: Sequence[Metric], rows: Iterable[Any]) -> ReportTable:
    """A table of these columns of rows of `Tables`."""
    return ReportTable(
        id=id,
        caption=caption,
        columns=tuple(TableColumn(label=m.label, numeric=m.is_number, note=m.note) for m in metrics),
        rows=tuple(_metric_row(metrics, row) for row in rows),
    )


def _metric_row(metrics: Sequence[Metric], row: Any) -> TableRow:
    cells = tuple(
        TableCell(
            text=show(metric, row),
            arch=row.arch if metric.field == "arch" and isinstance(row, ArchRow) else None,
        )
        for metric in metrics
    )
    if not isinstance(row, ArchRow):
        return TableRow(cells=cells)
    tone: Tone = "baseline" if row.role == "baseline" else "front" if row.on_front else ""
    return TableRow(cells=cells, tone=tone)
