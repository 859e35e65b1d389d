"""Shipped recipes, their fields and the errors of wrong ones."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rksearch.cli.main import cli
from rksearch.errors import SpaceError
from rksearch.recipes.reading import parse_recipe, types
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipe, recipe_text, recipes
from rksearch.results.codec import from_plain, to_plain
from rksearch.space import load_space, parse_space
from tests.helpers.command_line import rksearch

SGD = {
    "batch_size": 64,
    "lr": 0.1,
    "milestones": (0.5, 0.75),
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "augment": True,
}


@pytest.mark.parametrize("name", ["paper", "svhn", "paper_imagenet_256", "paper_imagenet_128"])
def test_one_epoch_has_the_highest_rate_and_longer_trainings_are_as_they_were(name: str) -> None:
    """Halves are rounded to even numbers: half of one epoch is none, after which the rate had fallen at once."""
    for epochs in range(1, 301):
        own = recipe(name, epochs=epochs)
        found = [own.lr_at(2 * epoch, 2) for epoch in range(epochs)]
        assert found[0] == own.lr
        if epochs > 1:
            passed = [sum(epoch >= round(m * epochs) for m in own.milestones) for epoch in range(epochs)]
            assert found == [own.lr * 0.1**count for count in passed]


def test_a_milestone_of_ones_own_is_after_an_epoch_at_least() -> None:
    own = Recipe(name="x", epochs=3, lr=0.4, milestones=(0.1, 0.5))
    assert [own.lr_at(epoch, 1) for epoch in range(3)] == pytest.approx([0.4, 0.04, 0.004])


def test_the_recipes_of_every_result_so_far_are_what_they_were() -> None:
    first = set(SGD) | {"name", "epochs", "schedule", "warmup"}
    off = {key: value for key, value in asdict(Recipe(name="x", epochs=1)).items() if key not in first}
    assert not any(value for key, value in off.items() if key not in (
        "optimizer", "beta2", "decay_norms_and_biases", "augmentation", "randaugment_magnitude"
    ))  # fmt: skip
    for name, own in (
        ("paper", {"epochs": 300, "schedule": "step", "warmup": 0.0}),
        ("short", {"epochs": 30, "schedule": "cosine", "warmup": 0.1}),
    ):
        assert asdict(recipes()[name]) == {"name": name, **own, **SGD, **off}


def test_shipped_recipes_are_read_back_and_have_their_types() -> None:
    assert list(recipes()) == ["fast", "paper", "paper_imagenet_128", "paper_imagenet_256", "short", "svhn"]
    for own in recipes().values():
        assert from_plain(Recipe, to_plain(own)) == own
        assert [type(value) for value in asdict(own).values()] == [str, *types().values()]


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("svhn", {0: 1, 19: 1, 20: 0.1, 29: 0.1, 30: 0.01, 39: 0.01}),
        ("paper_imagenet_256", {0: 1, 29: 1, 30: 0.1, 59: 0.1, 60: 0.01, 89: 0.01}),
        ("paper_imagenet_128", {0: 1, 29: 1, 30: 0.1, 60: 0.01, 89: 0.01, 90: 0.001, 99: 0.001}),
    ],
)
def test_the_rates_of_recipes_of_the_literature(name: str, rates: dict[int, float]) -> None:
    own = recipe(name)
    assert {epoch: own.lr_at(epoch * 5, 5) for epoch in rates} == pytest.approx({e: 0.1 * r for e, r in rates.items()})


def test_the_rate_of_steps_rises_first_where_there_is_a_warm_up() -> None:
    own = Recipe(name="x", epochs=10, lr=0.4, milestones=(0.2, 0.5), warmup=0.3)
    plain = replace(own, warmup=0.0)
    found = [own.lr_at(step, 4) for step in range(40)]
    expected = [plain.lr_at(step, 4) * min(1.0, (step + 1) / 12) for step in range(40)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[12:] == [plain.lr_at(step, 4) for step in range(12, 40)]


@pytest.mark.parametrize(("total", "rising"), [(40, 0.3), (7, 0.2), (10, 0.0), (10, 0.1), (3, 0.5), (1, 0.0), (2, 0.9)])
def test_one_cycle_is_torchs(total: int, rising: float) -> None:
    own = Recipe(name="x", epochs=total, lr=0.4, schedule="one_cycle", warmup=rising)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    found = [own.lr_at(step, 1) for step in range(total)]
    assert max(found) <= 0.4
    if rising * total == 1:
        assert found[0] == pytest.approx(0.4)  # torch divides by zero there
        return
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.4, total, pct_start=rising, anneal_strategy="linear", cycle_momentum=False
    )
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(expected) < total else None
    assert found == pytest.approx(expected)


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
        ({"name": "shrt"}, r"the recipe must be one of fast, .*, but got 'shrt' \(did you mean 'short'\?\)"),
        ({"name": "short", "epoch": 3}, r"a recipe has the fields epochs, .*, but got 'epoch' \(did you mean 'epochs'"),
        ({"name": "short", "epochs": 0}, r"recipe: epochs must be at least 1, but got 0"),
        ({"name": "short", "schedule": "line"}, r"schedule must be step, cosine or one_cycle, but got 'line'"),
        ({"name": "short", "optimizer": "adam"}, r"optimizer must be sgd or adamw, but got 'adam'"),
        ({"name": "short", "augmentation": "big"}, r"augmentation must be crop or scale_aspect, but got 'big'"),
        ({"name": "short", "micro_batch_size": 1}, r"micro_batch_size must be 0, or from 2 to batch_size, which is 64"),
        ({"name": "short", "micro_batch_size": 65}, r"micro_batch_size .* which is 64, but got 65"),
        ({"name": "short", "ema": 1.0}, r"ema must be at least 0 and below 1, but got 1.0"),
        ({"name": "short", "mixup": -1.0}, r"mixup must be 0, or from 0.01 to 1e\+30, but got -1.0"),
        ({"name": "short", "mixup": 1e-320}, r"mixup must be 0, or from 0.01 to 1e\+30, but got 1e-320"),
        ({"name": "short", "mixup": 1e39}, r"mixup must be 0, or from 0.01 to 1e\+30, but got 1e\+39"),
        ({"name": "short", "lr": 1e-46}, r"lr must be above 0 \(from 1e-30 to 1e\+30\), but got 1e-46"),
        ({"name": "short", "lr": 1e39}, r"lr must be above 0 \(from 1e-30 to 1e\+30\), but got 1e\+39"),
        ({"name": "short", "clip_grad_norm": 1e-320}, r"clip_grad_norm must be 0, or from 1e-30 to 1e\+30, but got"),
        ({"name": "short", "clip_grad_norm": math.inf}, r"clip_grad_norm must be 0, or .*, but got inf"),
        ({"name": "short", "weight_decay": 1e308}, r"weight_decay must be 0, or from 1e-30 to 1e\+30, but got"),
        ({"name": "short", "weight_decay": math.nan}, r"weight_decay must be 0, or .*, but got nan"),
        ({"name": "short", "randaugment": 999_999}, r"randaugment must be from 0 to 100, but got 999999"),
        ({"name": "short", "label_smoothing": 1.0}, r"label_smoothing must be at least 0 and below 1"),
        ({"name": "short", "randaugment_magnitude": 31}, r"randaugment_magnitude must be from 0 to 30, but got 31"),
        ({"name": "short", "augment": False, "cutout": 4}, r"translation, .* need augment: true, but got False"),
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
        ("epochs: 3\nlr: \u0663", 2, "lr: must be a number"),  # a digit, of another script
        ("epochs: 3\naugment: 1", 2, "augment: must be true or false"),
        ("epochs: 3\nmilestones: [0.5, 1.5]", 2, "milestones must lie between 0 and 1"),
        ("epochs: 3\nmilestones: 0.5", 2, "milestones: must be a list"),
        ("epochs: 3\nlr: 0.1\nmomentum: 0", 3, "nesterov needs a momentum above 0, but got 0"),
        (
            "epochs: 3\nmixup: 1e-320",
            2,
            "mixup: recipe: mixup must be 0, or from 0.01 to 1e\\+30, but got 1e-320; choose",
        ),
        ("epochs: 3\nname: other", 2, "the keys are epochs"),
        ("a: [", 2, "not YAML"),
    ],
)
def test_a_broken_rule_of_a_recipe_file_is_one_line_that_points_at_it(text: str, line: int, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        parse_recipe(text, name="own", file="dir/own.yaml")
    assert str(caught.value).startswith(f"dir/own.yaml:{line}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["abcdef", "x"])
def test_a_byte_order_mark_shifts_no_value_in_an_error(tmp_path: Path, value: str) -> None:
    """Windows Notepad writes one."""
    (tmp_path / "own.yaml").write_text(f"epochs: {value}\n", encoding="utf-8-sig")
    done = rksearch("recipe", "show", str(tmp_path / "own.yaml"))
    assert done.returncode == 2
    assert f"own.yaml:1: epochs: must be a whole number from 0 to 999,999, but got {value};" in done.stderr
    (tmp_path / "space.yaml").write_text(SPACE.replace("RECIPE", value).lstrip(), encoding="utf-8-sig")
    done = rksearch("space", "show", str(tmp_path / "space.yaml"))
    assert done.returncode == 2
    assert "space.yaml:4: recipe: must be one " in done.stderr
    assert f"but got {value};" in done.stderr
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8-sig")
    assert recipe(tmp_path / "own.yaml").epochs == 3


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
    with pytest.raises(SpaceError, match=r"own\.yaml:2: lr: recipe: lr must be above 0 .*, but got -1"):
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
