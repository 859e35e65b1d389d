"""The sampler of docs/extending.md, added from outside: in a study of anyone's, in a program, and as a plugin."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import optuna
import pytest

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.results.ledger import Ledger
from rksearch.search.samplers.registry import make_sampler, samplers
from rksearch.search.samplers.study import RunStudy
from rksearch.space import load_space, parse_space
from tests.helpers.command_line import TINY_SPACE
from tests.helpers.command_line import rksearch as rksearch_command
from tests.helpers.extending import example, installed, registrations_forgotten

EXAMPLE = example("A sampler")


def test_the_example_has_less_than_fifty_lines() -> None:
    assert EXAMPLE.count("\n") < 50


@pytest.fixture(scope="module")
def local_search() -> Iterator[ModuleType]:
    module = ModuleType("local_search")
    exec(EXAMPLE, module.__dict__)
    with registrations_forgotten(samplers):
        module.register()
        yield module


def test_it_works_in_an_ordinary_study(local_search: ModuleType) -> None:
    space = load_space("quickstart")
    sampler = local_search.make(space, objectives=("val_error_pct", "params"), trials=20, seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        spec = space.from_choices({key: trial.suggest_categorical(key, v) for key, v in space.dimensions().items()})
        assert spec in space
        return 100 - float(len(str(spec))), float(cost(spec, space.definition.dataset).params)

    study.optimize(objective, n_trials=20)
    assert len(study.best_trials) >= 1


def test_in_a_program_it_proposes_what_is_feasible_and_new_for_a_run(local_search: ModuleType) -> None:
    assert samplers.get("local").title == "a local search"
    space = parse_space(TINY_SPACE, name="tiny")
    objectives = ("val_error_pct", "params")
    run = RunStudy(space, make_sampler("local", space, objectives=objectives, trials=9, seed=0), objectives=objectives)
    taken: set[str] = set()
    while (arch := run.propose(taken)) is not None:
        assert arch not in taken
        assert parse(arch) in space
        taken.add(arch)
    assert taken == set(map(str, space))


def plugin(directory: Path) -> dict[str, str]:
    """The environment of a user who has installed the example as a package."""
    return installed(directory, "local", "local_search", EXAMPLE)


def called(*args: str, env: dict[str, str] | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    return rksearch_command(*args, env=env, cwd=cwd, timeout_s=500)


def test_as_a_plugin_it_is_chosen_in_space_files_and_on_the_command_line(tmp_path: Path) -> None:
    space_file = tmp_path / "space.yaml"
    space_file.write_text(TINY_SPACE.replace("search: {", "search: {sampler: local, "), encoding="utf-8")
    env = plugin(tmp_path / "site-packages")
    shown = called("space", "show", str(space_file), env=env, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    other = called("run", "--space", str(space_file), "--sampler", "locale", env=env, cwd=tmp_path)
    assert other.returncode == 2
    assert "local" in other.stderr.replace("locale", "")
    unknown = called("space", "show", str(space_file), env=None, cwd=tmp_path)
    assert unknown.returncode != 0
    assert "local" in unknown.stderr


@pytest.mark.slow
@pytest.mark.ci
def test_as_a_plugin_it_proposes_the_candidates_of_a_run(tmp_path: Path) -> None:
    space_file = tmp_path / "space.yaml"
    space_file.write_text(TINY_SPACE, encoding="utf-8")
    run_dir = tmp_path / "run"
    options = ("--space", str(space_file), "--out", str(run_dir), "--sampler", "local", "--trials", "4")
    done = called("run", *options, env=plugin(tmp_path / "site-packages"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    history = Ledger(run_dir).read()
    assert history.state == "finished"
    assert sum(spec.role == "candidate" and not spec.replicate for spec, _ in history.trials.values()) == 4
