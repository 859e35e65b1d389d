"""Markdown of a report, as GitHub shows it: `README.md` of a run, and comparisons."""

from __future__ import annotations

from rksearch.report.rendering import render
from rksearch.report.sections import ReportContent
from rksearch.results.own_files import REPORT, last_line


def report_markdown(content: ReportContent, written_by: str = REPORT) -> str:
    """Verdict, tables, pictures, facts and commands as GitHub's Markdown.

    Args:
        content: what the report says.
        written_by: the command that writes the file, for its last line; empty for what is no file.
    """
    return render(
        "readme.md",
        content=content,
        sections=content.shown_in("readme"),
        kind=lambda part: type(part).__name__,
        last_line=last_line(written_by) if written_by else "",
    )
