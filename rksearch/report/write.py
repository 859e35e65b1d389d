"""Writes every derived file of a run directory from its ledger alone.

The same ledger gives the same bytes: nothing here reads a clock, draws a random id or looks at the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rksearch.errors import RunError, unwritable
from rksearch.ordinary import read_ordinary, write_atomically
from rksearch.report import text
from rksearch.report.content import report_content
from rksearch.report.figures import all_figures, front_figure
from rksearch.report.markdown import report_markdown
from rksearch.report.page import report_html
from rksearch.report.rendering import render
from rksearch.report.sections import ReportContent, ReportTable
from rksearch.report.svg import figure_svg
from rksearch.results.calibration import Calibration
from rksearch.results.codec import to_plain
from rksearch.results.columns import EFFECT_METRICS, TRIAL_METRICS, csv_text, curves_csv
from rksearch.results.files import require_free
from rksearch.results.history import History
from rksearch.results.own_files import is_own_readme
from rksearch.results.tables import tables
from rksearch.results.uncollected import uncollected


def write_report(
    run_dir: Path,
    history: History,
    activation_bytes: Mapping[str, int] | None = None,
    calibration: Calibration | None = None,
) -> list[Path]:
    """Regenerate all derived files; each is replaced whole or not at all.

    A `README.md` of the user's stays, and the report's is `README.rksearch.md`.

    Args:
        run_dir: the run directory, or another one.
        history: the history of its run.
        activation_bytes: as `rksearch.results.tables.tables` takes them.
        calibration: what simulated runs of this shape say about the intervals; None to leave it out.

    Returns:
        The files written: page, CSV tables, README, picture, and the records of plan, environment and space.

    Raises:
        RunError: the directory cannot be written.
        TakenError: a `README.rksearch.md` is the user's too.
    """
    files = derived_files(history, activation_bytes, calibration)
    if not _may_replace(Path(run_dir) / "README.md"):
        files = {"README.rksearch.md" if name == "README.md" else name: text for name, text in files.items()}
        if not _may_replace(Path(run_dir) / "README.rksearch.md"):
            require_free([Path(run_dir) / "README.rksearch.md"], "a report")
    return _write(Path(run_dir), {name: content.encode() for name, content in files.items()})


def _may_replace(readme: Path) -> bool:
    return is_own_readme(readme) or not os.path.exists(readme)


def write_figures(run_dir: Path, history: History, activation_bytes: Mapping[str, int] | None = None) -> list[Path]:
    """Write every figure as PNG, PDF and SVG at column width, and the main tables for LaTeX, into `figures`.

    Args:
        run_dir: directory that holds `figures`.
        history: the history of the run.
        activation_bytes: as `rksearch.results.tables.tables` takes them.

    Raises:
        RunError: the directory cannot be written, or there is no network to show yet.
        TakenError: `figures` holds files of these names, and no table that a report wrote.
    """
    found = figure_files(history, activation_bytes)
    if not found:
        raise RunError("figures need a network that was trained to the end, but there is none; run on, then try again")
    directory = Path(run_dir) / "figures"
    if not any(_is_own_table(directory / name) for name in found if name.endswith(".tex")):
        require_free((directory / name for name in found), "a figure of the report")
    return _write(directory, found)


def _is_own_table(path: Path) -> bool:
    """Whether a table for LaTeX was written by a report, whose first line names table and package."""
    try:
        first, _, rest = read_ordinary(path, LARGEST_TABLE).partition(b"\n")
        named = first.startswith(f"% {path.stem.replace('_', '-')}: ".encode()) and first.endswith(OWN_TABLE)
        return named and rest.startswith(rb"\begin{tabular}{")
    except OSError:
        return False


def _write(directory: Path, files: dict[str, bytes]) -> list[Path]:
    paths = []
    for name, content in files.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            refused = RunError(
                f"the report must be writable, but {path} is not ({error.strerror}); "
                "free some space, correct the permissions, or write it elsewhere with `rksearch report --to`"
            )
            raise unwritable(refused, error) from error
        paths.append(path)
    return paths


@uncollected()
def derived_files(
    history: History,
    activation_bytes: Mapping[str, int] | None = None,
    calibration: Calibration | None = None,
) -> dict[str, str]:
    """Content of every derived file, by name; arguments as for `write_report`."""
    derived = tables(history, activation_bytes, calibration)
    content = report_content(history, derived)
    front = front_figure(derived, content.name)
    on_front = [derived.row(row.item.arch) for row in derived.front]
    return {
        "run.yaml": _run_yaml(history),
        "environment.json": _json([_session(history, i) for i in range(len(history.sessions))]),
        "space.json": _json(to_plain(history.space) if history.space else {}),
        "trials.csv": csv_text(TRIAL_METRICS, derived.trials),
        "curves.csv": curves_csv(history),
        "front.csv": csv_text(derived.arch_metrics, on_front),
        "effects.csv": csv_text(EFFECT_METRICS, derived.effects),
        "front.svg": figure_svg(front),
        "README.md": report_markdown(content),
        "report.html": report_html(history, derived, content, front),
    }


OWN_TABLE = rb". Needs \usepackage{booktabs}."
"""End of the first line of every table for LaTeX that a report wrote."""

LARGEST_TABLE = 100_000_000
"""Largest table for LaTeX that is looked at, in bytes."""

LATEX_TABLES = ("ladder-params", "ladder-macs", "baselines-params", "baselines-macs", "front")
"""Tables of the report that are written for LaTeX too."""


def figure_files(history: History, activation_bytes: Mapping[str, int] | None = None) -> dict[str, bytes]:
    """Content of every figure and of the tables for LaTeX, by name; empty where no network is complete."""
    from rksearch.report.printing import FORMATS, printed  # matplotlib: only where figures are asked for

    derived = tables(history, activation_bytes)
    figures = {
        f"{figure.name}.{kind}": printed(figure, kind)
        for figure in all_figures(derived, text.one_line(history.name))
        for kind in FORMATS
    }
    if not figures:
        return {}
    # The tables stand first: they tell a later report that the figures are its own.
    written = {
        f"{table.id.replace('-', '_')}.tex": render("table.tex", table=table, name=history.name).encode()
        for table in latex_tables(report_content(history, derived))
    }
    return {**written, **figures}


def latex_tables(content: ReportContent) -> list[ReportTable]:
    """The tables that are written for LaTeX too."""
    blocks = [block for section in content.sections for block in section.blocks]
    return [block for block in blocks if isinstance(block, ReportTable) and block.id in LATEX_TABLES]


def _session(history: History, index: int) -> dict[str, Any]:
    session = history.sessions[index]
    return {
        "start": session.start,
        "last": session.last,
        "environment": session.environment.flat(),
        "options": session.options,
        # Older sessions did not count them, and their files stay as they are.
        **({} if session.slots is None else {"trials_at_a_time": session.slots}),
    }


def _run_yaml(history: History) -> str:
    """The plan and the options of each launch, as YAML."""
    asked = {
        "name": history.name,
        "space": history.space.name if history.space else None,
        "space_sha256": history.space.sha256 if history.space else None,
        "plan": to_plain(history.plan) if history.plan else {},
        "launches": [{"time": s.start, "options": s.options} for s in history.sessions],
    }
    return yaml.safe_dump(asked, sort_keys=False, allow_unicode=True, width=120)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
