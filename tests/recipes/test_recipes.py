"""Shipped recipes, their fields and the errors of wrong ones."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from rksearch.cli.main import cli
from rksearch.errors import SpaceError
from rksearch.recipes.reading import parse_recipe
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipe, recipe_text, recipes
from rksearch.results.codec import from_plain, to_plain
from rksearch.space import load_space, parse_space

SGD = {
    "batch_size": 64,
    "lr": 0.1,
    "milestones": (0.5, 0.75),
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "augment": True,
}


def test_the_shipped_recipes_are_those_of_every_result_so_far() -> None:
    assert {name: asdict(own) for name, own in recipes().items()} == {
        "paper": {"name": "paper", "epochs": 300, "schedule": "step", "warmup": 0.0, **SGD},
        "short": {"name": "short", "epochs": 30, "schedule": "cosine", "warmup": 0.1, **SGD},
    }
    for own in recipes().values():
        assert from_plain(Recipe, to_plain(own)) == own
        assert [type(value) for value in asdict(own).values()] == [
            str, int, int, float, str, tuple, float, float, bool, float, bool
        ]  # fmt: skip


def test_the_rate_of_the_paper_falls_by_ten_at_half_and_three_quarters() -> None:
    rates = [recipe("paper").lr_at(epoch * 7, 7) for epoch in (0, 149, 150, 224, 225, 299)]
    assert rates == [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1, 0.1 * 0.1**2, 0.1 * 0.1**2]


def test_the_short_rate_rises_for_a_tenth_and_falls_along_a_cosine() -> None:
    short = recipe("short", epochs=10)
    rates = [short.lr_at(step, 10) for step in range(100)]
    assert rates[:10] == [0.1 * (i + 1) / 10 for i in range(10)]
    assert rates[10:] == [0.1 * 0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(90)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "shrt"}, r"the recipe must be one of paper, short, but got 'shrt' \(did you mean 'short'\?\)"),
        ({"name": "short", "epoch": 3}, r"a recipe has the fields epochs, .*, but got 'epoch' \(did you mean 'epochs'"),
        ({"name": "short", "epochs": 0}, r"recipe: epochs must be at least 1, but got 0"),
        ({"name": "short", "schedule": "line"}, r"recipe: schedule must be step or cosine, but got 'line'"),
    ],
)
def test_errors_name_rule_and_value(asked: dict[str, object], message: str) -> None:
    fields = dict(asked)
    with pytest.raises(SpaceError, match=message):
        recipe(str(fields.pop("name")), **fields)


OWN = """# of one's own
epochs: 3
lr: 1e-2
schedule: cosine
milestones: [0.6, 0.3]
momentum: 0
nesterov: false
"""


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("30", 1, "recipe file: must hold keys"),
        ("lr: 0.1", 1, "recipe file: the key epochs is missing; add `epochs: ...`"),
        ("epochs: 3\nlearning_rate: 0.1", 2, "the keys are epochs, .*but got learning_rate"),
        ("epochs: 3\nmomentun: 0.1", 2, "did you mean 'momentum'"),
        ("epochs: 3\nepochs: 4", 2, "epochs is given twice"),
        ("epochs: three", 1, "epochs: must be a whole number .*but got three"),
        ("epochs: 0", 1, "epochs: recipe: epochs must be at least 1, but got 0"),
        ("epochs: 3\nlr: fast", 2, "lr: must be a number"),
        ("epochs: 3\naugment: 1", 2, "augment: must be true or false"),
        ("epochs: 3\nmilestones: [0.5, 1.5]", 2, "milestones must lie between 0 and 1"),
        ("epochs: 3\nmilestones: 0.5", 2, "milestones: must be a list"),
        ("epochs: 3\nlr: 0.1\nmomentum: 0", 3, "nesterov needs a momentum above 0, but got 0"),
        ("epochs: 3\nname: other", 2, "the keys are epochs"),
        ("a: [", 2, "not YAML"),
    ],
)
def test_a_broken_rule_of_a_recipe_file_is_one_line_that_points_at_it(text: str, line: int, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        parse_recipe(text, name="own", file="dir/own.yaml")
    assert str(caught.value).startswith(f"dir/own.yaml:{line}: ")
    assert "\n" not in str(caught.value)


def test_recipe_files_are_read_by_path(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    own = recipe(tmp_path / "own.yaml")
    assert own == Recipe(
        name="own", epochs=3, lr=0.01, schedule="cosine", milestones=(0.3, 0.6), momentum=0.0, nesterov=False
    )
    assert recipe(str(tmp_path / "own.yaml"), epochs=5) == replace(own, epochs=5)
    assert recipe_text(tmp_path / "own.yaml") == OWN
    with pytest.raises(SpaceError, match=r"cannot read the recipe file \./none\.yaml: No such file"):
        recipe("./none.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(SpaceError, match="a recipe file must hold keys, but it is empty; start with `epochs: 30`"):
        recipe(tmp_path / "empty.yaml")


SPACE = """
dataset: digits
growth_rate: [4]
periods: [{m: [1, 2], s: [1], r: [1]}]
recipe: RECIPE
"""


def test_the_path_of_a_recipe_in_a_space_starts_at_the_space(tmp_path: Path) -> None:
    (tmp_path / "spaces").mkdir()
    (tmp_path / "own.yaml").write_text(OWN)
    file = tmp_path / "spaces" / "small.yaml"
    file.write_text(SPACE.replace("RECIPE", "../own.yaml"))
    own = recipe(tmp_path / "own.yaml")
    space = load_space(file)
    assert space.definition.recipe == own
    file.write_text(SPACE.replace("RECIPE", "{name: ../own.yaml, epochs: 7, nesterov: true, momentum: 0.5}"))
    assert load_space(file).definition.recipe == replace(own, epochs=7, nesterov=True, momentum=0.5)
    file.write_text(SPACE.replace("RECIPE", "{name: ../own.yaml, nesterov: true}"))
    with pytest.raises(SpaceError, match=r"small.yaml:5: nesterov of recipe: recipe: nesterov needs a momentum"):
        load_space(file)
    (tmp_path / "own.yaml").write_text("epochs: 3\nlr: -1")
    file.write_text(SPACE.replace("RECIPE", "../own.yaml"))
    with pytest.raises(SpaceError, match=r"own\.yaml:2: lr: recipe: lr must be above 0, but got -1"):
        load_space(file)
    # A run that is resumed has its recipe from its ledger, wherever the file is by then.
    assert parse_space(space.definition.yaml, name="small", recipe=own).definition == space.definition


def test_the_commands_show_recipes(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    run = CliRunner().invoke
    listed = run(cli, ["recipe", "list"], catch_exceptions=False).output
    assert [line.split()[0] for line in listed.splitlines()] == list(recipes())
    assert run(cli, ["recipe", "show", str(tmp_path / "own.yaml")], catch_exceptions=False).output == OWN
    shown = json.loads(run(cli, ["recipe", "show", "paper", "--json"], catch_exceptions=False).output)
    assert from_plain(Recipe, shown) == recipe("paper")
