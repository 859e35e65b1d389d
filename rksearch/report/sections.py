"""The structure of a report: one list of sections, which page and README both render.

`rksearch.report.content.report_content` fills it from a history. All text is plain: whoever renders escapes it, and
nothing here knows HTML or Markdown. Cells hold numbers as people read them; the raw ones are in the files beside the
report and in the page's data.

Sections have fixed ids, in this order; a section without content is left out:

    ladder         the size ladder: one table by parameters, one by MACs
    figures        the main charts
    baselines      every baseline with its rival, at no more parameters and at no more MACs
    front          the networks on the front
    short-long     short beside long trainings of the same networks
    control        verdict on random search
    progress       regret against epochs and hours
    choices        what the choices of design do
    trust          how often intervals and probabilities hold in simulated runs
    classes        errors by class
    architectures  all architectures
    failures       trainings that failed
    damage         lines of the ledger that could not be read
    run            what was run
    limitations    limits of what can be concluded
    again          the command that repeats the run
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "win", "half-win", "tie", "loss", "open", "warning", "baseline", "front"]
"""What a cell, row or line stands for, as a name that a style sheet can use. `half-win` costs more in the other cost;
`open` has too few seeds for an interval."""

Medium = Literal["page", "readme"]
"""What a section is shown in."""

MEDIA: frozenset[Medium] = frozenset({"page", "readme"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One short line of the verdict.

    Attributes:
        text: one or two short sentences.
        tone: `win` or `loss` where the line is good or bad news for the Runge-Kutta networks, `warning` for a limit.
    """

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """A number of the run with its label and a note."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table.

    Attributes:
        label: heading.
        numeric: whether cells are aligned as numbers.
        note: explanation in a line; empty where the label says all.
    """

    label: str
    numeric: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """A cell of a table.

    Attributes:
        text: as people read it.
        tone: see `Tone`.
        arch: canonical name of the architecture that the cell names, so that a page can open its card; None elsewhere.
    """

    text: str
    tone: Tone = ""
    arch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of a table.

    Attributes:
        cells: one for each column.
        tone: see `Tone`.
    """

    cells: tuple[TableCell, ...]
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """A table.

    Attributes:
        id: name within the report: `ladder-params`, `ladder-macs`, `baselines-params`, `baselines-macs`, `front`,
            `choices`, `coverage`, `reliability`, `failures`, `damage`, or one of the errors by class.
        caption: title in a few words; empty where the section's title says it.
        columns, rows: the table.
    """

    id: str
    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """One or more sentences."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulletList:
    """Items of one or more sentences each."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFact:
    """A label and its value; `code` where the value is for a terminal."""

    label: str
    value: str
    code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FactList:
    """Labels and values, in reading order."""

    facts: tuple[LabelledFact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSlot:
    """The place of a figure.

    Attributes:
        id: name of the figure: `front`, `curves`, `progress`, `effects`; `networks` is the table that scripts fill.
        title: title in a few words.
        alt: what the figure shows, for those who do not see it.
        file: name of the picture beside the README; empty where there is none.
    """

    id: str
    title: str
    alt: str
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """Lines for a terminal."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A table that a click opens."""

    summary: str
    table: ReportTable


Block = Paragraph | BulletList | FactList | ReportTable | FigureSlot | CodeBlock | Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSection:
    """A section.

    Attributes:
        id: see the module's text.
        title: heading.
        blocks: the content, in reading order.
        media: where it is shown.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]
    media: frozenset[Medium] = MEDIA


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything that a report says.

    Attributes:
        name: the run's name.
        description: what was searched, in a line; empty where it is not recorded.
        state: state of the run; `killed` where the driver died.
        verdict: three short lines at most: the front, the baselines by both costs, and the test set.
        details: further findings, one or two sentences each.
        key_figures: numbers for cards.
        sections: the sections, in reading order.
    """

    name: str
    description: str
    state: str
    verdict: tuple[VerdictLine, ...]
    details: tuple[str, ...]
    key_figures: tuple[KeyFigure, ...]
    sections: tuple[ReportSection, ...]

    def section(self, id: str) -> ReportSection | None:
        """The section of this id; None where it has no content."""
        return next((section for section in self.sections if section.id == id), None)

    def shown_in(self, medium: Medium) -> tuple[ReportSection, ...]:
        """The sections of a medium, in reading order."""
        return tuple(section for section in self.sections if medium in section.media)
