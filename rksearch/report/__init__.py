"""Reports of a run from its ledger: an HTML page, CSV files, Markdown and a picture; and the state of a run."""

from rksearch.report.status import format_status, status_json
from rksearch.report.write import write_figures, write_report

__all__ = ["format_status", "status_json", "write_figures", "write_report"]
