"""`README.md` of a run, which GitHub shows with the run's directory."""

from __future__ import annotations

from rksearch.report.rendering import render
from rksearch.report.sections import ReportContent


def report_markdown(content: ReportContent) -> str:
    """Verdict, tables, picture, facts about the run and the command that repeats it, as GitHub's Markdown."""
    return render(
        "readme.md", content=content, sections=content.shown_in("readme"), kind=lambda part: type(part).__name__
    )
