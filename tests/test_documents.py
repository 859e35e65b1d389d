"""The documents: every command in them is one of the real command line, those that can run are run, and links hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rksearch.cli.main import cli
from tests.helpers.command_line import TINY_SPACE, environment, rksearch
from tests.helpers.documents import (
    FENCE,
    ROOT,
    SHELLS,
    Command,
    blocks,
    commands,
    documents,
    inline_commands,
    relative_links,
    title,
)
from tests.helpers.pictures import digits_folder

PROGRAMS = {
    "pip": "installs from a registry",
    "pip3": "installs from a registry",
    "uv": "installs from a registry",
    "uvx": "installs from a registry",
    "pytest": "the tests themselves",
    "ruff": "run by .ci/run",
    "mypy": "run by .ci/run",
    "pre-commit": "changes the checkout's hooks",
    ".ci/run": "installs, and runs these tests",
    "ray": "changes the user's Ray token, or needs further machines",
    "optuna-dashboard": "a server, which is not installed by the tests' environment",
    "prometheus": "not a Python package",
    "grafana": "not a Python package",
}
"""Programs of others in the documents, and why no test runs them."""

OTHER_PYTHON = {"python tools/fuzz.py --inputs 100000": "tests/cli/test_fuzzing.py runs some thousand inputs"}
"""Commands that run Python, and which test runs what they run."""

HISTORY = ("CHANGELOG.md", "reports/")
"""Documents whose commands are records: some are of earlier versions."""


def current() -> list[Path]:
    """The documents whose commands are for today."""
    return [path for path in documents() if not title(path).startswith(HISTORY)]


def ours(path: Path) -> list[Command]:
    """The commands of a document that are rksearch's."""
    return [command for command in commands(path) if command.words[0] == "rksearch"]


def refusal(words: tuple[str, ...], *, complete: bool) -> str | None:
    """What the command line says against a command that it parses without running it; None where nothing.

    Args:
        words: the command, `rksearch` first.
        complete: whether nothing may be missing; prose also names commands without their arguments.
    """
    own: click.Command = cli
    name, rest, context = "rksearch", list(words[1:]), None
    try:
        while True:
            missing = not rest and isinstance(own, click.Group)
            if missing:
                return "a command is missing" if complete else None
            context = own.make_context(name, rest, parent=context, resilient_parsing=False)
            if not isinstance(own, click.Group):
                return None
            found, next_one, rest = own.resolve_command(context, [*context._protected_args, *context.args])
            assert next_one is not None, "resolve_command raises where there is none"
            name, own = found or "", next_one
    except click.MissingParameter as error:
        return error.format_message() if complete else None
    except click.exceptions.Exit:
        return None  # --help
    except click.ClickException as error:
        return error.format_message()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rksearch run --space quickstart --trials 2", None),
        ("rksearch run", "Missing option '--space'"),
        ("rksearch run --space quickstart --tirals 2", "No such option"),
        ("rksearch run --space quickstart --trials two", "not a valid integer"),
        ("rksearch run --space quickstart --device tpu", "is not one of"),
        ("rksearch run --space quickstart --sampler lucky", "is not one of"),
        ("rksearch space shwo quickstart", "No such command"),
        ("rksearch status a b", "unexpected extra argument"),
        ("rksearch bench", "a command is missing"),
    ],
)
def test_a_command_that_is_wrong_is_refused(line: str, says: str | None) -> None:
    found = refusal(tuple(line.split()), complete=True)
    assert found is None if says is None else says in (found or "")


def test_every_command_in_a_block_parses() -> None:
    wrong = [
        (command.document, str(command), found)
        for path in current()
        for command in ours(path)
        if (found := refusal(command.words, complete=True))
    ]
    assert not wrong
    assert sum(len(ours(path)) for path in current()) > 40


def test_every_command_in_prose_parses() -> None:
    wrong = [
        (command.document, str(command), found)
        for path in current()
        for command in inline_commands(path)
        if (found := refusal(with_values(command.words), complete=False))
    ]
    assert not wrong


def with_values(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command with values in the place of placeholders, and without an option whose value is left out."""
    known = [VALUES.get(word, word) for word in words if word != "..."]
    return tuple(known[:-1] if known[-1] in NAMED_ALONE else known)


VALUES = {"N": "1", "local": "random"}
"""Values for placeholders; `local` is the sampler of docs/extending.md, which another test installs."""

NAMED_ALONE = ("--dataset",)
"""Options that prose names at the end of a command without their value."""


def test_every_other_program_is_known() -> None:
    unknown = set()
    for path in documents():
        for command in commands(path):
            first, known = command.words[0], {"rksearch", *PROGRAMS}
            if first not in known and str(command) not in OTHER_PYTHON:
                unknown.add((command.document, str(command)))
    assert not unknown
    scripts = [words for line in OTHER_PYTHON if (words := line.split())]
    assert all((ROOT / words[1]).is_file() for words in scripts)


def test_markers_of_the_tests_that_documents_name_are_known() -> None:
    marked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    known = {line.partition(":")[0] for line in marked}
    named = {
        command.words[command.words.index("-m") + 1]
        for path in documents()
        for command in commands(path)
        if command.words[0] == "pytest" and "-m" in command.words
    }
    assert named <= known


def test_commands_stand_in_blocks_of_a_shell() -> None:
    """Otherwise no test sees them."""
    astray = [
        (title(path), line)
        for path in documents()
        for fence in FENCE.finditer(path.read_text(encoding="utf-8"))
        if fence["language"] not in SHELLS
        for line in fence["body"].splitlines()
        if re.match(r"\s*(\$ )?(uv run )?rksearch ", line)
    ]
    assert not astray


def test_documents_link_to_files_of_the_repository() -> None:
    broken = [
        (title(path), target)
        for path in documents()
        for target in relative_links(path)
        if not (path.parent / target).exists()
    ]
    assert not broken


def test_documents_name_no_address_of_a_package_registry() -> None:
    registry = re.compile(r"--(?:extra-)?index-url|/simple\b|/whl\b")
    named = [title(path) for path in documents() if registry.search(path.read_text(encoding="utf-8"))]
    assert not named


def test_commands_whose_results_scripts_use_print_json() -> None:
    for name in ("train", "final", "paper", "report", "export"):
        assert "--json" in {word for parameter in cli.commands[name].params for word in parameter.opts}, name
    assert all(f"`{name}`" in (ROOT / "docs" / "install.md").read_text() for name in ("train", "final", "paper"))
