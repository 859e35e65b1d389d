"""Runs that train the front of another one again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.api import Run
from rksearch.errors import RunError
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.fronts import rk_front
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan
from rksearch.results.run_dir import require_plan
from rksearch.results.short_long import short_and_long
from rksearch.results.summaries import by_macs, by_params, summarise
from rksearch.search.assembly import search_agenda
from rksearch.search.final import finalists
from rksearch.search.retraining import retraining
from rksearch.space import Space, parse_space
from tests.helpers.command_line import TINY_SPACE, Answer, rksearch
from tests.helpers.ledgers import BASELINES, complete, environment_record, full_run, space_record


def again(history: History, **changes: object) -> tuple[Space, Plan]:
    asked: dict[str, object] = {"front": True, "archs": (), "recipe": recipe("paper", epochs=4), "seeds": 3}
    begun = require_plan(history, Path("run"))
    return retraining(history, begun, directory=None, **{**asked, **changes})  # type: ignore[arg-type]


def front(history: History) -> set[str]:
    items = summarise(history)
    return {item.arch for cost in (by_params, by_macs) for item in rk_front(items, cost=cost)}


def test_the_front_and_the_baselines_are_trained_on_all_images_with_all_seeds(tmp_path: Path) -> None:
    source = full_run(tmp_path).read()
    space, plan = again(source)
    assert {str(spec) for spec in space} == front(source) == set(plan.start)
    assert plan.baselines == BASELINES
    assert plan.train_images is None
    assert (plan.recipe.name, plan.recipe.epochs) == ("paper", 4)
    assert (plan.search_seeds, plan.final_seeds, plan.replicates, plan.racing) == (3, 3, 0, None)
    assert plan.trials == len(space)
    assert plan.source is not None
    assert plan.source.name == source.name
    short = {result.arch: result for result in plan.source.results}
    for item in summarise(source):
        if item.arch in short:
            assert short[item.arch].errors_pct == tuple(item.val_errors_pct)
            assert short[item.arch].on_front == (item.arch in front(source))
    assert from_plain(Plan, to_plain(plan)) == plan


def test_networks_are_added_by_name_and_must_have_been_trained(tmp_path: Path) -> None:
    source = full_run(tmp_path).read()
    other = next(i.arch for i in summarise(source) if i.is_searched and i.arch not in front(source))
    _, plan = again(source, front=False, archs=[other])
    assert plan.start == (other,)
    with pytest.raises(RunError, match="ResNet-56 has none"):
        again(source, archs=["ResNet-56"])
    with pytest.raises(RunError, match=rf"only baselines were named \({BASELINES[0]}\); name other networks"):
        again(source, front=False, archs=[BASELINES[0]])


def test_a_run_without_a_front_has_nothing_to_train_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    full = full_run(tmp_path / "full").read()
    assert full.run is not None
    ledger.write_run(name="new", space=full.run.space, plan=full.run.plan)
    with pytest.raises(RunError, match="must have networks on its front, but new has none yet"):
        again(ledger.read())


def long_run(directory: Path, source: History, errors_pct: dict[str, float]) -> History:
    """A finished run that trained the source's front again, with these errors."""
    space, plan = again(source, seeds=1)
    ledger = Ledger(directory)
    ledger.write_run(name="long", space=space.summary(), plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    agenda = search_agenda(space, plan)(ledger.read())
    params = {item.arch: (item.params, item.macs) for item in summarise(source)}
    while task := agenda.next(history := ledger.read(), {}):
        spec = task.trial
        count, macs = params[spec.arch]
        error = errors_pct.get(spec.arch, 5.0)
        ledger.write_start(spec.id)
        ledger.write_trial(spec, complete(error, params=count, macs=macs, epochs=4), wall_time_s=1.0)
    ledger.write_end("finished")
    assert {spec.arch for spec, _ in history.trials.values()} == {*plan.baselines, *plan.start}
    return ledger.read()


def test_short_stands_beside_long(tmp_path: Path) -> None:
    source = full_run(tmp_path / "short").read()
    short = {item.arch: item.error_pct for item in summarise(source)}
    kept = long_run(tmp_path / "same", source, {arch: error / 2 for arch, error in short.items()})
    found = short_and_long(kept)
    assert found is not None
    assert found.correlation == pytest.approx(1)
    assert found.interval is not None
    assert found.interval[0] < 1
    assert found.left == ()
    assert all(row.short_rank == row.long_rank for row in found.rows)
    assert [row.item.params for row in found.rows] == sorted(row.item.params for row in found.rows)

    # As many wrong images in all are a tie, however they fall on the seeds, and whatever the last bit of the mean.
    assert kept.plan is not None
    assert kept.plan.source is not None
    first, second, *others = kept.plan.source.results
    even = [100 * wrong / 359 for wrong in (40, 40)], [100 * wrong / 359 for wrong in (39, 41)]
    assert sum(even[0]) / 2 != sum(even[1]) / 2
    alike = [replace(result, errors_pct=tuple(errors)) for result, errors in zip((first, second), even, strict=True)]
    told = replace(kept.plan, source=replace(kept.plan.source, results=(*alike, *others)))
    assert kept.run is not None
    found = short_and_long(replace(kept, run=replace(kept.run, plan=told)))
    assert found is not None
    places = {row.item.arch: row.short_rank for row in found.rows}
    assert places[first.arch] == places[second.arch]

    turned = long_run(tmp_path / "turned", source, {arch: 90 - error for arch, error in short.items()})
    found = short_and_long(turned)
    assert found is not None
    assert found.correlation == pytest.approx(-1)
    searched = [row for row in found.rows if not row.item.is_baseline]
    assert set(found.left) == {row.item.arch for row in searched} - front(turned)
    assert found.left
    assert short_and_long(source) is None

    pages = {path.name: path.read_text() for path in Run(tmp_path / "turned").write_report()}
    for name in ("README.md", "report.html"):
        assert "Short and long trainings" in pages[name]
        assert "On the short front and not on the long one: " in pages[name]
    assert "Source" in pages["README.md"]
    unlinked = {path.name: path.read_text() for path in Run(tmp_path / "short").write_report()}
    assert "Short and long trainings" not in unlinked["README.md"]


def test_the_test_set_is_read_for_all_networks_of_such_a_run_and_decides_nothing(tmp_path: Path) -> None:
    source = full_run(tmp_path / "short").read()
    short = {item.arch: item.error_pct for item in summarise(source)}
    turned = long_run(tmp_path / "turned", source, {arch: 90 - error for arch, error in short.items()})
    assert front(turned) < front(source)
    assert set(finalists(turned)) == {*BASELINES, *front(source)}
    assert set(finalists(source)) == {*BASELINES, *front(source)}


def test_its_space_is_read_back_from_the_ledger(tmp_path: Path) -> None:
    source = full_run(tmp_path).read()
    space, plan = again(source)
    summary = space.summary()
    read = parse_space(summary.yaml, name=summary.name, recipe=summary.recipe)
    assert read.definition == space.definition
    assert read.definition.recipe == plan.recipe
    assert space_record().dataset == read.definition.dataset.name


def test_what_to_train_again_must_be_said(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    full_run(tmp_path)
    code, _, errors = answer("retrain", tmp_path)
    assert code == 2
    assert "give --front, or --arch NAME" in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_front_is_trained_again_and_tested_once(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("epochs: 2", "epochs: 1"))
    done = rksearch("run", "--space", "tiny.yaml", "--out", "short", "--seeds", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    options = ("--front", "--recipe", "short", "--epochs", "2", "--seeds", "2", "--out", "long")
    done = rksearch("retrain", "short", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    short, long = Ledger(tmp_path / "short").read(), Ledger(tmp_path / "long").read()
    assert long.state == "finished"
    assert {spec.arch for spec, _ in long.trials.values()} == {"DenseNet-10-k2", "ResNet-8", *front(short)}
    assert all(len(result.epochs) == 2 for _, result in long.trials.values())
    images = {(result.images.train, result.images.val) for _, result in long.trials.values()}
    assert len(images) == 1
    assert images.pop()[1] == next(iter(short.trials.values()))[1].images.val, "the same images are held out"
    # The same command finds nothing left.
    again = rksearch("retrain", "short", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Nothing is left" in again.stdout
    for _ in range(2):
        done = rksearch("final", "long", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    tested = Ledger(tmp_path / "long").read().tests
    assert {reading.trial for reading in tested} == set(long.trials)
    assert len(tested) == len(long.trials), "no training is read twice"
