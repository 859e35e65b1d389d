"""Simulated runs of the shape of a given one, whose truth is known.

A simulated run has the networks of the given one: its baselines, the paper's configurations, and its candidates in
the order in which they were begun, with their parameters and MACs. Its truth is drawn from the model that the report
fits (`rksearch.results.uncertainty.predicted_runs`): a trend of error over size, networks that scatter about it
whatever their choices, and a spread between seeds. In `resampled` runs nothing comes from that model: the true error
of a network is that of one of the networks of the given run of about its costs, and its seeds stray as those of
networks of about that error did. The search's own agenda then decides which trainings are stopped, which networks get
further seeds, and how many, by the plan of the run; racing follows scores that predict the final error as well as
they did in the run. Errors are rounded to whole images. So the luck of the best of many, and what selection and
racing make of it, are those of such a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from rksearch.arch.arrays import Floats
from rksearch.bench.replay.ledger_in_memory import MemoryLedger
from rksearch.results.calibration import Noise
from rksearch.results.dominance import Reference
from rksearch.results.history import History
from rksearch.results.plan import Plan, Rank
from rksearch.results.records import Epoch, ImageCounts, Role, TrialResult, TrialSpec, parse_trial_id
from rksearch.results.summaries import ArchSummary, by_macs, by_params
from rksearch.results.tables import reference
from rksearch.results.uncertainty import draw, error_of, log_odds, predicted_runs
from rksearch.search.agenda import SearchAgenda
from rksearch.search.racing import Race, score
from rksearch.space.plan import DEFAULT_OBJECTIVES, TOP1

LARGEST_RUN = 500
"""Most candidates of a simulated run; of a longer run every second, third, ... is kept."""

LEAST_TRAINED = 8
"""Fewest searched networks trained to the end from which the shape of a run can be told."""

HEAVY_DEGREES = 5
"""Degrees of freedom of the heavy-tailed spread between seeds."""

UNKNOWN_CORRELATION = 0.7
"""Correlation of the score at a rung with the final error where the run has too few trainings to tell."""

NEIGHBOURS = 10
"""Networks of the run among which truth and seeds of a network of a resampled run are drawn."""

JITTER = 1e-6
"""Standard deviation, on the scale of log-odds, by which truths of resampled runs differ from those that were seen: two
networks with the same one would tie exactly, as real ones do not, and the larger would never be on the front."""

QUANTILES = 65
"""Points at which the distribution of a training's error is averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNetwork:
    """A network of the simulated runs."""

    arch: str
    role: Role
    params: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RungScore:
    """How the score at a rung follows from the log-odds of the final error: a line and a normal deviation from it."""

    slope: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShape:
    """What simulated runs have in common with the given one.

    Attributes:
        networks: all that are trained, baselines first, candidates in the order in which they were begun.
        plan: the plan; its recipe has one epoch for each rung and one more.
        race: the rules of racing; None without it.
        scores: for each rung.
        images: validation images; None where they are not known, or where errors are no counts of them.
        corners: reference points of the hypervolumes of parameters and of MACs.
        left_out: candidates that are left out.
    """

    networks: tuple[SimulatedNetwork, ...]
    plan: Plan
    race: Race | None
    scores: tuple[RungScore, ...]
    images: int | None
    corners: tuple[Reference, Reference]
    left_out: int


# -- the shape of a run


def run_shape(history: History, plan: Plan, items: Sequence[ArchSummary]) -> RunShape:
    """The shape of a run.

    Args:
        history: of the run.
        plan: its plan.
        items: its architectures with a complete training.
    """
    networks = _networks(history, plan)
    candidates = [network for network in networks if network.role == "candidate"]
    step = math.ceil(len(candidates) / LARGEST_RUN) if candidates else 1
    kept = {network.arch for network in candidates[::step]}
    chosen = tuple(network for network in networks if network.role != "candidate" or network.arch in kept)
    rungs = plan.racing.rungs if plan.racing else ()
    recipe = replace(plan.recipe, epochs=len(rungs) + 1)
    racing = plan.racing and replace(plan.racing, rungs=tuple(range(1, len(rungs) + 1)))
    smallest, largest = _size_range(history, chosen)
    images = sorted({r.images.val for _, r in history.trials.values() if r.status == "complete" and r.images.val})
    return RunShape(
        networks=chosen,
        plan=replace(
            plan,
            recipe=recipe,
            baselines=tuple(network.arch for network in chosen if network.role == "baseline"),
            known=tuple(network.arch for network in chosen if network.role == "known"),
            trials=len(kept),
            racing=racing,
            replicates=_replicates(history, plan),
            control=False,
            objectives=DEFAULT_OBJECTIVES,
        ),
        race=Race(racing, smallest=smallest, largest=largest) if racing else None,
        scores=tuple(_rung_score(history, rung, plan.racing.rank) for rung in rungs) if plan.racing else (),
        images=images[0] if len(images) == 1 and history.metric == TOP1 else None,
        corners=(reference(history, items, by_params), reference(history, items, by_macs)),
        left_out=len(candidates) - len(kept),
    )


def _size_range(history: History, networks: Sequence[SimulatedNetwork]) -> tuple[int, int]:
    """Parameters of the smallest and of the largest network of the space, between which racing has its bands."""
    space = history.space
    if space is not None and space.smallest and space.largest:
        return space.smallest.params, space.largest.params
    sizes = [network.params for network in networks if network.role != "baseline"]
    return min(sizes), max(sizes)


def _networks(history: History, plan: Plan) -> list[SimulatedNetwork]:
    """The networks of the run whose costs are known, in the order in which they were begun."""
    costs: dict[str, tuple[int, int]] = {}
    for spec, result in (*history.trials.values(), *history.paused.values()):
        if result.params and result.macs and result.status != "failed":
            costs.setdefault(spec.arch, (result.params, result.macs))
    begun = [parse_trial_id(trial) for trial in history.started] or [
        parse_trial_id(trial) for trial in (*history.trials, *history.paused)
    ]
    archs = dict.fromkeys([*plan.baselines, *plan.known, *(trial.arch for trial in begun if trial.own_seeds is None)])
    found = []
    for arch in archs:
        if arch in costs:
            role: Role = "baseline" if arch in plan.baselines else "known" if arch in plan.known else "candidate"
            found.append(SimulatedNetwork(arch=arch, role=role, params=costs[arch][0], macs=costs[arch][1]))
    return found


def _replicates(history: History, plan: Plan) -> int:
    """Further trainings, as many as the plan allows; as many as there were where time alone limits them."""
    if plan.replicates is not None:
        return plan.replicates
    first = max(plan.search_seeds, plan.final_seeds)
    return sum(spec.is_searched and spec.replicate >= first for spec, _ in history.trials.values())


def _rung_score(history: History, rung: int, rank: Rank) -> RungScore:
    """How the scores at a rung followed from the final errors of this run's trainings, both standardised."""
    early, late = [], []
    for spec, result in history.trials.values():
        if result.status == "complete" and spec.is_searched and not spec.replicate:
            early.append(score(result.epochs, rung, rank, history.metric))
            late.append(result.epochs[-1].error_pct(history.metric))
    x, y = log_odds(np.array(late, dtype=float)), np.array(early, dtype=float)
    known = np.isfinite(y)
    if known.sum() >= LEAST_TRAINED and np.ptp(x[known]) > 0 and np.ptp(y[known]) > 0:
        found = float(np.corrcoef(x[known], y[known])[0, 1])
    else:
        found = UNKNOWN_CORRELATION
    return RungScore(slope=found, sd=math.sqrt(max(0.0, 1 - found**2)))


# -- simulated runs


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """A simulated run that has ended, and its truth.

    Attributes:
        shape: its shape.
        history: its trainings.
        true_pct: expected error of a training of each network, in percent, by name.
        trend_pct: error on the trend, which no choice of design moves, by name.
    """

    shape: RunShape
    history: History
    true_pct: Mapping[str, float]
    trend_pct: Mapping[str, float]


def simulated_runs(
    shape: RunShape, items: Sequence[ArchSummary], runs: int, noise: Noise, generator: np.random.Generator
) -> Iterator[SimulatedRun]:
    """Runs of a shape, one after another.

    Args:
        shape: of the runs.
        items: architectures of the run that they are like.
        runs: their number.
        noise: where truths and seeds come from.
        generator: of random numbers.
    """
    if noise == "resampled":
        yield from _resampled_runs(shape, items, runs, generator)
        return
    networks = shape.networks
    costs = [(network.params, network.macs) for network in networks]
    predicted = predicted_runs(items, costs, runs=runs, generator=generator)
    z = predicted.z.copy()
    # Baselines lie where they lie: not on the trend of the searched networks, but about what was seen of them.
    seen = [item for item in items if item.is_baseline]
    drawn = draw(items, resamples=runs)
    place = {network.arch: i for i, network in enumerate(networks)}
    for item in seen:
        if item.arch in place:
            z[:, place[item.arch]] = log_odds(drawn.of([item])[:, 0])
    sd = predicted.sd(z)
    quantiles = _standard(noise, (np.arange(QUANTILES) + 0.5) / QUANTILES)

    def stray(generator: np.random.Generator) -> float:
        return float(_standard(noise, np.array([generator.uniform()]))[0])

    for run in range(runs):
        truth = [
            _Truth(z=own, scale=spread, quantiles=quantiles, stray=stray)
            for own, spread in zip(z[run].tolist(), sd[run].tolist(), strict=True)
        ]
        yield _simulated(shape, truth, predicted.trend[run], generator)


def _resampled_runs(
    shape: RunShape, items: Sequence[ArchSummary], runs: int, generator: np.random.Generator
) -> Iterator[SimulatedRun]:
    """Runs whose truths and seeds are those of the networks of the run, dealt to others of about the same costs."""
    searched = [item for item in items if not item.is_baseline]
    seen = log_odds(np.array([item.error_pct for item in searched]))
    donors = _nearest(_places(searched), _places(shape.networks), NEIGHBOURS)
    trend = seen[donors].mean(axis=1)
    baselines = {item.arch: float(log_odds(np.array([item.error_pct]))[0]) for item in items if item.is_baseline}
    levels, strays = _strays(items)
    rows = np.arange(len(shape.networks))
    for _ in range(runs):
        z = seen[donors[rows, generator.integers(donors.shape[1], size=len(rows))]]
        z = z + JITTER * generator.standard_normal(len(rows))
        # Baselines lie where they were seen.
        z = np.array([baselines.get(network.arch, own) for network, own in zip(shape.networks, z, strict=True)])
        near = _nearest(levels[:, None], z[:, None], NEIGHBOURS)
        truth = [_dealt(own, np.concatenate([strays[i] for i in close])) for own, close in zip(z, near, strict=True)]
        yield _simulated(shape, truth, trend, generator)


def _places(networks: Sequence[SimulatedNetwork] | Sequence[ArchSummary]) -> Floats:
    """Logarithms of parameters and MACs: (networks, 2)."""
    return np.log(np.array([(max(1, network.params), max(1, network.macs)) for network in networks], dtype=float))


def _nearest(known: Floats, places: Floats, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Indices of the known places nearest to each of these: (places, number), or all of them where there are fewer."""
    apart = np.abs(known[None] - places[:, None]).sum(axis=2)
    return np.argsort(apart, axis=1, kind="stable")[:, :number]


def _strays(items: Sequence[ArchSummary]) -> tuple[Floats, list[Floats]]:
    """Log-odds of the networks with several seeds, and how far the seeds of each stray from their mean.

    Deviations from a mean of n are smaller than those from the truth by the root of (n - 1) / n, which is made up for.
    """
    several = [item for item in items if item.seeds > 1]
    logs = [log_odds(np.array(item.errors_pct)) for item in several]
    strays = [(own - own.mean()) * math.sqrt(len(own) / (len(own) - 1)) for own in logs]
    return np.array([own.mean() for own in logs]), strays


def _dealt(z: float, strays: Floats) -> _Truth:
    """A truth whose seeds are drawn from these deviations, turned to either side."""
    both = np.concatenate([strays, -strays])
    return _Truth(z=float(z), scale=1.0, quantiles=both, stray=lambda generator: float(generator.choice(both)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Truth:
    """What the trainings of a network come from, on the scale of log-odds.

    Attributes:
        z: log-odds of a training that does not stray.
        scale: factor on deviations.
        quantiles: deviations, over which the expected error is the mean.
        stray: draws the deviation of a training.
    """

    z: float
    scale: float
    quantiles: Floats
    stray: Callable[[np.random.Generator], float]

    @property
    def error_pct(self) -> float:
        """Expected error of a training, in percent."""
        return float(error_of(self.z + self.scale * self.quantiles).mean())


def _simulated(shape: RunShape, truth: Sequence[_Truth], trend: Floats, generator: np.random.Generator) -> SimulatedRun:
    names = [network.arch for network in shape.networks]
    trainer = _Trainer(shape, dict(zip(names, truth, strict=True)), generator)
    return SimulatedRun(
        shape=shape,
        history=_searched(shape, trainer),
        true_pct={name: own.error_pct for name, own in zip(names, truth, strict=True)},
        trend_pct=dict(zip(names, error_of(trend).tolist(), strict=True)),
    )


def _standard(noise: Noise, probabilities: Floats) -> Floats:
    """Quantiles of the spread between seeds, of mean 0 and variance 1."""
    from scipy import special  # type: ignore[import-untyped]

    if noise == "normal":
        return np.asarray(special.ndtri(probabilities))
    scale = math.sqrt((HEAVY_DEGREES - 2) / HEAVY_DEGREES)
    return np.asarray(special.stdtrit(HEAVY_DEGREES, probabilities)) * scale


class _Trainer:
    """Trainings of the networks of one simulated run.

    Args:
        shape: of the run.
        truth: what trainings come from, by name.
        generator: of random numbers.
    """

    def __init__(self, shape: RunShape, truth: Mapping[str, _Truth], generator: np.random.Generator) -> None:
        self._shape = shape
        self._truth = truth
        self._generator = generator
        self._networks = {network.arch: network for network in shape.networks}
        z = np.array([own.z for own in truth.values()])
        self._centre, self._scale = float(z.mean()), max(float(z.std()), 1e-9)
        self._made: dict[str, TrialResult] = {}

    def result(self, spec: TrialSpec) -> TrialResult:
        """The whole training, the same at every call."""
        if spec.id not in self._made:
            self._made[spec.id] = self._train(spec)
        return self._made[spec.id]

    def _train(self, spec: TrialSpec) -> TrialResult:
        truth = self._truth[spec.arch]
        final = truth.z + truth.scale * truth.stray(self._generator)
        error = float(error_of(np.array([final]))[0])
        if self._shape.images:
            error = 100 * round(error / 100 * self._shape.images) / self._shape.images
        scores = [
            own.slope * (final - self._centre) / self._scale + own.sd * float(self._generator.standard_normal())
            for own in self._shape.scores
        ]
        network = self._networks[spec.arch]
        return TrialResult(
            status="complete",
            epochs=tuple(self._epochs(scores, error)),
            params=network.params,
            params_paper=network.params,
            macs=network.macs,
            fvcore_flops=network.macs,
            images=ImageCounts(val=self._shape.images),
        )

    def _epochs(self, scores: Sequence[float], error_pct: float) -> Iterable[Epoch]:
        """One epoch for each rung, with the score that racing sees there, and the last one."""
        before = 0.0
        for number, value in enumerate([*scores, 0.0], 1):
            last = number > len(scores)
            yield Epoch(
                epoch=number,
                lr=0.0,
                # Racing by training loss sums it up to the rung.
                train_loss=value - before,
                train_error_pct=0.0,
                val_loss=0.0,
                val_error_pct=error_pct if last else float(error_of(np.array([value]))[0]),
                train_time_s=0.0,
            )
            before = value


class _InOrder:
    """Proposes candidates in the order in which the run began them."""

    def __init__(self, archs: Iterable[str]) -> None:
        self._archs = list(archs)

    def started(self, archs: Iterable[str], role: Role) -> None:
        """Ignore what the run begins with."""

    def update(self, results: Iterable[tuple[TrialSpec, TrialResult]]) -> None:
        """Learn nothing: the order is given."""

    def propose(self, taken: Set[str]) -> str | None:
        """The next candidate."""
        return next((arch for arch in self._archs if arch not in taken), None)


def _searched(shape: RunShape, trainer: _Trainer) -> History:
    """What the search's agenda makes of the trainings, one after another."""
    ledger = MemoryLedger()
    proposer = _InOrder(network.arch for network in shape.networks if network.role == "candidate")
    history = ledger.read()
    agenda = SearchAgenda(shape.plan, proposer, history, race=shape.race)
    while (task := agenda.next(history, {})) is not None:
        whole = trainer.result(task.trial)
        if task.action == "prune":
            paused = history.paused[task.trial.id][1]
            ledger.write_trial(task.trial, replace(paused, status="pruned"), wall_time_s=0.0)
        elif task.epochs < len(whole.epochs):
            part = replace(whole, status="paused", epochs=whole.epochs[: task.epochs])
            ledger.write_pause(task.trial, part, wall_time_s=0.0)
        else:
            ledger.write_trial(task.trial, whole, wall_time_s=0.0)
        history = ledger.read()
    return history
