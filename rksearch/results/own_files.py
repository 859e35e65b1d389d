"""Marks by which files that rksearch writes are told from files of the user's: each file is judged by itself.

A mark stands in a fixed place, so that a file that mentions rksearch, or holds a file of ours, is still the user's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rksearch.ordinary import open_ordinary, read_json, read_ordinary
from rksearch.results.columns import ARCH_METRICS, CURVE_COLUMNS, EFFECT_METRICS, TRIAL_METRICS
from rksearch.results.files import begins_with

REPORT = "rksearch report"
"""The command that writes the derived files of a run directory, as they name it."""

NEAR_BYTES = 2**16
"""Bytes at the beginning or the end of a file in which a mark is looked for."""

LARGEST_RECORD_BYTES = 100_000_000
"""Largest derived file of YAML or JSON that is looked at."""

PAGE_HEAD = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
"""Beginning of every page, of any version; the generator follows it."""

PICTURE_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" data-generator="rksearch"'
"""Beginning of every SVG file of a figure or drawing."""

EARLIER_README = (
    b"Every file here but `ledger.jsonl` is derived from it; `rksearch report` on this directory writes them"
)
"""Beginning of the last line of a `README.md` by the first versions of `rksearch report`."""

EARLIER_PAGES = (
    PAGE_HEAD + '\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data: blob:\">\n<title>",
    PAGE_HEAD + '\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n<meta http-equiv="Content-Security-Policy" '
    'content="default-src &#39;none&#39;; ',
)
"""Beginnings of pages by versions that named no generator in them."""

EARLIER_PICTURES = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 500" width="860" height="500" role="img" '
    'aria-labelledby="t">',
    '<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 ',
)
"""Beginnings of figures by versions that named no generator in them: known in the places of figures alone."""


def last_line(command: str) -> str:
    """The last line of Markdown that a command writes; no reader of the rendered text sees it."""
    return f"<!-- Written by `{command}`, and written again by it: changes here are lost. -->"


def page_head(command: str) -> str:
    """Beginning of a page that a command writes, which names it as the generator."""
    return f'{PAGE_HEAD}<meta name="generator" content="{command}">'


def is_own_markdown(path: Path, command: str) -> bool:
    """Whether Markdown was written by a command: whether its last line says so."""
    return _end(path) == last_line(command).encode()


def is_own_readme(path: Path) -> bool:
    """Whether a `README.md` was written by `rksearch report`, of any version."""
    return is_own_markdown(path, REPORT) or _end(path).startswith(EARLIER_README)


def is_own_page(path: Path, command: str) -> bool:
    """Whether a page was written by a command."""
    return begins_with(path, page_head(command).encode())


def is_own_picture(path: Path) -> bool:
    """Whether an SVG file of a figure or drawing was written by rksearch."""
    return begins_with(path, PICTURE_HEAD.encode())


def is_marked(path: Path, mark: bytes) -> bool:
    """Whether an ordinary file has a mark near its beginning or its end."""
    try:
        with open_ordinary(path, sys.maxsize) as file:
            head = file.read(NEAR_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - NEAR_BYTES))
            return mark in head or mark in file.read(NEAR_BYTES)
    except OSError:
        return False


def _end(path: Path) -> bytes:
    """The last line of a file that is not blank; empty where it cannot be read."""
    try:
        with open_ordinary(path, sys.maxsize) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - NEAR_BYTES))
            return file.read(NEAR_BYTES).rstrip().rpartition(b"\n")[2]
    except OSError:
        return b""


# -- files of a run directory


def is_own_figure(path: Path) -> bool:
    """Whether a file in the place of a figure was written by rksearch, of any version."""
    return is_own_picture(path) or any(begins_with(path, head.encode()) for head in EARLIER_PICTURES)


def is_own_report(path: Path, command: str) -> bool:
    """Whether a page in the place of a command's was written by rksearch, of any version."""
    return is_own_page(path, command) or any(begins_with(path, head.encode()) for head in EARLIER_PAGES)


def _is_own_table(path: Path, first: tuple[str, ...], known: Iterable[str]) -> bool:
    """Whether the header of a CSV file has these columns first, and others that are known.

    Earlier versions had fewer columns, and which of the optional ones are there depends on the run.
    """
    try:
        with open_ordinary(path, sys.maxsize) as file:
            names = tuple(file.readline(NEAR_BYTES).decode(errors="replace").rstrip("\r\n").split(","))
    except OSError:
        return False
    return names[: len(first)] == first and len(set(names)) == len(names) and set(names) <= set(known)


def _is_own_plan(path: Path) -> bool:
    """Whether a YAML file has the keys of `run.yaml`, in its order and no others, and no remarks."""
    try:
        lines = read_ordinary(path, LARGEST_RECORD_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return False
    # Lines of a value are indented, or items of a list.
    keys = [line.partition(":")[0] for line in lines if line and line[0] not in " -"]
    return keys == ["name", "space", "space_sha256", "plan", "launches"]


def _is_own_sessions(path: Path) -> bool:
    """Whether a JSON file lists environments of sessions."""

    def is_session(entry: Any) -> bool:
        return isinstance(entry, dict) and {"start", "last", "environment", "options"} <= entry.keys()

    found = read_json(path, LARGEST_RECORD_BYTES)
    return isinstance(found, list) and all(map(is_session, found))


def _is_own_space(path: Path) -> bool:
    """Whether a JSON file holds facts about a space; those of a ledger that lost them are empty."""
    found = read_json(path, LARGEST_RECORD_BYTES)
    return isinstance(found, dict) and (not found or {"raw_size", "canonical_size", "rejected", "yaml"} <= found.keys())


def _fields(metrics: Iterable[Any]) -> tuple[str, ...]:
    return tuple(metric.field for metric in metrics)


DERIVED: Mapping[str, Callable[[Path], bool]] = {
    "run.yaml": _is_own_plan,
    "environment.json": _is_own_sessions,
    "space.json": _is_own_space,
    "trials.csv": partial(_is_own_table, first=_fields(TRIAL_METRICS[:7]), known=_fields(TRIAL_METRICS)),
    "curves.csv": partial(_is_own_table, first=CURVE_COLUMNS, known=CURVE_COLUMNS),
    "front.csv": partial(_is_own_table, first=_fields(ARCH_METRICS[:5]), known=_fields(ARCH_METRICS)),
    "effects.csv": partial(_is_own_table, first=_fields(EFFECT_METRICS[:11]), known=_fields(EFFECT_METRICS)),
    "front.svg": is_own_figure,
    "README.md": is_own_readme,
    "report.html": partial(is_own_report, command=REPORT),
}
"""Files that a report writes into a run directory, and for each whether such a file was written by a report."""
