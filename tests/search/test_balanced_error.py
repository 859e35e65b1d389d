"""Searches for the balanced error: from the space file to proposals, racing and the report."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.errors import SpaceError
from rksearch.recipes.shipped import recipe
from rksearch.results.fronts import rk_front
from rksearch.results.ledger import Ledger
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.results.summaries import summarise
from rksearch.search.objectives import objective, values_of
from rksearch.search.planning import Asked, plan_of
from rksearch.search.samplers import attributes
from rksearch.search.samplers.registry import make_sampler
from rksearch.search.samplers.study import RunStudy
from rksearch.space import Space, describe_space, parse_space
from rksearch.space.plan import (
    BALANCED,
    BALANCED_ERROR,
    DEFAULT_OBJECTIVES,
    TOP1,
    error_metric,
    error_place,
    metric_of,
    objectives_by,
)
from tests.helpers.command_line import TINY_SPACE, rksearch
from tests.helpers.pictures import enlarged

SPACE = """
dataset: digits
families: [dense, dense_bc]
growth_rate: [4, 6, 8]
periods:
  - {m: [1, 2, 3], s: [1, 2], r: [1, 2, 3], share: [false, true]}
  - {m: [1, 2, 3], s: [1, 2], r: [1, 2]}
"""


def space(more: str = "") -> Space:
    return parse_space(SPACE + more, name="own")


# -- the space file and the plan


def test_a_space_states_its_metric_once() -> None:
    assert space().definition.search.metric == TOP1
    assert space("metric: top1_error").definition.search.objectives == DEFAULT_OBJECTIVES
    balanced = space("metric: balanced_error").definition.search
    assert (balanced.metric, balanced.objectives) == (BALANCED, (BALANCED_ERROR, "params"))
    listed = space("search: {objectives: [macs, balanced_val_error_pct, params]}").definition.search
    assert listed.metric == BALANCED
    both = space("metric: balanced_error\nsearch: {objectives: [macs, balanced_val_error_pct], sampler: tpe}")
    assert both.definition.search.objectives == ("macs", BALANCED_ERROR)
    assert both.definition.search.sampler == "tpe"
    assert "balanced validation error" in describe_space(both)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("metric: balanced", "metric: must be one of top1_error, balanced_error.*did you mean 'balanced_error'"),
        ("metric: [balanced_error]", "metric: "),
        (
            "metric: balanced_error\nsearch: {objectives: [val_error_pct, params]}",
            "metric: balanced_error makes the error among the objectives balanced_val_error_pct, but got",
        ),
        (
            "metric: top1_error\nsearch: {objectives: [balanced_val_error_pct, params]}",
            "write val_error_pct, or remove one of the two keys",
        ),
        (
            "search: {objectives: [val_error_pct, balanced_val_error_pct]}",
            "either val_error_pct or balanced_val_error_pct among them",
        ),
        ("search: {objectives: [macs, params]}", "either val_error_pct or balanced_val_error_pct among them"),
    ],
)
def test_what_a_space_file_says_wrongly_is_one_line(more: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        space(more)
    assert "\n" not in str(caught.value)


def test_names_of_errors() -> None:
    assert error_metric("balanced_error") == BALANCED
    with pytest.raises(SpaceError, match=r"the metrics are top1_error, balanced_error, but got 'top5'"):
        error_metric("top5")
    assert metric_of(()) == metric_of(("macs",)) == TOP1
    assert objectives_by(BALANCED, ("macs", "val_error_pct")) == ("macs", BALANCED_ERROR)
    assert error_place(("macs", BALANCED_ERROR)) == 1


def test_the_plan_has_the_spaces_metric_unless_the_command_says_otherwise() -> None:
    own = space("metric: balanced_error")
    assert plan_of(own.definition, Asked(), members=len(own)).metric == BALANCED
    other = Asked(objectives=("val_error_pct", "macs"))
    assert plan_of(own.definition, other, members=len(own)).metric == TOP1
    with pytest.raises(SpaceError, match="the objectives are val_error_pct, balanced_val_error_pct"):
        plan_of(own.definition, Asked(objectives=("balanced_error", "params")), members=len(own))


# -- what a sampler learns


def wanted_pct(arch: str, salt: str) -> float:
    """An error between 10 and 60 percent that follows from the name."""
    return 10 + 50 * hashlib.sha256(f"{arch} {salt}".encode()).digest()[0] / 255


def result_of(own: Space, arch: str, top1: float, balanced: float | None) -> tuple[TrialSpec, TrialResult]:
    counted = cost(parse(arch), own.definition.dataset)
    epochs = tuple(
        Epoch(
            epoch=n,
            lr=0.1,
            train_loss=1.0 / n,
            train_error_pct=50.0,
            val_loss=1.0,
            val_error_pct=top1 + 3 - n,
            train_time_s=1.0,
            balanced_val_error_pct=None if balanced is None else balanced + 3 - n,
        )
        for n in (1, 2, 3)
    )
    spec = TrialSpec(arch=arch, dataset="digits", recipe=recipe("short", epochs=3))
    return spec, TrialResult(status="complete", epochs=epochs, **counted._asdict())


def proposals(sampler: str, objectives: tuple[str, ...], *, top1: str, balanced: str | None, count: int) -> list[str]:
    """Architectures that a sampler proposes, one after the other, when errors follow from these words."""
    own = space()
    made = make_sampler(sampler, own, objectives=objectives, trials=count, seed=0)
    study = RunStudy(own, made, objectives=objectives)
    found: list[str] = []
    for _ in range(count):
        arch = study.propose(set(found))
        assert arch is not None
        found.append(arch)
        errors = wanted_pct(arch, top1), None if balanced is None else wanted_pct(arch, balanced)
        study.update([result_of(own, arch, *errors)])
    return found


@pytest.mark.parametrize("sampler", ["frontier", "evolution", "tpe", "nsga2"])
def test_a_sampler_sees_the_balanced_error_and_never_the_other(sampler: str) -> None:
    """The same proposals as of a search for a top-1 error of the same values, whatever the real top-1 error is."""
    by_top1 = proposals(sampler, DEFAULT_OBJECTIVES, top1="a", balanced=None, count=30)
    by_balanced = proposals(sampler, (BALANCED_ERROR, "params"), top1="b", balanced="a", count=30)
    assert by_balanced == by_top1
    assert proposals(sampler, DEFAULT_OBJECTIVES, top1="b", balanced="a", count=30) != by_top1


def test_the_study_and_the_objectives_hold_it() -> None:
    own = space()
    objectives = (BALANCED_ERROR, "params")
    arch = str(own.at(3))
    spec, result = result_of(own, arch, 20.0, 40.0)
    params = cost(parse(arch), own.definition.dataset).params
    assert values_of(spec, result, map(objective, objectives)) == (40.0, params)
    old = replace(result, epochs=tuple(replace(e, balanced_val_error_pct=None) for e in result.epochs))
    assert math.isnan(values_of(spec, old, map(objective, objectives))[0]), "a run from before has not measured it"
    sampler = make_sampler("random", own, objectives=objectives, trials=3, seed=0)
    study = RunStudy(own, sampler, objectives=objectives)
    study.started([arch], "known")
    study.update([(spec, result)])
    (trial,) = study.study.trials
    assert trial.values == [40.0, params]
    assert trial.user_attrs[attributes.VAL_ERRORS] == [42.0, 41.0, 40.0]


def test_a_sampler_wants_exactly_one_error() -> None:
    for names in (("params", "macs"), ("val_error_pct", BALANCED_ERROR), (BALANCED_ERROR, BALANCED_ERROR)):
        with pytest.raises(SpaceError, match="must be val_error_pct or balanced_val_error_pct and costs beside it"):
            make_sampler("random", space(), objectives=names, trials=3, seed=0)


# -- a run


def call(*args: str, cwd: Path) -> str:
    done = rksearch(*args, cwd=cwd, timeout_s=500)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.slow
def test_a_search_on_unbalanced_arrays_from_the_space_file_to_the_report(tmp_path: Path) -> None:
    pixels, labels = enlarged(classes=3, each=150)
    kept = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate((150, 30, 15))])
    np.savez(tmp_path / "rare.npz", x=pixels[kept], y=labels[kept])
    text = TINY_SPACE.replace("dataset: digits", "dataset: npz:rare.npz").replace("train_images: 100\n", "")
    (tmp_path / "own.yaml").write_text(f"{text}metric: balanced_error\n", encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(f"{text}metric: balanced\n", encoding="utf-8")
    wrong = rksearch("run", "--space", "bad.yaml", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "must be one of top1_error, balanced_error" in wrong.stderr

    said = call("run", "--space", "own.yaml", "--out", "run", cwd=tmp_path)
    assert "balanced validation error" in said
    history = Ledger(tmp_path / "run").read()
    assert history.damage == ()
    assert history.plan is not None
    assert history.plan.objectives == (BALANCED_ERROR, "params")
    for _, result in history.trials.values():
        assert result.val_confusion is not None
        for epoch in result.epochs:
            assert epoch.balanced_val_error_pct is not None
            assert math.isfinite(epoch.val_error_pct)
        errors = [c.error_pct for c in result.val_confusion.by_class()]
        assert result.epochs[-1].balanced_val_error_pct == pytest.approx(np.mean(errors), abs=1e-9)
        assert result.val_confusion.images[0] > 3 * result.val_confusion.images[2]
    items = summarise(history)
    searched = [i for i in items if i.is_searched]
    front = rk_front(items)
    beaten = [
        i for i in searched if any(o.params <= i.params and o.error_pct < i.error_pct for o in searched if o is not i)
    ]
    assert not {i.arch for i in front} & {i.arch for i in beaten}
    readme = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "balanced validation error" in readme.split("![")[0]
    assert "## Errors by class" in readme

    said = call("final", "run", cwd=tmp_path)
    assert "balanced" in said
    assert "by class: 0 " in said
    history = Ledger(tmp_path / "run").read()
    assert history.tests
    assert all(t.result.test_confusion and t.result.balanced_test_error_pct is not None for t in history.tests)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run" / "front.csv").read_text())))
    assert all(float(row["balanced_test_error_pct"]) >= 0 for row in rows)
    state = json.loads(call("status", "run", "--json", cwd=tmp_path))
    assert state["metric"] == "balanced_error"
