"""Completion by the shell, colours, and what is said away from the checkout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.shell_completion import CompletionItem, ShellComplete

import rksearch as package
from rksearch.cli.main import cli
from tests.helpers.command_line import environment, python, rksearch

ROOT = Path(__file__).parents[2]

JSON_COMMANDS = ("status", "report", "compare", "final", "train", "export", "describe", "paper", "families")


def completed(words: str, place: int, **changes: str) -> list[str]:
    """What bash would offer after these words."""
    env = {**environment(), "_RKSEARCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = python("-m", "rksearch", env={**env, **changes})
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.skip("Click asks bash for its version")
    done = python("-m", "rksearch", env={**environment(), "_RKSEARCH_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0, done.stderr
    assert "_RKSEARCH_COMPLETE" in done.stdout


def test_commands_are_completed_in_a_shell() -> None:
    assert {"report", "resume"} <= set(completed("rksearch re", 1))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("report --cal", ["--calibrate"]),
        ("train --device c", ["cpu", "cuda"]),
        ("run --space quick", ["quickstart"]),
        ("run --sampler fro", ["frontier"]),
        ("run --recipe sh", ["short"]),
        ("run --start ResNet-2", ["ResNet-20"]),
        ("resume reports/mine --baseline RKNet-Res-1x3s", ["RKNet-Res-1x3s_1x2s_1x2s"]),
        ("train DenseNet-BC-10", ["DenseNet-BC-100-k12"]),
        ("train --dataset dig", ["digits"]),
        ("space show cifar10_s", ["cifar10_small"]),
        ("recipe show fa", ["fast"]),
        ("data show fash", ["fashion_mnist"]),
        ("bench latency CliqueNet-k36", ["CliqueNet-k36-T12"]),
    ],
)
def test_options_choices_and_names_are_completed(words: str, offered: list[str]) -> None:
    assert [item.value for item in offers(words) if item.type == "plain"] == offered


@pytest.mark.parametrize("words", ["run --space ./mi", "run --recipe mine", "space show ~/sp", "export reports/fi"])
def test_paths_are_completed_by_the_shell(words: str) -> None:
    assert [(item.type, item.value) for item in offers(words)] == [("file", words.split()[-1])]


def offers(words: str) -> list[CompletionItem]:
    *before, typed = words.split()
    return ShellComplete(cli, {}, "rksearch", "_RKSEARCH_COMPLETE").get_completions(before, typed)


@pytest.mark.parametrize("command", JSON_COMMANDS)
def test_commands_of_which_the_documentation_says_so_print_json(command: str) -> None:
    options = [name for option in cli.commands[command].params for name in option.opts]
    assert "--json" in options
    assert f"`{command}`" in (ROOT / "docs" / "install.md").read_text()


@pytest.mark.slow
def test_no_color_turns_colours_off() -> None:
    code = (
        "from rich.console import Console; from rich.table import Table; "
        "table = Table(header_style='red'); table.add_column('x'); Console(force_terminal=True).print(table)"
    )
    coloured = python("-c", code, env={**environment(), "TERM": "xterm-256color"})
    plain = python("-c", code, env={**environment(), "TERM": "xterm-256color", "NO_COLOR": "1"})
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", coloured.stdout)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain.stdout)


def test_the_benchmark_of_searches_says_where_its_table_is(tmp_path: Path) -> None:
    done = rksearch("bench", "search", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for words in ("reports/digits_table", "repository", "--table", "synthetic-quiet"):
        assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_citation_is_of_this_version() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert found["version"] == package.__version__
    assert found["license"] == "Apache-2.0"
    assert found["references"][0]["url"] == "https://arxiv.org/abs/1802.08831"


def test_issue_forms_are_forms() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml"):
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form), path
        ids = [part["id"] for part in form["body"]]
        assert len(ids) == len(set(ids)) > 0
