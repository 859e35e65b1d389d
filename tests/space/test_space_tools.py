"""Schema, export, page, and the commands around spaces."""

import json
import os
import re
from pathlib import Path

import jsonschema
import pyarrow.parquet
import pytest
import yaml
from click.testing import CliRunner

from rksearch.bench.costing import bench_cost
from rksearch.cli.main import cli
from rksearch.data.facts import dataset
from rksearch.errors import RksearchError, SpaceError
from rksearch.ordinary import unfinished
from rksearch.report.space_page import space_page
from rksearch.search.samplers.registry import samplers
from rksearch.space import load_space, parse_space, shipped_spaces
from rksearch.space.format.schema import schema
from rksearch.space.parquet import write_parquet

SPACES = Path(__file__).parents[2] / "search_spaces"

GOOD = """\
dataset: digits
growth_rate: [4, 8]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2], share: [false, true]}
  - {m: [2, 4], s: [1], r: [1, 3], share: [false, true]}
constraints: [m1 <= m2]
budgets: {params: {at_most: 0.02M}, macs: [null, DenseNet-BC-100-k12], depth: [null, 100]}
recipe: {name: short, epochs: 3}
baselines: [ResNet-8]
trials: 5
"""


def test_the_published_schema_is_the_loaders():
    published = json.loads((SPACES / "space.schema.json").read_text(encoding="utf-8"))
    assert published == schema(samplers.items())
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("name", shipped_spaces())
def test_shipped_spaces_obey_the_schema(name):
    jsonschema.validate(yaml.safe_load((SPACES / f"{name}.yaml").read_text(encoding="utf-8")), schema(samplers.items()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("growth_rate", "growth_rates"),
        ("dataset: digits\n", ""),
        ("dataset: digits", "dataset: digit"),
        ("[4, 8]", "[4, 4]"),
        ("[4, 8]", "[]"),
        ("[4, 8]", "12"),
        ("[4, 8]", "[0]"),
        ("s: [1], r", "r"),
        ("s: [1], r", "s: [1], q: [1], r"),
        ("r: [1, 3]", "r: [1, 3.5]"),
        ("0.02M", "0.02Q"),
        ("at_most", "at_mst"),
        ("depth", "deepness"),
        ("depth: [null, 100]", "depth: [100]"),
        ("epochs", "epoch"),
        ("name: short, ", ""),
        ("trials: 5", "trials: 0"),
        ("trials: 5", "architectures: [ResNet-8]"),
        ("[m1 <= m2]", "[1]"),
    ],
)
def test_what_the_schema_refuses_the_loader_refuses(old, new):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), schema(samplers.items()))
    with pytest.raises(SpaceError):
        parse_space(text, name="bad")


def test_what_the_loader_takes_the_schema_takes():
    jsonschema.validate(yaml.safe_load(GOOD), schema(samplers.items()))
    listed = "dataset: digits\narchitectures: [ResNet-8, RKNet-k4-m1-1x1]\n"
    jsonschema.validate(yaml.safe_load(listed), schema(samplers.items()))
    assert len(parse_space(GOOD, name="good")) > 5
    assert len(parse_space(listed, name="listed")) == 2


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_export_holds_every_member_in_the_order_of_names(good: Path, tmp_path: Path):
    target = tmp_path / "specs.parquet"
    done = CliRunner().invoke(cli, ["space", "export", str(good), "--to", str(target)], catch_exceptions=False)
    space = load_space(good)
    assert f"{len(space):,} architectures in" in done.output
    table = pyarrow.parquet.read_table(target)
    assert [tuple(row.values()) for row in table.to_pylist()] == [tuple(p) for p in space.by_name()]
    assert table.schema.metadata[b"sha256"].decode() == space.definition.sha256
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.yaml", "specs.parquet"]


def test_exports_of_two_programs_do_not_write_into_each_other(good: Path, tmp_path: Path, monkeypatch):
    """What another program has begun to write, under a name that is its own, stays."""
    target = tmp_path / "specs.parquet"
    begun = []
    for process in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        begun.append(unfinished(target))
    assert begun[0] != begun[1]
    begun[0].write_text("half a table")
    write_parquet(load_space(good), target)
    assert begun[0].read_text() == "half a table"
    assert sorted(tmp_path.iterdir()) == sorted([begun[0], good, target])


def test_export_says_what_is_wrong_with_the_file(good: Path, tmp_path: Path):
    for target, expected in (("specs.csv", r"must end in \.parquet"), ("gone/specs.parquet", "cannot write")):
        with pytest.raises(RksearchError, match=expected):
            CliRunner().invoke(
                cli,
                ["space", "export", str(good), "--to", str(tmp_path / target)],
                catch_exceptions=False,
                standalone_mode=False,
            )


def test_the_page_shows_counts_budgets_and_baselines(good: Path, tmp_path: Path):
    target = tmp_path / "good.html"
    CliRunner().invoke(cli, ["space", "show", str(good), "--html", str(target)], catch_exceptions=False)
    page = target.read_text(encoding="utf-8")
    space = load_space(good)
    assert f"all {len(space):,} are drawn" in page
    # The cells of the cloud hold every member, and so do the bars.
    cloud, bars = page.split("<svg")[1:3]
    assert sum(int(n.replace(",", "")) for n in re.findall(r"<title>([0-9,]+)</title>", cloud)) == len(space)
    assert sum(int(n.replace(",", "")) for n in re.findall(r": ([0-9,]+)</title>", bars)) == len(space)
    assert 'class="rule"' in cloud
    assert ">ResNet-8</text>" in cloud
    assert f'<td class="n">{space.rejected["too_many_params"]:,}</td>' in page
    assert not re.search(r"https?:", page)
    assert page == space_page(space)


def test_costs_are_benched_side_by_side():
    arguments = ["bench", "cost", "--candidates", "20000", "--sample", "2", "--dataset", "digits", "--json"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    found = json.loads(done.output)
    assert found["mismatches"] == 0
    assert found["vectorised_per_s"] > 0
    assert found["ratio"] > 0
    assert (found["dataset"], found["candidates"], found["sample"]) == ("digits", 20_000, 2)


@pytest.mark.timing
def test_the_closed_form_is_quick():
    found = bench_cost(dataset("digits"), candidates=20_000, sample=2, seed=0)
    assert found.vectorised_per_s > 100_000
    assert found.ratio > 100
