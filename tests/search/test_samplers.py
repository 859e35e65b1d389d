import math
import pickle
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.errors import SpaceError
from rksearch.recipes.shipped import recipe
from rksearch.results.records import Epoch, Status, TrialResult, TrialSpec
from rksearch.search.samplers import FrontierSampler, attributes, stock
from rksearch.search.samplers.base import distributions_of
from rksearch.search.samplers.bounded import BoundedSampler
from rksearch.search.samplers.candidates import listing
from rksearch.search.samplers.draws import SpreadStart
from rksearch.search.samplers.improvement import expected_improvement
from rksearch.search.samplers.ladder import curve
from rksearch.search.samplers.observations import StudyReader
from rksearch.search.samplers.registry import make_sampler, samplers
from rksearch.search.samplers.study import RunStudy
from rksearch.search.samplers.surrogate import Seen, Surrogate
from rksearch.space import Space, load_space, parse_space

TINY = """
dataset: digits
families: [dense, dense_bc]
growth_rate: [4]
periods:
  - {m: [1, 2], s: [1], r: [1, 2], share: [false, true]}
  - {m: [2], s: [1, 2], r: [1]}
budgets: {params: [null, 6000]}
"""

TIED = """
dataset: digits
families: [dense]
growth_rate: [4, 6, 8]
periods:
  - {m: [1, 2, 3], s: [1, 2], r: [1, 2, 3], share: [true]}
  - {m: [1, 2, 3], s: [1, 2], r: [1, 2]}
constraints: [m1 <= m2, share1 implies s1 == 1]
budgets: {params: [1_500, 12_000], depth: [6, 20]}
"""

MIXED = """
dataset: digits
families: [dense, dense_bc, residual]
growth_rate: [4, 6]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2], share: [false, true], method: [learned, heun2, rk4+train]}
  - {m: [1, 2], s: [1], r: [1, 2], method: [learned, midpoint+tie]}
constraints: [m1 <= m2]
budgets: {params: [null, 40_000], depth: [null, 14]}
"""

# Growth rates whose sizes overlap, so that a good one among them pays at every size.
OVERLAPPING = """
dataset: digits
families: [dense, dense_bc]
growth_rate: [4, 6, 8]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2, 3], share: [false, true]}
  - {m: [1, 2, 3], s: [1, 2], r: [1, 2], share: [false, true]}
  - {m: [1, 2, 4], s: [1, 2], r: [1, 2], share: [false, true]}
budgets: {params: [1_500, 50_000], macs: [null, 1_200_000]}
"""

LISTED = """
dataset: digits
recipe: {name: short, epochs: 4}
architectures:
  - RKNet-k4-m1_2-1x1_1x1
  - RKNet-BC-k4-m1_2-1x2s_1x1
  - RKNet-k4-m1_2-2x2@heun2_1x1
  - RKNet-k4-m1_2-4x1@rk4_1x1
  - RKNet-Res-1x1_1x1_1x2s
  - RKCNN-E-k8-2x1_2x1
  - ResNet-8
  - DenseNet-10-k4
"""

MODELLING = ("frontier", "evolution", "tpe", "nsga2")
QUICK = ("random", "stratified", "grid", *MODELLING)


def spaces() -> dict[str, Space]:
    return {
        "tiny": parse_space(TINY, name="tiny"),
        "tied": parse_space(TIED, name="tied"),
        "mixed": parse_space(MIXED, name="mixed"),
        "listed": parse_space(LISTED, name="listed"),
        "quickstart": load_space("quickstart"),
    }


def epochs(count: int, val_error_pct: float) -> tuple[Epoch, ...]:
    """A curve that falls to the given error."""
    return tuple(
        Epoch(
            epoch=n,
            lr=0.1,
            train_loss=1.0,
            train_error_pct=50.0,
            val_loss=1.0,
            val_error_pct=min(val_error_pct * (2 - n / count), 100.0),
            train_time_s=1.0,
        )
        for n in range(1, count + 1)
    )


Result = tuple[TrialSpec, TrialResult]


def result_of(space: Space, arch: str, val_error_pct: float, *, status: Status = "complete", count: int = 8) -> Result:
    counted = cost(parse(arch), space.definition.dataset)
    spec = TrialSpec(arch=arch, dataset=space.definition.dataset.name, recipe=recipe("short", epochs=8))
    if status == "failed":
        return spec, TrialResult(status="failed", failure="non_finite_loss", message="loss is nan")
    return spec, TrialResult(status=status, epochs=epochs(count, val_error_pct), **counted._asdict())


def made(name: str, space: Space, *, trials: int, seed: int, macs: bool = False, start: Sequence[str] = ()) -> RunStudy:
    """The study of a run, with the sampler of this name."""
    objectives = ("val_error_pct", "params", "macs")[: 3 if macs else 2]
    sampler = make_sampler(name, space, objectives=objectives, trials=trials, seed=seed)
    return RunStudy(space, sampler, objectives=objectives, start=start)


def outcome(rng: random.Random, space: Space, arch: str) -> list[Result]:
    """Possible results of a training: nothing yet, failures, NaN, pauses that end or continue."""

    def own(status: Status, count: int, error: float | None = None) -> Result:
        error = rng.uniform(3, 80) if error is None else error
        return result_of(space, arch, error, status=status, count=count)

    kind = rng.randrange(10)
    if kind == 0:
        return []
    if kind == 1:
        return [own("failed", 0)]
    if kind == 2:
        return [own("complete", 8, math.nan)]
    if kind == 3:
        return [own("paused", 2)]
    if kind == 4:
        return [own("paused", 2), own("pruned", 2)]
    if kind == 5:
        return [own("paused", 2), own("paused", 4), own("complete", 8)]
    if kind == 6:
        return [own("paused", 2), own("failed", 0)]
    return [own("complete", 8)]


def search(study: RunStudy, space: Space, proposals: int, *, seed: int = 0) -> list[str]:
    """Proposals of a search with random outcomes, each checked."""
    rng = random.Random(seed)
    taken: set[str] = {"ResNet-20"}
    found: list[str] = []
    later: list[Result] = []
    for _ in range(proposals):
        arch = study.propose(taken)
        if arch is None:
            assert set(map(str, space)) <= taken, "None before the space is exhausted"
            break
        assert arch not in taken
        assert str(parse(arch)) == arch
        assert parse(arch) in space
        taken.add(arch)
        found.append(arch)
        later += outcome(rng, space, arch)
        # Results arrive late and in another order, but those of one architecture in theirs.
        while len(later) > 3:
            place = rng.randrange(len(later))
            first = next(i for i, (spec, _) in enumerate(later) if spec.arch == later[place][0].arch)
            study.update([later.pop(first)])
    return found


def simulate(name: str, space: Space, proposals: int, *, seed: int, macs: bool = False) -> int:
    study = made(name, space, trials=min(proposals, len(space)), seed=seed, macs=macs)
    return len(search(study, space, proposals, seed=seed))


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("where", ["tiny", "tied", "mixed", "listed"])
def test_small_spaces_are_proposed_completely_whatever_happens(name, where):
    space = spaces()[where]
    assert simulate(name, space, len(space) + 1, seed=3, macs=where == "tied") == len(space)


@pytest.mark.parametrize("where", ["tiny", "tied", "mixed", "listed"])
def test_rows_are_the_members_with_their_costs(where):
    space = spaces()[where]
    known = listing(space)
    rows = known.pool(len(space), np.random.default_rng(0))
    names = known.names(rows)
    assert sorted(names) == sorted(map(str, space))
    found = known.candidates(rows)
    counted = [cost(parse(name), space.definition.dataset) for name in names]
    assert found.costs["params"].tolist() == [c.params for c in counted]
    assert found.costs["macs"].tolist() == [c.macs for c in counted]
    assert found.features.shape == (len(space), len(known.groups))
    assert np.isfinite(found.features).all()
    for row, name in zip(rows, names, strict=True):
        assert (known.row(name) == row).all()


def test_members_differ_in_their_features():
    space = spaces()["mixed"]
    known = listing(space)
    features = known.candidates(known.pool(len(space), np.random.default_rng(0))).features
    assert len(np.unique(features.round(9), axis=0)) == len(space)


@pytest.mark.parametrize("where", ["tiny", "tied", "quickstart"])
def test_neighbours_of_rows_are_the_space_s_neighbours(where):
    """And those to which sharing comes with a second time-step: before, it decided nothing."""
    space = spaces()[where]
    known = listing(space)
    for spec in space.sample(12, seed=4):
        found = set(known.names(known.neighbours(known.row(str(spec))[None, :])))
        theirs = {str(other) for other in space.neighbours(spec)}
        assert theirs <= found
        assert str(spec) not in found
        for name in found - theirs:
            before: Any = spec
            after: Any = parse(name)
            assert after in space
            changed = [(p, q) for p, q in zip(before.periods, after.periods, strict=True) if p != q]
            assert len(changed) == 1
            assert (changed[0][0].r == 1 and changed[0][1].share) or (changed[0][1].r == 1 and changed[0][0].share)


def test_a_pool_of_a_large_space_is_spread_over_sizes():
    space = load_space("quickstart")
    known = listing(space)
    rows = known.pool(400, np.random.default_rng(1))
    assert len({row.tobytes() for row in rows}) == len(rows) == 400
    assert all(parse(name) in space for name in known.names(rows[::20]))
    size = np.log(known.candidates(rows).costs["params"])
    low, high = math.log(space.smallest.params), math.log(space.largest.params)
    tenths = np.bincount(np.minimum((10 * (size - low) / (high - low)).astype(int), 9), minlength=10)
    assert tenths.max() < 100


@pytest.mark.parametrize("name", QUICK)
def test_every_proposal_is_feasible_canonical_and_new(name):
    assert simulate(name, load_space("quickstart"), 60, seed=1) == 60


@pytest.mark.parametrize("name", ["gp"])
def test_optunas_gaussian_processes_propose_too(name):
    assert simulate(name, parse_space(TIED, name="tied"), 8, seed=1) == 8


def test_an_unknown_sampler_is_named_with_the_nearest():
    with pytest.raises(SpaceError, match=r"got 'frontir' \(did you mean 'frontier'\?\)"):
        make_sampler("frontir", load_space("methods"), objectives=("val_error_pct", "params"), trials=5, seed=0)


@pytest.mark.parametrize("objectives", [("params", "macs"), ("val_error_pct", "val_error_pct"), ()])
def test_the_error_must_be_among_the_objectives(objectives):
    with pytest.raises(
        SpaceError, match="the objectives must be val_error_pct or balanced_val_error_pct and costs beside it"
    ):
        make_sampler("random", load_space("methods"), objectives=objectives, trials=5, seed=0)


def test_the_names_of_samplers_are_known_without_optuna_and_torch():
    code = (
        "import sys; from rksearch.search.samplers.registry import samplers; "
        "print(sorted({'torch', 'ray', 'optuna', 'numpy', 'scipy'} & set(sys.modules)), len(samplers.items()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[] {len(samplers.items())}"


@pytest.mark.parametrize("name", QUICK)
def test_the_same_seed_and_observations_make_the_same_proposals(name):
    space = load_space("quickstart")
    runs = [search(made(name, space, trials=40, seed=seed), space, 40) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2] or name == "grid"


@pytest.mark.parametrize("name", QUICK)
def test_a_resumed_search_proposes_nothing_twice_and_continues(name):
    space = load_space("quickstart")
    first = search(made(name, space, trials=30, seed=5), space, 15)
    again = made(name, space, trials=30, seed=5)
    taken = set(first)
    again.started(first, "candidate")
    again.update(result_of(space, known, 10.0) for known in first)
    for _ in range(15):
        arch = again.propose(taken)
        assert arch is not None
        assert arch not in taken
        taken.add(arch)


@pytest.mark.parametrize("name", ["random", "grid"])
def test_sessions_do_not_change_the_stream(name):
    space = load_space("quickstart")
    whole = search(made(name, space, trials=20, seed=2), space, 20)
    part = whole[:8]
    resumed = made(name, space, trials=20, seed=2)
    resumed.started(part, "candidate")
    for _ in range(12):
        part.append(str(resumed.propose(set(part))))
    assert part == whole


@pytest.mark.parametrize("name", QUICK)
def test_a_search_begins_with_what_it_is_given(name):
    space = load_space("quickstart")
    wanted = [str(spec) for spec in space.sample(3, seed=9)]
    study = made(name, space, trials=12, seed=0, start=[wanted[0], "ResNet-20", *wanted])
    assert search(study, space, 6)[:3] == wanted


def test_random_is_uniform():
    space = parse_space(TINY, name="tiny")
    counts = dict.fromkeys(map(str, space), 0)
    for seed in range(600):
        counts[str(made("random", space, trials=5, seed=seed).propose(set()))] += 1
    expected = 600 / len(counts)
    square = sum((count - expected) ** 2 / expected for count in counts.values())
    # Chi-square: its mean is the degrees of freedom, its variance twice that.
    assert square < len(counts) + 5 * math.sqrt(2 * len(counts))


@pytest.mark.parametrize("name", MODELLING)
def test_every_search_starts_spread_over_sizes(name):
    space = load_space("quickstart")
    sampler = made(name, space, trials=30, seed=0)
    # A third of the search, but our own model takes over after 5.
    count = 5 if name == "frontier" else 10
    begun = search(sampler, space, count)
    sizes = [math.log(cost(parse(arch), space.definition.dataset).params) for arch in begun]
    low, high = math.log(space.smallest.params), math.log(space.largest.params)
    strata = {int((size - low) / (high - low) * count - 1e-9) for size in sizes}
    assert len(strata) >= count - 1


@pytest.mark.parametrize("where", ["tiny", "tied", "listed"])
@pytest.mark.parametrize("trials", [1, 30])
def test_the_default_begins_with_the_smallest_member(where, trials):
    """Only equals in parameters can dominate it; but where parameters are no objective it is like any other."""
    space = spaces()[where]
    trials = min(trials, len(space))
    begun = [
        RunStudy(
            space,
            make_sampler("frontier", space, objectives=objectives, trials=trials, seed=seed),
            objectives=objectives,
        ).propose(set())
        for objectives in (("val_error_pct", "params"), ("val_error_pct", "macs"))
        for seed in range(12)
    ]
    fewest = min(cost(spec, space.definition.dataset).params for spec in space)
    sizes = [cost(parse(str(arch)), space.definition.dataset).params for arch in begun]
    assert set(sizes[:12]) == {fewest}
    assert set(sizes[12:]) != {fewest}


def test_the_start_stays_as_long_with_the_smallest_and_repeats_nothing():
    space = spaces()["tied"]
    for seed in range(20):
        start = SpreadStart(space, trials=30, seed=seed, most=5, smallest=True)
        taken: set[str] = set()
        while (arch := start.next(taken)) is not None:
            taken.add(arch)
        assert len(taken) == 5
    assert SpreadStart(space, trials=0, seed=0, smallest=True).next(set()) is None


def test_a_training_that_tells_nothing_new_gains_less():
    """A gain is what one noisy training may do to the mean: with noise the gains fall, most where much is known."""
    space = spaces()["tied"]
    known = listing(space)
    names = [str(spec) for spec in space.sample(30, seed=3)]
    rng = random.Random(1)
    seen = {
        arch: (known.row(arch), Seen(curve([error], [1.0]), (error, float(params)), eligible=True))
        for arch in names
        for error in [20 * math.exp(rng.gauss(0, 0.4))]
        for params in [cost(parse(arch), space.definition.dataset).params]
    }
    surrogate = Surrogate.of(space, known, ("val_error_pct", "params"))
    surrogate.learn(seen, [])
    candidates = known.candidates(known.pool(len(space), np.random.default_rng(0)))
    gains = surrogate.gains(candidates)
    model = surrogate._models[0]
    mean, sd = model.predict(candidates.features)
    logs = np.log10(candidates.costs["params"])[:, None]
    front = surrogate._front_costs, surrogate._front_errors, surrogate._worst
    without = expected_improvement(logs, mean, sd, *front)
    assert model.noise_sd > 0
    assert (gains <= without + 1e-12).all()
    # What a training moves the mean by is normal with this deviation (simulated, with numbers of its own).
    place = int(np.argmax(gains))
    draws = np.random.default_rng(2)
    truth = mean[place] + sd[place] * draws.standard_normal(200_000)
    told = truth + model.noise_sd * draws.standard_normal(200_000)
    after = mean[place] + sd[place] ** 2 / (sd[place] ** 2 + model.noise_sd**2) * (told - mean[place])
    moved = expected_improvement(logs[[place]], mean[[place]], np.array([after.std()]), *front)
    assert gains[place] == pytest.approx(moved[0], rel=0.02)


@pytest.mark.parametrize("name", MODELLING)
def test_samplers_learn_what_is_good(name):
    """Where the growth rate decides everything, later proposals prefer the good one."""
    space = parse_space(OVERLAPPING, name="overlapping")
    sampler = made(name, space, trials=75, seed=3)
    taken: set[str] = set()
    late: list[Any] = []
    for i in range(75):
        arch = sampler.propose(taken)
        assert arch is not None
        taken.add(arch)
        spec: Any = parse(arch)
        sampler.update([result_of(space, arch, 5.0 if spec.growth_rate == 6 else 80.0)])
        if i >= 50:
            late.append(spec)
    share = sum(spec.growth_rate == 6 for spec in late) / len(late)
    of_space = sum("-k6-" in str(spec) for spec in space.sample(500, seed=0)) / 500
    assert share > of_space + 0.2


@pytest.mark.parametrize("name", QUICK)
def test_architectures_outside_of_the_space_teach_nothing(name):
    space = load_space("quickstart")
    sampler = made(name, space, trials=6, seed=0)
    sampler.started(["ResNet-20", "RKNet-k64-m9-1x1"], "known")
    sampler.update([result_of(space, "ResNet-20", 5.0), result_of(space, "RKNet-k64-m9-1x1", 5.0)])
    sampler.add_imported("ResNet-20", [5.0, 1e5])
    assert not sampler.study.trials
    assert sampler.propose(set()) is not None


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_the_bounded_study_is_renewed(name, monkeypatch):
    monkeypatch.setattr(stock, f"{name.upper()}_MODELLED", 10)
    space = parse_space(TIED, name="tied")
    run = made(name, space, trials=70, seed=0)
    assert len(search(run, space, 70)) == 70
    assert isinstance(run.study.sampler, BoundedSampler)
    assert run.study.sampler.studies > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_ten_thousand_proposals_without_a_fault(name):
    """With seven samplers 10,000 in all: many searches over small spaces, and longer ones in larger spaces."""
    proposals = 0
    small = spaces()
    for seed in range(6):
        for where in ("tied", "mixed", "listed"):
            proposals += simulate(name, small[where], 200, seed=seed, macs=seed % 2 == 1)
    for where in ("quickstart", "cifar10_small"):
        proposals += simulate(name, load_space(where), 250, seed=7, macs=where == "quickstart")
    assert proposals > 10_000 / len(QUICK)


@pytest.mark.timing
@pytest.mark.parametrize("name", QUICK)
def test_a_proposal_at_two_thousand_finished_trials_is_quick(name):
    space = load_space("quickstart")
    sampler = made(name, space, trials=2100, seed=0)
    rng = random.Random(0)
    taken = {str(spec) for spec in space.sample(2000, seed=1)}
    sampler.started(sorted(taken), "candidate")
    sampler.update(result_of(space, known, rng.uniform(3, 80)) for known in sorted(taken))
    times_s = []
    for _ in range(60):
        began = time.perf_counter()
        arch = sampler.propose(taken)
        times_s.append(time.perf_counter() - began)
        assert arch is not None
        taken.add(arch)
        sampler.update([result_of(space, arch, rng.uniform(3, 80))])
    # The aim is 50 ms; a busy machine may take longer, but not grow with the history.
    assert statistics.median(times_s[30:]) < 0.5


# -- ordinary studies


def plain_study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    return optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)


@pytest.mark.parametrize("name", QUICK)
def test_every_sampler_works_in_anyones_study_from_final_values(name):
    space = parse_space(TIED, name="tied")
    trained: list[str] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        decisions = {key: trial.suggest_categorical(key, values) for key, values in space.dimensions().items()}
        trial.suggest_float("of another kind", 0, 1)
        spec = space.from_choices(decisions)
        trained.append(str(spec))
        if len(trained) % 7 == 0:
            raise optuna.TrialPruned
        return 50 - 20 * math.tanh(len(trained)), float(cost(spec, space.definition.dataset).params)

    sampler = make_sampler(name, space, objectives=("val_error_pct", "params"), trials=20, seed=0)
    study = plain_study(sampler)
    study.optimize(objective, n_trials=20)
    assert len(trained) == 20
    if name not in ("tpe", "nsga2"):
        assert len(set(trained)) == 20, "nothing is proposed twice"
        assert all(parse(arch) in space for arch in trained)


def test_an_ordinary_study_learns_what_is_good():
    space = parse_space(OVERLAPPING, name="overlapping")
    study = plain_study(FrontierSampler(space, seed=0))
    distributions = distributions_of(space)
    late = []
    for i in range(40):
        trial = study.ask(distributions)
        spec: Any = space.from_choices(trial.params)
        study.tell(trial, [5.0 if spec.growth_rate == 6 else 80.0, cost(spec, space.definition.dataset).params])
        late += [spec.growth_rate == 6] if i >= 20 else []
    assert sum(late) / len(late) > sum("-k6-" in str(s) for s in space.sample(500, seed=0)) / 500 + 0.2


def test_a_small_space_is_proposed_once_each_and_then_again():
    space = parse_space(TINY, name="tiny")
    study = plain_study(FrontierSampler(space, seed=0))
    trained = []
    for _ in range(len(space) + 2):
        trial = study.ask(distributions_of(space))
        trained.append(str(space.from_choices(trial.params)))
        study.tell(trial, [10.0, 1000.0])
    assert set(trained[: len(space)]) == set(map(str, space))
    assert set(trained[len(space) :]) <= set(map(str, space))


def test_a_study_with_other_directions_is_refused():
    study = optuna.create_study(sampler=FrontierSampler(load_space("quickstart")))
    with pytest.raises(SpaceError, match=r"must minimise val_error_pct, params, but its directions are minimize"):
        study.ask(distributions_of(load_space("quickstart")))


def test_enqueued_trials_cost_no_proposal_and_count_as_taken():
    space = parse_space(TIED, name="tied")
    sampler = FrontierSampler(space, seed=0)
    study = plain_study(sampler)
    wanted = str(space.smallest.name)
    study.enqueue_trial(space.choices(parse(wanted)))
    first = study.ask(distributions_of(space))
    assert str(space.from_choices(first.params)) == wanted
    assert str(space.from_choices(study.ask(distributions_of(space)).params)) != wanted


def test_the_model_sees_the_same_through_attributes_of_trials_as_through_a_run():
    """Curves, pauses, what was pruned, resumed or repeated: by a run's results, and by trials that anyone adds."""
    space = parse_space(TIED, name="tied")
    names = [str(spec) for spec in space.sample(6, seed=3)]
    paused, pruned, whole, failed, resumed, repeated = names
    run = made("frontier", space, trials=30, seed=0)
    run.started(names, "candidate")
    again = result_of(space, repeated, 20.0)
    second = replace(again[0], replicate=1), result_of(space, repeated, 30.0)[1]
    results = [
        result_of(space, paused, 40.0, status="paused", count=2),
        result_of(space, pruned, 50.0, status="pruned", count=2),
        result_of(space, whole, 30.0),
        result_of(space, failed, 0.0, status="failed"),
        result_of(space, resumed, 35.0, status="paused", count=2),
        result_of(space, resumed, 25.0),
        again,
        second,
    ]
    run.update(results)
    run.propose(set(names))

    study = plain_study(FrontierSampler(space, seed=0, trials=30))
    states = {
        "complete": TrialState.COMPLETE,
        "paused": TrialState.PRUNED,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    for spec, result in results:
        own: dict[str, Any] = {attributes.WAITING: result.status == "paused"}
        if result.epochs:
            own[attributes.VAL_ERRORS] = [epoch.val_error_pct for epoch in result.epochs]
            own[attributes.TRAIN_LOSSES] = [epoch.train_loss for epoch in result.epochs]
        values = [result.epochs[-1].val_error_pct, float(result.params or 0)] if result.status == "complete" else None
        study.add_trial(
            optuna.trial.create_trial(
                state=states[result.status],
                values=values,
                params=space.choices(parse(spec.arch)),
                distributions=distributions_of(space),
                user_attrs=own,
            )
        )
    study.ask(distributions_of(space))
    one, other = run.study.sampler, study.sampler
    assert isinstance(one, FrontierSampler)
    assert isinstance(other, FrontierSampler)
    assert one._seen.keys() == other._seen.keys() == {paused, pruned, whole, resumed, repeated}
    for arch, seen in one._seen.items():
        assert (seen.curve == other._seen[arch].curve).all()
        assert seen.values == other._seen[arch].values
        assert seen.eligible == other._seen[arch].eligible == (arch != pruned)
    assert one._seen[repeated].values[0] == pytest.approx(25.0), "the mean of two seeds"
    assert one._ended == other._ended


def test_final_values_stand_at_the_end_of_full_curves():
    space = parse_space(TIED, name="tied")
    sampler = FrontierSampler(space, seed=0, trials=30)
    study = plain_study(sampler)
    distributions = distributions_of(space)
    for i in range(6):
        trial = study.ask(distributions)
        if i < 3:
            trial.set_user_attr(attributes.VAL_ERRORS, [60.0, 50.0, 40.0])
            trial.set_user_attr(attributes.TRAIN_LOSSES, [2.0, 1.0, 0.5])
        study.tell(trial, [40.0, 2000.0])
    study.ask(distributions)
    found = sampler._modelled(listing(space))
    assert {seen.curve.shape for _, seen in found.values()} == {(3, 2)}
    assert [math.exp(seen.curve[-1, 0]) for _, seen in found.values()] == pytest.approx([40.0] * 6)


# -- the run's own study


class Wanted(optuna.samplers.RandomSampler):
    """Asks for the same parameters each time."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(seed=0)
        self.params = params

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self.params[param_name]


def test_the_study_holds_what_is_trained_in_place_of_a_proposal_that_is_not_new():
    space = parse_space(TIED, name="tied")
    first = str(space.smallest.name)
    run = RunStudy(space, Wanted(space.choices(parse(first))), objectives=("val_error_pct", "params"))
    assert run.propose(set()) == first
    second = run.propose({first})
    assert second == str(space.nearest(parse(first), exclude={first}))
    asked, refused, trained = run.study.trials
    assert (asked.state, refused.state, trained.state) == (TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING)
    assert refused.user_attrs[attributes.REPLACED_BY] == trained.user_attrs[attributes.ARCH] == second
    assert trained.params == space.choices(parse(second))
    everything = set(map(str, space))
    assert run.propose(everything) is None


def test_the_study_holds_every_result_in_optunas_words():
    space = parse_space(TIED, name="tied")
    names = [str(spec) for spec in space.sample(5, seed=3)]
    run = made("random", space, trials=9, seed=0)
    run.add_imported(names[4], [20.0, 1e3])
    run.add_imported(names[4], [20.0, None])
    run.started(names[:1], "known")
    run.started(names[:4], "candidate")
    run.update(
        [
            result_of(space, names[0], 30.0),
            result_of(space, names[1], 40.0, status="paused", count=2),
            result_of(space, names[2], 50.0, status="pruned", count=3),
            result_of(space, names[3], 0.0, status="failed"),
        ]
    )
    imported, complete, paused, pruned, failed = run.study.trials
    assert imported.values == [20.0, 1e3]
    assert complete.values == [30.0, cost(parse(names[0]), space.definition.dataset).params]
    assert complete.user_attrs[attributes.ROLE] == "known"
    assert [t.state.name for t in (paused, pruned, failed)] == ["RUNNING", "PRUNED", "FAIL"]
    assert len(paused.user_attrs[attributes.VAL_ERRORS]) == 2
    assert len(pruned.user_attrs[attributes.TRAIN_LOSSES]) == 3
    assert failed.user_attrs[attributes.FAILURE] == "non_finite_loss: loss is nan"
    assert run.propose(set(names[:4])) not in names[:4]


def test_a_sampler_learns_of_each_pause_also_of_those_that_are_over():
    space = parse_space(TIED, name="tied")
    run = made("random", space, trials=9, seed=0)
    before, waits, ended = names = [str(spec) for spec in space.sample(3, seed=3)]
    params = cost(parse(ended), space.definition.dataset).params
    run.started([before], "candidate")
    reader = StudyReader(space, ("val_error_pct", "params"))
    reader.begins(run.study, own=-1)
    assert [(o.arch, o.state) for o in reader.news(run.study, own=-1)] == [(before, "running")]
    run.started(names, "candidate")
    run.update([result_of(space, ended, 40.0, status="paused", count=1)])
    run.update([result_of(space, waits, 35.0, status="paused", count=1)])
    run.update([result_of(space, ended, 30.0, status="paused", count=2)])
    run.update([result_of(space, ended, 20.0)])
    news = reader.news(run.study, own=-1)
    assert [(o.arch, o.state, len(o.val_errors_pct)) for o in news[:5]] == [
        (waits, "running", 0),
        (ended, "running", 0),
        (ended, "paused", 1),
        (waits, "paused", 1),
        (ended, "paused", 2),
    ]
    assert [(o.arch, o.state) for o in news[5:]] == [(ended, "complete")]
    last = news[5]
    assert news[4].values == (last.val_errors_pct[1], params)
    assert last.values == (20.0, params)
    assert reader.news(run.study, own=-1) == []


# -- several studies, several processes


def objective_of(space: Space) -> Any:
    """A training of a trial's architecture that takes no time: its error falls with its size."""

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        decisions = {key: trial.suggest_categorical(key, values) for key, values in space.dimensions().items()}
        params = float(cost(space.from_choices(decisions), space.definition.dataset).params)
        return 60.0 - 5 * math.log(params) + len(str(decisions)) % 7, params

    return objective


def decisions_of(study: optuna.Study) -> list[Any]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("name", QUICK)
def test_a_second_study_of_the_same_name_is_another_study(name: str, tmp_path: Path) -> None:
    """In memory, in a file of its own, and in the place of one that was deleted."""
    space = parse_space(TIED, name="tied")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = make_sampler(name, space, objectives=("val_error_pct", "params"), trials=8, seed=0)
    found: list[Any] = []
    storages: list[Any] = [None, None, *(f"sqlite:///{tmp_path}/{place}.db" for place in ("one", "two", "two"))]
    for storage in storages:
        if storage is storages[-1] and len(found) == 4:
            optuna.delete_study(study_name="mine", storage=storage)
        study = optuna.create_study(
            study_name="mine", storage=storage, directions=["minimize", "minimize"], sampler=sampler
        )
        study.optimize(objective_of(space), n_trials=8)
        found.append(decisions_of(study))
    assert found == [found[0]] * 5


@pytest.mark.parametrize("name", ["frontier", "evolution", "random"])
def test_another_object_of_the_same_study_is_the_same_study(name: str, tmp_path: Path) -> None:
    space = parse_space(TIED, name="tied")
    address = f"sqlite:///{tmp_path}/study.db"
    wanted: dict[str, Any] = {"objectives": ("val_error_pct", "params"), "trials": 12, "seed": 0}
    sampler, alone = make_sampler(name, space, **wanted), make_sampler(name, space, **wanted)
    expected = plain_study(alone)
    expected.optimize(objective_of(space), n_trials=12)
    optuna.create_study(study_name="mine", storage=address, directions=["minimize", "minimize"])
    for _ in range(4):
        study = optuna.load_study(study_name="mine", storage=address, sampler=sampler)
        study.optimize(objective_of(space), n_trials=3)
    assert decisions_of(study) == decisions_of(expected)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("text", [TIED, LISTED], ids=["choices", "listed"])
def test_a_sampler_that_was_pickled_continues_as_it_would_have(name: str, text: str) -> None:
    space = parse_space(text, name="own")
    sampler = make_sampler(name, space, objectives=("val_error_pct", "params"), trials=20, seed=0)
    study = plain_study(pickle.loads(pickle.dumps(sampler)))
    study.optimize(objective_of(space), n_trials=6)
    waiting = study.ask(distributions_of(space))  # what runs is in the memory of the sampler too
    copied = pickle.loads(pickle.dumps(study))
    study.sampler, before = pickle.loads(pickle.dumps(study.sampler)), study.sampler
    for own in (study, copied):
        own.optimize(objective_of(space), n_trials=6)
        own.tell(waiting.number, [40.0, 5000.0])
        own.optimize(objective_of(space), n_trials=4)
    assert decisions_of(study) == decisions_of(copied)
    assert study.sampler is not before
