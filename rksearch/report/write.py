"""Writes every derived file of a run directory from its ledger alone.

The same ledger gives the same bytes: nothing here reads a clock, draws a random id or looks at the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rksearch.errors import RunError
from rksearch.report.html import report_html
from rksearch.report.markdown import report_markdown
from rksearch.report.svg import front_svg
from rksearch.results.codec import to_plain
from rksearch.results.columns import EFFECT_METRICS, TRIAL_METRICS, csv_text
from rksearch.results.files import write_atomically
from rksearch.results.history import History
from rksearch.results.run_dir import is_own_readme
from rksearch.results.tables import tables


def write_report(run_dir: Path, history: History, importances: Mapping[str, float] | None = None) -> list[Path]:
    """Regenerate all derived files; each is replaced whole or not at all.

    A `README.md` of the user's stays, and the report's is `README.rksearch.md`.

    Args:
        run_dir: the run directory, or another one.
        history: the history of its run.
        importances: share of the variance that each choice explains, by name; from `rksearch.results.importances`.

    Returns:
        The files written: page, CSV tables, README, picture, and the records of plan, environment and space.

    Raises:
        RunError: the directory cannot be written.
    """
    paths = []
    for name, content in derived_files(history, importances).items():
        path = Path(run_dir) / name
        if name == "README.md" and path.exists() and not is_own_readme(path):
            path = path.with_name("README.rksearch.md")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content.encode())
        except OSError as error:
            raise RunError(
                f"the report must be writable, but {path} is not ({error.strerror}); "
                "free some space, correct the permissions, or write it elsewhere with `rksearch report --to`"
            ) from error
        paths.append(path)
    return paths


def derived_files(history: History, importances: Mapping[str, float] | None = None) -> dict[str, str]:
    """Content of every derived file, by name."""
    derived = tables(history)
    picture = front_svg(derived.items, history.name)
    on_front = [derived.row(row.item.arch) for row in derived.front]
    return {
        "run.yaml": _run_yaml(history),
        "environment.json": _json([_session(history, i) for i in range(len(history.sessions))]),
        "space.json": _json(to_plain(history.space) if history.space else {}),
        "trials.csv": csv_text(TRIAL_METRICS, derived.trials),
        "front.csv": csv_text(derived.arch_metrics, on_front),
        "effects.csv": csv_text(EFFECT_METRICS, derived.effects),
        "front.svg": picture,
        "README.md": report_markdown(history, derived),
        "report.html": report_html(history, derived, picture, importances),
    }


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
