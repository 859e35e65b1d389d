"""The replay of search strategies: judged by hand on small cases, and through the command."""

import csv
import functools
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.bench.replay.judging import Judge, Moment, Replay
from rksearch.bench.replay.ledger_in_memory import MemoryLedger
from rksearch.bench.replay.proposal_time import measure_overhead
from rksearch.bench.replay.replays import Conditions, conditions_of, replay
from rksearch.bench.replay.simulation import Finished, VirtualClock, Work, play
from rksearch.bench.replay.standings import quartiles, standing
from rksearch.bench.replay.stock_ray import StockRay
from rksearch.bench.replay.strategies import SLOW, Setup, chosen_strategies, strategies
from rksearch.bench.replay.synthetic import synthetic_table
from rksearch.bench.replay.table import Table, load_table, table_of
from rksearch.errors import RunError
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.space import Space, parse_space
from tests.helpers.command_line import rksearch, rksearch_json

SPACE = """
description: a space for tests
dataset: digits
families: [dense]
growth_rate: [4, 8]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2]}
  - {m: [1, 2], s: [1], r: [1, 2], share: [false, true]}
recipe: {name: short, epochs: 6}
trials: 3
"""


def space() -> Space:
    return parse_space(SPACE, name="tests")


@functools.cache
def table(seed: int = 0) -> Table:
    return synthetic_table(space(), seed=seed, epochs=6, seeds=3)


def conditions(seed: int = 0, trainings: int = 12, slots: int = 2) -> Conditions:
    return conditions_of(table(seed), slots=slots, trainings=trainings)


def write_run(directory: Path, of: Table, *, without: int = 0, yaml: str = SPACE) -> Ledger:
    """A run's ledger that holds the table, the last replicate first, and lacks so many members."""

    ledger = Ledger(directory, clock=lambda: "2026-01-01T00:00:00Z")
    ledger.write_run(name="tests", space=replace(of.space.summary(), yaml=yaml), plan=of.plan)
    for arch, member in sorted(of.members.items())[without:]:
        for replicate in reversed(range(len(member.trainings))):
            spec = TrialSpec(arch=arch, dataset="digits", recipe=of.plan.recipe, replicate=replicate)
            ledger.write_trial(spec, member.trainings[replicate], wall_time_s=1.0)
    return ledger


# -- the table


def test_a_run_that_holds_every_member_is_a_table(tmp_path: Path) -> None:
    of = table()
    write_run(tmp_path, of)
    found = load_table(tmp_path)
    assert found.members == of.members
    assert (found.epochs, found.seeds) == (6, 3)


def test_what_is_missing_is_said_with_its_remedy(tmp_path: Path) -> None:
    of = table()
    write_run(tmp_path, of, without=2)
    with pytest.raises(
        RunError, match=rf"lacks 2 of {len(of.members)} .*rksearch resume .* --trials {len(of.members)}"
    ):
        load_table(tmp_path)
    with pytest.raises(RunError, match="begins with its run"):
        table_of(Ledger(tmp_path / "none").read(), source="none")


def test_failed_trainings_count_as_known_but_not_in_the_mean(tmp_path: Path) -> None:
    of = table()
    arch = sorted(of.members)[0]
    member = of.members[arch]
    failed = TrialResult(
        status="failed", failure="non_finite_loss", message="nan", epochs=member.trainings[0].epochs[:2]
    )
    members = {**of.members, arch: replace(member, trainings=(failed, *member.trainings[1:]))}
    write_run(tmp_path, replace(of, members=members))
    found = load_table(tmp_path).members[arch]
    assert [t.status for t in found.trainings] == ["failed", "complete", "complete"]
    rest = [t.epochs[-1].val_error_pct for t in member.trainings[1:]]
    assert found.val_error_pct == pytest.approx(sum(rest) / 2)


def test_repetitions_meet_other_luck_and_replicates_go_round() -> None:
    of = table()
    arch = sorted(of.members)[3]
    firsts = [of.training(arch, repetition=r, replicate=0) for r in range(60)]
    assert {of.members[arch].trainings.index(t) for t in firsts} == {0, 1, 2}
    several = [of.training(arch, repetition=5, replicate=n) for n in range(4)]
    assert len({id(t) for t in several[:3]}) == 3
    assert several[3] is several[0]


# -- virtual workers


class Fixed:
    """Trains a list of architectures, each to the end."""

    def __init__(self, of: Table, archs: list[str], last: int) -> None:
        self.of, self.archs, self.last = of, archs, last
        self.ended: list[str] = []

    def next(self) -> Work | None:
        if not self.archs:
            return None
        arch = self.archs.pop(0)
        training = self.of.training(arch, repetition=0, replicate=0)
        return Work(key=arch, arch=arch, training=training, first=1, last=self.last)

    def on_epoch(self, work: Work, epoch: object) -> bool:
        return True

    def on_end(self, work: Work) -> TrialResult | None:
        self.ended.append(work.arch)
        return work.training


def test_trainings_overtake_one_another_on_the_virtual_clock() -> None:
    of = table()
    slow, fast, third = sorted(of.members)[:3]
    seconds = {slow: 5.0, fast: 1.0, third: 1.0}
    timed = {arch: replace(m, epoch_s=seconds.get(arch, 1.0)) for arch, m in of.members.items()}
    played = play(Fixed(of, [slow, fast, third], 6), replace(of, members=timed), slots=2, budget_epochs=1000)
    assert [(f.arch, f.time_s) for f in played.finished] == [(fast, 6.0), (third, 12.0), (slow, 30.0)]
    # After 6 s the slow one has had 1 of its epochs, after 12 s 2 of them.
    assert [f.epochs_spent for f in played.finished] == [7, 14, 18]
    assert played.time_s == 30.0


def test_the_budget_is_spent_exactly_and_what_is_under_way_is_lost() -> None:
    of = table()
    player = Fixed(of, sorted(of.members), 6)
    played = play(player, of, slots=2, budget_epochs=21)
    assert played.epochs_spent == 21
    # Two trainings took 12 epochs, the next two had 9 together.
    assert len(played.finished) == 2
    assert player.ended == [f.arch for f in played.finished]


# -- judging


def test_knowing_the_truth_of_every_member_is_worth_everything() -> None:
    of = table()
    judge = Judge(of)
    everyone = [
        Finished(i, float(i), arch, member.val_error_pct or 0.0) for i, (arch, member) in enumerate(of.members.items())
    ]
    last = judge.moments(everyone)[-1]
    assert last.honest == pytest.approx(1)
    assert last.optimistic == pytest.approx(1)
    assert judge.honest(judge.front) == pytest.approx(1)
    assert judge.honest([]) == 0


@settings(deadline=None)
@given(st.sets(st.integers(0, 35), min_size=1, max_size=8))
def test_the_area_is_that_of_the_dominated_rectangles(chosen: set[int]) -> None:
    of = table()
    judge = Judge(of)
    archs = [arch for i, arch in enumerate(sorted(of.members)) if i in chosen]
    left, area = math.log10(judge.reference.cost), 0.0
    # From right to left: between two sizes the least error of all that are no larger counts.
    edges = sorted({math.log10(of.members[arch].params) for arch in archs}, reverse=True)
    for edge in edges:
        best = min(of.members[a].val_error_pct or 0.0 for a in archs if math.log10(of.members[a].params) <= edge)
        area, left = area + (left - edge) * (judge.reference.error_pct - best), edge
    assert judge.honest(archs) == pytest.approx(area / judge.area)


def test_luck_wins_nothing_and_loses_what_it_crowds_out() -> None:
    of = table()
    judge = Judge(of)
    front = judge.front
    small, large = front[0], front[-1]
    errors = {arch: of.members[arch].val_error_pct or 0.0 for arch in (small, large)}
    fair = [Finished(1, 1.0, small, errors[small]), Finished(2, 2.0, large, errors[large])]
    lucky = [Finished(1, 1.0, small, 0.0), fair[1]]
    assert judge.moments(lucky)[-1].optimistic > judge.moments(fair)[-1].optimistic
    assert judge.moments(lucky)[-1].honest == pytest.approx(judge.honest([small]))
    assert judge.moments(lucky)[-1].honest < judge.moments(fair)[-1].honest


def made(strategy: str, repetition: int, *steps: tuple[int, float]) -> Replay:
    moments = tuple(Moment(epochs, float(epochs), value, value) for epochs, value in steps)
    return Replay(
        strategy=strategy, repetition=repetition, moments=moments, epochs=100, time_s=100.0, started=9, complete=4
    )


def test_standings_by_hand() -> None:
    rivals = [made("random", r, (50, 0.3), (100, value)) for r, value in enumerate((0.4, 0.5, 0.6))]
    mine = [
        made("x", 0, (10, 0.55), (20, 0.45), (30, 0.7)),  # reaches 0.5 twice
        made("x", 1, (20, 0.5)),
        made("x", 2, (10, 0.4)),  # never does
    ]
    found = standing(mine, rivals, budget_epochs=100)
    assert found.epochs.median == pytest.approx(0.2)
    assert found.epochs.low == pytest.approx(0.15)
    assert found.epochs.high == math.inf
    assert found.settled.median == pytest.approx(0.3)
    assert found.below == pytest.approx(1 / 3)
    assert found.below_rival == pytest.approx(1 / 3)
    assert found.final.median == 0.5
    assert [mine[0].at(e) for e in (0, 9.9, 10, 25, 1000)] == [0, 0, 0.55, 0.45, 0.7]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_quartiles_are_numpys(values: list[float]) -> None:
    found = quartiles(values)
    assert [found.low, found.median, found.high] == pytest.approx(list(np.quantile(values, [0.25, 0.5, 0.75])))


# -- strategies


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in strategies()
        if not name.startswith("ray")
    ],
)
def test_our_strategies_train_each_network_once_within_the_budget(name: str) -> None:
    given_ = conditions()
    setup = Setup(table=given_.table, repetition=1, budget_epochs=72, racing=given_.racing, clock=VirtualClock())
    played = play(strategies()[name].player(setup), given_.table, slots=2, budget_epochs=72, clock=setup.clock)
    assert len(set(played.started)) == len(played.started)
    assert set(played.started) <= set(given_.table.members)
    assert played.epochs_spent <= 72
    assert played.finished
    for item in played.finished:
        seen = given_.table.training(item.arch, repetition=1, replicate=0)
        assert item.val_error_pct == seen.epochs[-1].val_error_pct
    if name.endswith("+racing"):
        assert len(played.started) > len(played.finished)
    else:
        assert played.epochs_spent == 72


@pytest.mark.parametrize("name", ["random", "frontier+racing"])
def test_the_same_repetition_gives_the_same_replay(name: str) -> None:
    given_ = conditions()
    first = replay(given_, name, 4)
    assert replay(given_, name, 4) == first
    assert replay(given_, name, 5).moments != first.moments


@pytest.fixture(scope="module")
def digits() -> Table:
    return load_table(Path(__file__).parents[2] / "reports" / "digits_table")


RECORDED = json.loads(Path(__file__).with_name("recorded_proposals.json").read_text())
"""Proposals by `strategy repetition`, as places in the sorted names of the table's members; recorded with the commit
before the samplers became Optuna samplers (a24e3ba), which pushed results to them."""


@pytest.mark.parametrize("key", RECORDED)
def test_the_run_s_own_form_proposes_what_it_always_proposed(digits: Table, key: str) -> None:
    name, repetition = key.split()
    given_ = conditions_of(digits, slots=2)
    setup = Setup(
        table=digits,
        repetition=int(repetition),
        budget_epochs=given_.budget_epochs,
        racing=given_.racing,
        clock=VirtualClock(),
    )
    player = strategies()[name].player(setup)
    played = play(player, digits, slots=2, budget_epochs=given_.budget_epochs, clock=setup.clock)
    places = {arch: place for place, arch in enumerate(sorted(digits.members))}
    assert [places[arch] for arch in played.started] == RECORDED[key]


def test_an_ordinary_study_searches_well_from_final_values_alone(digits: Table) -> None:
    """The same sampler without curves, pauses and attributes ends above random search."""
    given_ = conditions_of(digits, slots=2)
    found = {
        name: [replay(given_, name, repetition).final.honest for repetition in range(4)]
        for name in ("random", "frontier-optuna")
    }
    assert sum(found["frontier-optuna"]) > sum(found["random"])


def test_unknown_strategies_are_named() -> None:
    with pytest.raises(RunError, match="did you mean 'frontier'"):
        chosen_strategies("frontire")
    assert chosen_strategies("tpe, tpe+racing") == ["random", "tpe", "tpe+racing"]
    assert set(chosen_strategies(None)) == set(strategies()) - set(SLOW)


def test_stock_ray_is_driven_as_tune_drives_it() -> None:
    of = table()

    def played(*, two: bool, asha: bool) -> tuple[StockRay, list[str], list[Finished]]:
        player = StockRay(of, repetition=0, two_objectives=two, asha=asha, trials=30)
        found = play(player, of, slots=2, budget_epochs=1000)
        return player, found.started, found.finished

    _, started, finished = played(two=True, asha=False)
    assert len(started) == len(finished) == 30
    # It does not know what it has tried: of so small a space it proposes some again, with another seed.
    again = {arch for arch in started if started.count(arch) > 1}
    assert again
    player, started, finished = played(two=False, asha=True)
    assert len(finished) < len(started) == 30
    study = player._searcher._ot_study
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert sum(len(trial.intermediate_values) for trial in study.trials) < 30 * of.epochs


# -- in memory


def test_a_ledger_in_memory_tells_what_the_one_on_disk_tells(tmp_path: Path) -> None:
    of = table()
    disk, memory = Ledger(tmp_path), MemoryLedger()

    rng = random.Random(0)
    for arch, member in list(of.members.items())[:8]:
        spec = TrialSpec(arch=arch, dataset="digits", recipe=of.plan.recipe)
        result = member.trainings[0]
        paused = replace(result, status="paused", epochs=result.epochs[:2])
        ends = rng.random() < 0.5
        for ledger in (disk, memory):
            ledger.write_start(spec.id)
            ledger.write_pause(spec, paused, wall_time_s=1.5)
            if ends:
                ledger.write_trial(spec, result, wall_time_s=2.0)
    one, other = disk.read(), memory.follow().refresh()
    for field in ("trials", "paused", "started", "wall_time_s"):
        assert getattr(one, field) == getattr(other, field)


# -- what the search costs


def test_overhead_is_measured_on_the_way() -> None:
    found = measure_overhead(space_name="quickstart", finished=(3, 6))
    assert [item.finished for item in found] == [3, 6]
    assert all(0 < item.proposal_ms <= item.worst_ms and item.memory_mib > 10 for item in found)


# -- the command


def test_the_command_compares_and_writes(tmp_path: Path) -> None:
    write_run(tmp_path / "run", table())
    said = rksearch_json(
        *("bench", "search", "--table", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--json"),
        *("--repetitions", "6", "--strategies", "stratified,frontier+racing", "--trainings", "8", "--jobs", "2"),
    )
    assert [item["strategy"] for item in said["standings"]] == ["random", "stratified", "frontier+racing"]
    assert json.loads((tmp_path / "out" / "standings.json").read_text())["goal"] == said["goal"]
    with (tmp_path / "out" / "repetitions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    finals = sorted(float(row["hypervolume"]) for row in rows if row["strategy"] == "random")
    assert said["goal"] == pytest.approx((finals[2] + finals[3]) / 2, abs=1e-6)
    in_process = replay(conditions_of(load_table(tmp_path / "run"), slots=2, trainings=8), "random", 2)
    (row,) = [row for row in rows if (row["strategy"], row["repetition"]) == ("random", "2")]
    assert float(row["hypervolume"]) == pytest.approx(in_process.final.honest, abs=1e-6)
    picture = ElementTree.parse(tmp_path / "out" / "curves.svg")
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}polygon")) == 3
    assert "`frontier+racing`" in (tmp_path / "out" / "README.md").read_text()


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path, table(), without=1)
    for extra, words in (
        (["--table", str(tmp_path)], "lacks 1 of"),
        (["--table", str(tmp_path / "none")], "ledger.jsonl"),
        (["--strategies", "best"], "the strategies are random"),
    ):
        done = rksearch("bench", "search", "--out", str(tmp_path / "out"), *extra)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
