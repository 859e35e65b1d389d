"""The data set of docs/extending.md, registered from outside: in this process, and as a plugin in others."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import rksearch
from rksearch.cli.main import cli
from rksearch.data.facts import Dataset, dataset, datasets, register_dataset
from rksearch.data.images import load_images, split
from rksearch.errors import DataError, PluginError
from rksearch.results.codec import to_json_bytes
from rksearch.results.data_record import DataRecord
from rksearch.space import parse_space
from tests.helpers.command_line import TINY_SPACE, python
from tests.helpers.command_line import rksearch as rksearch_command
from tests.helpers.extending import example, installed, registrations_forgotten

EXAMPLE = example("A data set")
SPACE = TINY_SPACE.replace("dataset: digits", "dataset: rings").replace("epochs: 2", "epochs: 1")


@pytest.fixture
def rings() -> Iterator[Dataset]:
    module = ModuleType("rings")
    exec(compile(EXAMPLE, "rings.py", "exec"), module.__dict__)
    with registrations_forgotten(datasets):
        module.__dict__["register"]()
        yield dataset("rings")


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """Environment of a process in which the example is installed."""
    return installed(tmp_path / "site", "rings", "rings", EXAMPLE)


def call(env: dict[str, str], *args: str) -> str:
    done = rksearch_command(*args, env=env, timeout_s=500)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_the_example_has_less_than_fifty_lines() -> None:
    assert len(EXAMPLE.splitlines()) < 50


def test_it_is_registered_loaded_and_split(rings: Dataset, tmp_path: Path) -> None:
    assert rings in datasets.added()  # what other tests have found may be there too
    with pytest.raises(DataError, match=r"which is missing; allow the download"):
        load_images(rings, tmp_path, download=False)
    images = load_images(rings, tmp_path)
    assert images.train_images.shape == (200, 1, 12, 12)
    parts = split(rings, images)
    assert (len(parts.train), len(parts.val)) == (160, 40)
    assert len(parse_space(SPACE, name="rings")) > 3


def test_it_works_in_commands_of_this_process(rings: Dataset, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["describe", "ResNet-8", "--dataset", "rings", "--json"], catch_exceptions=False)
    assert json.loads(done.output)["dataset"] == "rings"
    arguments = ["train", "ResNet-8", "--dataset", "rings", "--epochs", "1", "--threads", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(cli, [*arguments, "--data-dir", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_it_works_as_an_installed_plugin(plugin: dict[str, str], tmp_path: Path) -> None:
    described = json.loads(call(plugin, "describe", "ResNet-8", "--dataset", "rings", "--json"))
    assert described["dataset"] == "rings"
    space = tmp_path / "own.yaml"
    space.write_text(SPACE, encoding="utf-8")
    assert json.loads(call(plugin, "space", "show", str(space), "--json"))["dataset"] == "rings"


@pytest.mark.slow
def test_a_run_trains_and_reports_it(plugin: dict[str, str], tmp_path: Path) -> None:
    space, out = tmp_path / "own.yaml", tmp_path / "run"
    space.write_text(SPACE.replace("trials: 3", "trials: 2"), encoding="utf-8")
    call(plugin, "run", "--space", str(space), "--out", str(out), "--data-dir", str(tmp_path / "data"))
    assert "rings: synthetic rings, 200 training and 100 test images" in (out / "README.md").read_text() + (
        out / "report.html"
    ).read_text(encoding="utf-8")


def test_a_second_data_set_of_that_name_is_refused(rings: Dataset) -> None:
    assert register_dataset(rings) is rings
    with pytest.raises(PluginError, match="'digits' is registered already; choose another name"):
        register_dataset(Dataset(name="digits", channels=1, height=4, width=4, classes=2, mean=(0.0,), std=(1.0,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (0.0, 0.0)}, "data set own: mean and std must have one number per channel"),
        ({"classes": 1}, "data set own: classes must be at least 2, but got 1"),
        ({"crop_padding": 4}, "less than the shorter side of the images, 4, for crops to hold some of them, but got 4"),
        ({"std": (0.0,)}, "data set own: std must be above 0"),
        ({"val_fraction": 1.0}, "data set own: val_fraction must lie between 0 and 1"),
        ({"classes": "2"}, "data set own: classes must be a whole number, but got '2'"),
        ({"mean": 5}, "data set own: mean must be a tuple of numbers, but got 5"),
        ({"mean": (float("nan"),)}, "data set own: mean must be a tuple of numbers"),
        ({"crop_padding": 1.5}, "data set own: crop_padding must be a whole number"),
        ({"flip": "no"}, "data set own: flip must be True or False, but got 'no'"),
        ({"class_names": "ab"}, "data set own: class_names must be a tuple of texts"),
        ({"load": 5}, "data set own: load must be a function, but got 5"),
    ],
)
def test_facts_that_break_a_rule_are_refused(changes: dict[str, object], message: str) -> None:
    facts: dict[str, object] = {"name": "own", "channels": 1, "height": 4, "width": 4, "classes": 2}
    with pytest.raises(DataError, match=message):
        Dataset(**{**facts, "mean": (0.0,), "std": (1.0,), **changes})  # type: ignore[arg-type]


def test_facts_from_numpy_and_lists_are_as_python_s() -> None:
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    side: Any = np.int64(4)
    moments: dict[str, Any] = {"mean": pixels.mean(axis=(0, 2, 3)), "std": [pixels.std()], "class_names": ["a", "b"]}
    own = Dataset(name="own", channels=1, height=side, width=side, classes=2, **moments)
    assert own.facts() == Dataset(**own.facts()).facts()
    assert (own.mean, own.class_names) == ((15.5,), ("a", "b"))
    assert len({own, dataset("digits")}) == 2
    assert to_json_bytes(DataRecord.of(own))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 11}, r"must have the shape \(N, 1, 11, 12\), but got \(200, 1, 12, 12\)"),
        ({"channels": 2, "mean": (0.0, 0.0), "std": (1.0, 1.0)}, r"must have the shape \(N, 2, 12, 12\)"),
        ({"classes": 3}, None),
    ],
)
def test_images_that_are_not_as_the_facts_say_are_refused(
    rings: Dataset, tmp_path: Path, changes: dict[str, object], message: str | None
) -> None:
    own = Dataset(**{**rings.facts(), "load": rings.load, **changes})
    if message is None:
        load_images(own, tmp_path)
        return
    with pytest.raises(DataError, match=message):
        load_images(own, tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda rings: None, "must give Images or Stored, but gave NoneType; correct it"),
        (lambda rings: (1, 2), "must give Images or Stored, but gave tuple"),
        (lambda rings: replace(rings, test_labels=None), "the test labels of own must be a tensor, but got NoneType"),
        (lambda rings: 1 / 0, r"must give its images, but failed \(ZeroDivisionError: division by zero\); correct it"),
        (lambda rings: sys.exit(3), r"must give its images, but failed \(SystemExit: 3\)"),
    ],
)
def test_a_loader_that_gives_no_images_is_named(
    rings: Dataset, tmp_path: Path, given: Callable[[object], object], message: str
) -> None:
    load = rings.load
    assert load is not None
    own = Dataset(**{**rings.facts(), "name": "own", "load": lambda *asked: given(load(*asked))})
    with pytest.raises(DataError, match=message):
        load_images(own, tmp_path)


@pytest.mark.parametrize("name", ["", " own", "two\nlines", None, "folder:pets"])
def test_a_name_that_nobody_could_write_is_refused(rings: Dataset, name: str) -> None:
    with pytest.raises((PluginError, DataError), match="name"):
        register_dataset(Dataset(**{**rings.facts(), "name": name}))


def test_what_is_no_extension_is_refused() -> None:
    with pytest.raises(PluginError, match="a data set must be registered, but got 'digits'; make one of it"):
        register_dataset("digits")  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"a family must be a value of .*Family, but got None; make one of it"):
        rksearch.register_family(None)  # type: ignore[arg-type]
    about = {"title": "t", "description": "d"}
    with pytest.raises(PluginError, match="the sampler 'own' needs a function that makes it, but got 5"):
        rksearch.register_sampler("own", 5, **about)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="the title of the sampler 'own' must be text, but got None"):
        rksearch.register_sampler("own", print, **{**about, "title": None})  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="each sampler needs a name of printable text"):
        rksearch.register_sampler("", print, **about)  # type: ignore[arg-type]


def test_a_data_set_without_a_loader_is_for_counting_only(tmp_path: Path) -> None:
    counted = replace(dataset("cifar10"), name="counted", load=None)
    with pytest.raises(DataError, match="networks for counted can be built and counted and not trained"):
        load_images(counted, tmp_path)


def test_facts_need_no_torch() -> None:
    code = "import sys; from rksearch.data.facts import datasets; list(datasets); print('torch' in sys.modules)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"
