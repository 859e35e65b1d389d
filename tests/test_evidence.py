"""The script that makes what lies under `reports/`: its commands parse, and it tells one code from another."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rksearch.recipes.shipped import recipe
from rksearch.results.environment import current_environment
from tests.helpers.documents import ROOT
from tests.helpers.parsing import refusal
from tests.helpers.tools import tool

evidence = tool("evidence")


def commands() -> list[str]:
    return [command for part in evidence.PARTS for command in part.commands]


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=n@localhost")
    return subprocess.run(
        ["git", "-C", directory, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose package prints what it is asked, fails at `bad` and has failed trainings at `some`."""
    package = tmp_path / "rksearch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import sys; print(sys.argv[1:]); sys.exit({'bad': 1, 'some': 3}.get(sys.argv[1]))"
    )
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    return tmp_path


def part(*commands: str, writes: tuple[str, ...] = ()) -> Any:
    return evidence.Part(name="x", hours=1, writes=writes, commands=commands)


def test_every_command_is_one_of_the_command_line_or_a_script() -> None:
    for command in commands():
        words = tuple(command.partition(" > ")[0].split())
        if words[0] == "rksearch":
            assert refusal(words, complete=True) is None, command
        else:
            assert words[0] == "python"
            assert (ROOT / words[1]).is_file(), command


def test_what_is_written_lies_where_the_commands_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert len({written for own in evidence.PARTS for written in own.writes}) == sum(
        len(own.writes) for own in evidence.PARTS
    )
    for own in evidence.PARTS:
        told = evidence.described(own)
        assert all(command in told for command in own.commands)
        for written in own.writes:
            directory = Path("reports", written).parent.as_posix()
            # `bench recipes` and `bench search` write there unless they are told otherwise.
            by_default = own.name == "recipes" or own.name.startswith("search_benchmark")
            assert by_default or any(directory in command for command in own.commands), written


def test_parts_run_in_order_until_a_command_fails(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert evidence.make([part("rksearch one", "rksearch two > kept.txt"), part("rksearch three")]) == 0
    said = capfd.readouterr().out.splitlines()
    assert said == ["+ rksearch one", "['one']", "+ rksearch two > kept.txt", "+ rksearch three", "['three']"]
    assert (checkout / "kept.txt").read_text() == "['two']\n"
    assert evidence.make([part("rksearch bad > kept.txt", "rksearch four")]) == 1
    assert "four" not in capfd.readouterr().out
    assert (checkout / "kept.txt").read_text() == "['two']\n", "what a failed command prints replaces nothing"
    assert evidence.make([part("rksearch some", "rksearch five")]) == 0, "failed trainings are rows of a report"
    assert "five" in capfd.readouterr().out


def test_a_measurement_of_this_command_code_and_cpu_is_not_made_again(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = "rksearch bench train --to found.json"

    def made() -> bool:
        assert evidence.make([part(command)]) == 0
        return f"+ {command}" in capfd.readouterr().out

    def write(**differing: Any) -> None:
        environment = {
            **{"rksearch": "1", "command": command.split(), "dirty": False},
            **{"commit": git(checkout, "rev-parse", "HEAD"), "cpu": current_environment().cpu},
        }
        (checkout / "found.json").write_text(json.dumps({"environment": environment | differing}))

    assert made()
    write()
    assert not made()
    for differing in ({"cpu": "another"}, {"commit": None}, {"dirty": True}, {"command": [*command.split(), "--json"]}):
        write(**differing)
        assert made(), differing
    write()
    (checkout / "words.md").write_text("words\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "another commit with the same code")
    assert not made()
    (checkout / "rksearch" / "__init__.py").write_text("changed = 1\n")
    git(checkout, "commit", "--quiet", "--all", "-m", "code")
    assert made()


def test_code_with_changes_makes_nothing(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "rksearch" / "__init__.py").write_text("changed = 1\n")
    assert evidence.make([part("rksearch one")]) == 2
    assert "uncommitted" in capsys.readouterr().err


def test_results_of_other_code_are_told_from_those_of_this(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = checkout / "reports"
    reports.mkdir()
    first = git(checkout, "rev-parse", "HEAD")
    (reports / "run.json").write_text(json.dumps([{"environment": {"commit": first}}]))
    (reports / "page.json").write_text(json.dumps({"environment": {"commit": first, "played_with": [first]}}))
    (reports / "store.jsonl").write_text(f'{{"conditions": 1}}\n{{"commit": "{first}"}}\n')
    (reports / "none.json").write_text("{}")
    (checkout / "rksearch" / "README.md").write_text("words\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "results and words")  # another commit with the same code
    own = part(writes=("run.json", "page.json", "store.jsonl"))
    assert evidence.check([own]) == 0
    assert capsys.readouterr().out.count("as here") == 3
    assert evidence.check([part(writes=("none.json",)), part(writes=("gone.json",))]) == 1
    assert capsys.readouterr().out.splitlines() == ["reports/none.json: without a commit", "reports/gone.json: missing"]
    (checkout / "rksearch" / "__init__.py").write_text("changed = 1\n")
    git(checkout, "commit", "--quiet", "--all", "-m", "code")
    assert evidence.check([own]) == 1
    assert capsys.readouterr().out.count(f"from other code, {first[:12]}: since then ") == 3
    with (reports / "store.jsonl").open("a") as file:
        file.write(f'{{"commit": "{git(checkout, "rev-parse", "HEAD")}, with uncommitted changes"}}\n')
    assert evidence.check([part(writes=("store.jsonl",))]) == 1


def test_a_ledger_that_grows_is_no_change_of_the_code(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are appended to committed files while a benchmark goes on."""
    import rksearch

    (checkout / "ledger.jsonl").write_text("1\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "results")
    monkeypatch.setattr(rksearch, "__file__", str(checkout / "rksearch" / "__init__.py"))
    (checkout / "ledger.jsonl").write_text("1\n2\n")
    found = current_environment()
    assert (found.commit, found.dirty) == (git(checkout, "rev-parse", "HEAD"), False)
    (checkout / "rksearch" / "__init__.py").write_text("changed = 1\n")
    assert current_environment().dirty


def test_the_learning_rate_s_recipes_differ_from_fast_in_the_rate_alone() -> None:
    fast = recipe("fast")
    for name, factor in (("third", 1 / 3), ("triple", 3)):
        own = recipe(ROOT / "reports" / "learning_rate" / f"{name}.yaml")
        assert own.lr == pytest.approx(factor * fast.lr, rel=1e-2)
        assert replace(own, name="fast", lr=fast.lr) == fast
