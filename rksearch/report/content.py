"""Content of a report from the history of its run: what page and README say, see `rksearch.report.sections`."""

from __future__ import annotations

from collections.abc import Mapping

from rksearch.report.sections import ReportContent
from rksearch.results.history import History
from rksearch.results.tables import Tables


def report_content(history: History, tables: Tables, importances: Mapping[str, float] | None = None) -> ReportContent:
    """Everything that the report of a run says.

    Args:
        history: the history of the run.
        tables: the tables derived from it.
        importances: share of the variance that each choice explains, by name.
    """
    raise NotImplementedError
