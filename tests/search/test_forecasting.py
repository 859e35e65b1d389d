"""Forecasts: arithmetic against the agenda's own count, measured paces, and what a user sees."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rksearch.api import forecast as forecast_run
from rksearch.api.launch import Foreseen
from rksearch.arch import FAMILIES, parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.errors import RunError
from rksearch.report.forecast import forecast_fact, forecast_lines
from rksearch.results.events import Forecast, TrainingForecast
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import ImageCounts
from rksearch.search.agenda import SearchAgenda
from rksearch.search.forecasting import (
    DAY_S,
    EpochTimes,
    Probe,
    Probed,
    assumed_front,
    forecast,
    forecast_of_rest,
    probes,
    smaller_runs,
)
from rksearch.search.measuring import Measurement, image_counts, measured
from rksearch.search.planning import Asked, plan_of
from rksearch.search.resources import Resources
from rksearch.search.sharing import CANDIDATES, even_members
from rksearch.space import Space, load_space, parse_space
from rksearch.training.pace import Pace, measure_pace
from tests.helpers.command_line import TINY_SPACE, Answer
from tests.helpers.extending import register_smooth, registrations_forgotten
from tests.helpers.ledgers import environment_record, full_run, plan_record, space_record
from tests.helpers.simulation import ListProposer

SPACE = parse_space(TINY_SPACE, name="tiny")


def probed(space: Space, **asked: object) -> list[Probed]:
    """Networks whose epochs take a second for each million multiply-adds."""
    plan = plan_of(space.definition, Asked(**asked), members=len(space))  # type: ignore[arg-type]
    data = space.definition.dataset
    return [Probed(probe=p, epoch_s=cost(parse(p.arch), data).macs / 1e6) for p in probes(space, plan)]


def foreseen(space: Space, slots: int = 2, **asked: object) -> Forecast:
    plan = plan_of(space.definition, Asked(**asked), members=len(space))  # type: ignore[arg-type]
    found = probed(space, **asked)
    return forecast(space, plan, found, slots=slots, reserved={"cpu": 1.0}, disk_bytes=7, measured_on="CPU")


@given(
    st.lists(st.tuples(st.integers(1, 10**10), st.floats(1e-3, 1e5)), min_size=1, max_size=6, unique_by=lambda p: p[0]),
    st.integers(1, 10**10),
)
def test_times_pass_through_what_was_measured_and_stay_between(points: list[tuple[int, float]], macs: int) -> None:
    times = EpochTimes(points)
    for x, y in points:
        assert times.at(x) == pytest.approx(y)
    points = sorted(points)
    below = [y for x, y in points if x <= macs][-1:]
    above = [y for x, y in points if x >= macs][:1]
    if below and above:
        low, high = sorted([*below, *above])
        assert low * (1 - 1e-9) <= times.at(macs) <= high * (1 + 1e-9)
    else:
        x, y = points[0] if above else points[-1]
        assert times.at(macs) == pytest.approx(y * macs / x), "in proportion beyond the measured ones"


@pytest.mark.parametrize("asked", [{}, {"trials": 5, "final_seeds": 4}, {"replicates": 6}, {"racing": True}])
def test_the_epochs_of_a_forecast_are_those_of_the_agenda(asked: dict[str, Any]) -> None:
    """The agenda does not know a front before there is one; the forecast assumes its size."""
    plan = plan_of(SPACE.definition, Asked(**asked), members=len(SPACE))
    left = SearchAgenda(plan, ListProposer([]), History()).remaining(History()).epochs
    found = foreseen(SPACE, **asked)
    front = assumed_front(plan.trials) * plan.recipe.epochs * (plan.final_seeds - plan.search_seeds)
    assert found.epochs == pytest.approx(left + front)


def test_the_parts_of_a_forecast_are_sums_over_its_trainings() -> None:
    found = foreseen(SPACE, trials=3, final_seeds=2, replicates=5)
    plan = plan_of(SPACE.definition, Asked(trials=3, final_seeds=2, replicates=5), members=len(SPACE))
    data = SPACE.definition.dataset
    # In proportion to multiply-adds, the line through the measured members is exact.
    macs = [c.macs for _, c in even_members(SPACE)]
    mean = math.fsum(macs) / len(macs) / 1e6
    baselines = math.fsum(cost(parse(name), data).macs / 1e6 for name in plan.baselines)
    full = plan.recipe.epochs
    assert found.parts_s == pytest.approx(
        {
            "baselines": full * baselines,
            "candidates": 3 * full * mean,
            "seeds": full * (baselines + 2 * mean),
            "replicates": 5 * full * mean,
        }
    )
    assert found.work_s == pytest.approx(math.fsum(found.parts_s.values()))
    assert found.work_s is not None
    assert found.wall_time_s == pytest.approx(found.work_s / 2)
    assert found.cpu_s == found.work_s
    assert found.gpu_s == 0


def test_members_at_even_distances_are_sorted_members_of_the_space() -> None:
    members = even_members(SPACE)
    assert len(members) == min(CANDIDATES, len(SPACE))
    assert all(spec in SPACE for spec, _ in members)
    assert [c.macs for _, c in members] == sorted(c.macs for _, c in members)


def test_racing_seeds_and_control_change_the_cost_as_they_should() -> None:
    plain = foreseen(SPACE, trials=4)
    raced, controlled = foreseen(SPACE, trials=4, racing=True), foreseen(SPACE, trials=4, control=True)
    assert raced.parts_s["candidates"] < plain.parts_s["candidates"]
    saved = plain.parts_s["candidates"] - raced.parts_s["candidates"]
    assert raced.racing_saves_s == pytest.approx(saved)
    assert plain.racing_saves_s == 0
    assert controlled.parts_s["control"] == plain.parts_s["candidates"]
    assert foreseen(SPACE, trials=4, final_seeds=4).parts_s["seeds"] == pytest.approx(3 * plain.parts_s["seeds"])


def test_without_a_measured_network_nothing_is_said() -> None:
    plan = plan_of(SPACE.definition, Asked(), members=len(SPACE))
    none = [replace(item, epoch_s=None, note="does not fit") for item in probed(SPACE)]
    found = forecast(SPACE, plan, none, slots=1, reserved={}, disk_bytes=1, measured_on="CPU")
    assert found.wall_time_s is None
    lines = forecast_lines(found)
    assert all("does not fit" in line for line in lines[1:-1])
    assert "not known" in lines[-1]


def test_of_a_run_that_goes_on_the_trainings_so_far_are_the_measure(tmp_path: Path) -> None:
    history = full_run(tmp_path).read()
    plan = replace(plan_record(), trials=34)
    agenda = SearchAgenda(plan, ListProposer([]), history)
    found = forecast_of_rest(history, agenda, slots=2, reserved={"cpu": 1.0}, disk_bytes=5)
    epochs = sum(len(result.epochs) for _, result in history.trials.values())
    mean = sum(history.wall_time_s.values()) / epochs
    assert found.epochs == agenda.remaining(history).epochs > 0
    assert found.wall_time_s == pytest.approx(found.epochs * mean / 2)


def test_more_than_a_day_names_what_would_fit() -> None:
    space = load_space("cifar10_small")
    plan = plan_of(space.definition, Asked(recipe_name="paper"), members=len(space))
    slow = [replace(item, epoch_s=100 * (item.epoch_s or 0)) for item in probed(space)]
    found = forecast(space, plan, slow, slots=2, reserved={"cpu": 1.0}, disk_bytes=1, measured_on="CPU")
    assert found.wall_time_s is not None
    assert found.wall_time_s > DAY_S
    options = smaller_runs(space, plan, found, images=45_000)
    assert options
    assert all(seconds < found.wall_time_s for _, seconds in options)
    assert [seconds for _, seconds in options] == sorted(seconds for _, seconds in options)
    last = forecast_lines(found, options)[-1]
    assert last.startswith("That is more than a day. What would fit: ")
    assert "--cpu-hours" in last
    short = forecast(space, plan, probed(space)[:1], slots=1000, reserved={}, disk_bytes=1, measured_on="CPU")
    assert smaller_runs(space, plan, replace(short, wall_time_s=60.0), images=45_000) == []


def test_a_pace_is_measured_and_leaves_no_trace() -> None:
    arch, data = parse("ResNet-8"), dataset("digits")
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    plan = plan_of(SPACE.definition, Asked(), members=len(SPACE))
    images = ImageCounts(train=100, val=30)
    pace = measure_pace(arch, data, plan.recipe, images, device="cpu", precision="fp32", threads=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert 0 < pace.step_s < 10
    assert 0 < pace.evaluated_image_s < pace.step_s
    assert pace.peak_bytes > 10**5
    assert not pace.recompute


def test_an_epoch_is_its_steps_and_its_validation() -> None:
    pace = Pace(step_s=2.0, evaluated_image_s=0.5, peak_bytes=1, recompute=False)
    plan = plan_of(SPACE.definition, Asked(), members=len(SPACE))
    assert pace.epoch_s(plan.recipe, ImageCounts(train=100, val=10)) == 100 / 32 * 2.0 + 5.0


def test_a_network_that_cannot_be_measured_has_its_reason() -> None:
    plan = plan_of(SPACE.definition, Asked(), members=len(SPACE))
    what = Measurement(
        probes=[Probe(what="baseline", arch="ResNet-8"), Probe(what="baseline", arch="ResNet-9")],
        data=dataset("digits"),
        recipe=plan.recipe,
        images=ImageCounts(train=100, val=10),
        device="cpu",
        precision="fp32",
        threads=1,
    )
    good, bad = measured(what)
    assert good.epoch_s is not None
    assert bad.epoch_s is None
    assert "ResNet-9" in bad.note


def test_the_code_of_a_plugin_runs_in_a_child_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.search import measuring

    plan = plan_of(SPACE.definition, Asked(), members=len(SPACE))
    what = Measurement(
        probes=[Probe(what="baseline", arch=arch) for arch in ("ResNet-8", "ResNet-14", "ResNet-20")],
        data=dataset("digits"),
        recipe=plan.recipe,
        images=ImageCounts(train=100, val=10),
        device="cpu",
        precision="fp32",
        threads=1,
    )

    def noted(note: str) -> Callable[..., list[Probed]]:
        return lambda what, *limit_s: [Probed(probe=probe, epoch_s=1.0, note=note) for probe in what.probes]

    monkeypatch.setattr(measuring, "_is_of_plugin", lambda arch: arch == "ResNet-14")
    monkeypatch.setattr(measuring, "_here", noted("here"))
    monkeypatch.setattr(measuring, "_in_child", noted("child"))
    assert [(found.probe.arch, found.note) for found in measured(what)] == [
        ("ResNet-8", "here"),
        ("ResNet-14", "child"),
        ("ResNet-20", "here"),
    ]


def test_families_of_rksearch_and_of_a_script_are_of_no_plugin() -> None:
    from rksearch.search import measuring

    assert not measuring._is_of_plugin("ResNet-8")
    with registrations_forgotten(FAMILIES):
        register_smooth()
        assert not measuring._is_of_plugin("SmoothRK-1x1_1x1")


def test_images_are_counted_without_a_split() -> None:
    from rksearch.data.images import load_data, split

    facts = dataset("digits")
    images = load_data(facts, Path())
    parts = split(facts, images)
    counts = image_counts(facts, images, None)
    assert counts.val == pytest.approx(len(parts.val), abs=facts.classes)
    assert (counts.train or 0) + (counts.val or 0) == len(parts.train) + len(parts.val)
    assert image_counts(facts, images, 100).train == 100


def test_a_dry_run_says_what_the_run_would_cost_and_writes_nothing(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    code, shown, errors = answer("run", "--space", "tiny.yaml", "--dry-run", "--device", "cpu", "--out", "run")
    assert (code, errors) == (0, "")
    for words in ("smallest", "largest", "baseline  ResNet-8", "The run: about", "work: baselines", "disk:"):
        assert words in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]
    code, shown, errors = answer("space", "show", "tiny.yaml", "--time", "--device", "cpu", "--json")
    assert (code, errors) == (0, "")
    found = json.loads(shown)["time"]["forecast"]
    assert {item["what"] for item in found["trainings"]} >= {"smallest", "largest", "baseline"}
    assert found["wall_time_s"] > 0


def test_a_forecast_for_a_cluster_is_refused_in_one_line() -> None:
    with pytest.raises(RunError, match=r"a forecast measures on this machine, but --address auto asks for a cluster"):
        forecast_run("quickstart", resources=Resources(address="auto"))


def test_a_forecast_reads_as_lines() -> None:
    found = Foreseen(forecast=foreseen(SPACE))
    assert str(found) == "\n".join(forecast_lines(found.forecast))


def test_the_report_sets_the_forecast_beside_what_it_took(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_run(name="run", space=space_record(), plan=plan_record())
    expected = TrainingForecast(what="baseline", arch="ResNet-8", macs=1, time_s=20.0)
    ledger.write_session(
        environment=environment_record(),
        options={},
        forecast=Forecast(wall_time_s=100.0, epochs=3.0, trainings=(expected,)),
    )
    history = ledger.read()
    assert history.sessions[0].forecast == Forecast(wall_time_s=100.0, epochs=3.0, trainings=(expected,))
    assert forecast_fact(history) == "2 min expected before the first training"
    from tests.helpers.ledgers import complete, trial

    for replicate, took in ((0, 10.0), (1, 40.0)):
        ledger.write_trial(trial("ResNet-8", replicate, "baseline"), complete(20.0), wall_time_s=took)
    ledger.write_end("finished")
    text = forecast_fact(ledger.read())
    assert "2 trainings of measured networks took 1.00 times as long as expected" in text
    assert " taken (" in text


def test_old_sessions_without_a_forecast_have_no_line(tmp_path: Path) -> None:
    assert forecast_fact(full_run(tmp_path).read()) == ""


@pytest.mark.slow
def test_a_child_measures_what_this_process_would() -> None:
    """On a GPU the child alone holds the device; what travels is the same everywhere."""
    from rksearch.search import measuring

    plan = plan_of(SPACE.definition, Asked(), members=len(SPACE))
    what = Measurement(
        probes=probes(SPACE, plan),
        data=dataset("digits"),
        recipe=plan.recipe,
        images=ImageCounts(train=100, val=10),
        device="cpu",
        precision="fp32",
        threads=1,
    )
    there, here = measuring._in_child(what), measuring._here(what)
    assert [item.probe for item in there] == [item.probe for item in here]
    assert [item.peak_bytes for item in there] == [item.peak_bytes for item in here]
    assert all(item.epoch_s for item in there)
