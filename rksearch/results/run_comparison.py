"""Comparison of runs: their fronts and those of their control arms, by one set of draws of the true errors.

Each run, and each control arm, is a *side*. Where all runs have the same images, split, recipe and error, their
trainings are pooled: a network that two runs have trained has one true error, and a training with the same seed counts
once. Differences of hypervolumes are then made draw by draw, so that what sides have in common cancels. Where the runs
differ in any of these, pooling would mix different errors: each run has draws of its own, and the differences compare
searches and conditions together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from rksearch.errors import RunError
from rksearch.results.comparisons import ErrorComparison, compare, compare_tested
from rksearch.results.dominance import Reference, hypervolume
from rksearch.results.fronts import HypervolumeBand, hypervolume_band, rk_front
from rksearch.results.history import History, TrialRecord
from rksearch.results.plan import Plan
from rksearch.results.progress import ARMS, CONTROL_ARM, SEARCH_ARM, ArmProgress, arm_progress
from rksearch.results.records import Role
from rksearch.results.stats import CONFIDENCE, central_interval
from rksearch.results.summaries import ArchSummary, CostFunction, by_macs, by_params, size_band, summarise
from rksearch.results.tables import reference
from rksearch.space.plan import ErrorMetric

if TYPE_CHECKING:
    from rksearch.arch.arrays import Floats
    from rksearch.results.uncertainty import ErrorDraws

SideCost = Literal["params", "macs"]
COSTS: dict[SideCost, CostFunction] = {"params": by_params, "macs": by_macs}

AreaVerdict = Literal["larger", "smaller", "not distinguishable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Something in which runs differ, so that their errors are not comparable.

    Attributes:
        field: its name: `dataset`, `images`, `split`, `train_images`, `metric`, or `recipe.` and a field.
        values: its value in each run, as text, by the run's label.
    """

    field: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One side of a comparison: the search of a run, or its control arm.

    Attributes:
        label: unique among the sides.
        run: label of the run.
        arm: `Search`, or the name of the control arm.
        space, space_sha256: the search space; empty where it is not recorded.
        plan: the run's plan.
        trained, pruned, failed: numbers of first trainings that were completed, stopped early, and failed.
        epochs, hours: spent on first trainings, those of pruned and failed ones included; hours are work of the trials.
        front, macs_front: networks on the fronts of mean error, by rising cost.
        hypervolume, macs_hypervolume: areas of these fronts up to the corner that all sides share; None without a
            network.
    """

    label: str
    run: str
    arm: str
    space: str
    space_sha256: str
    plan: Plan
    trained: int
    pruned: int
    failed: int
    epochs: int
    hours: float
    front: tuple[ArchSummary, ...]
    macs_front: tuple[ArchSummary, ...]
    hypervolume: HypervolumeBand | None
    macs_hypervolume: HypervolumeBand | None

    @property
    def is_control(self) -> bool:
        """Whether it is a control arm."""
        return self.arm == CONTROL_ARM


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeDifference:
    """Hypervolume of one side less that of another.

    Attributes:
        a, b: labels of the two.
        cost: the cost.
        epochs: epochs of first trainings that both are cut at; None for all that each has spent.
        of_means: difference for the fronts of mean errors.
        expected: median over draws of the true errors.
        interval: ends of the middle 95 % of the draws; None where the spread between seeds is not known.
        verdict: `larger` or `smaller` (the first one's area) when the interval leaves out zero.
    """

    a: str
    b: str
    cost: SideCost
    epochs: int | None
    of_means: float
    expected: float
    interval: tuple[float, float] | None
    verdict: AreaVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRung:
    """The best network of each side that costs at most so much.

    Attributes:
        cost: the cost.
        limit: most of it.
        best: by side, the network of least mean error; None where all cost more.
        comparisons: by side, that network against the first side's; None for the first side, and where either has none.
        tested: the same by their test errors; None, too, where the test set was not read for both by one kind of
            training.
    """

    cost: SideCost
    limit: int
    best: tuple[ArchSummary | None, ...]
    comparisons: tuple[ErrorComparison | None, ...]
    tested: tuple[ErrorComparison | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        sides: searches and control arms.
        mismatches: what the runs differ in although errors are compared; none where they are comparable.
        metric: the error of the first run.
        references: corner of the hypervolumes, by cost.
        differences: of the hypervolumes of all pairs of sides, each of all that was spent and at equal epochs.
        rungs: the size ladder, by both costs.
        baselines: baselines that any run has trained, by parameters.
        shared: number of architectures that more than one side has trained.
        pooled: whether the trainings of the runs were pooled.
    """

    sides: tuple[RunSide, ...]
    mismatches: tuple[Mismatch, ...]
    metric: ErrorMetric
    references: dict[SideCost, Reference]
    differences: tuple[HypervolumeDifference, ...]
    rungs: tuple[SizeRung, ...]
    baselines: tuple[ArchSummary, ...]
    shared: int
    pooled: bool

    def difference(self, a: str, b: str, cost: SideCost, *, equal: bool = False) -> HypervolumeDifference | None:
        """The difference of two sides, at equal epochs or of everything; None where either has no network."""
        return next(
            (d for d in self.differences if (d.a, d.b, d.cost, d.epochs is not None) == (a, b, cost, equal)), None
        )


def compare_runs(histories: Mapping[str, History], *, allow_differences: bool = False) -> RunComparison:
    """Compare runs.

    Args:
        histories: history of each run by its label, in order.
        allow_differences: whether runs of other images, splits, recipes or errors are compared nevertheless.

    Raises:
        RunError: a run has no plan; there is one run, without a control arm; or the runs differ.
    """
    for label, history in histories.items():
        if history.plan is None:
            raise RunError(f"a run can be compared when its ledger has a plan, but that of {label} has none")
    found = mismatches(histories)
    if found and not allow_differences:
        raise RunError(_refusal(found))
    pool = _Pool(histories, pooled=not found)
    if len(pool.sides) < 2:
        raise RunError(
            "a comparison needs two runs, or one with a control arm, but got one run without; give another directory"
        )
    corners = {name: pool.corner(cost) for name, cost in COSTS.items()}
    sides = [pool.side(key, corners) for key in pool.sides]
    return RunComparison(
        sides=tuple(sides),
        mismatches=tuple(found),
        metric=next(iter(histories.values())).metric,
        references=corners,
        differences=tuple(pool.differences(corners)),
        rungs=tuple(rung for name in COSTS for rung in pool.rungs(name)),
        baselines=pool.baselines,
        shared=pool.shared,
        pooled=not found,
    )


# -- comparability


def mismatches(histories: Mapping[str, History]) -> list[Mismatch]:
    """What the runs differ in, of that which makes errors comparable: images, split, recipe and error."""
    facts = {label: _conditions(history) for label, history in histories.items()}
    found = []
    for name in dict.fromkeys(field for own in facts.values() for field in own):
        values = {label: own.get(name, "") for label, own in facts.items()}
        if len({value for value in values.values() if value}) > 1:
            found.append(Mismatch(field=name, values=values))
    return found


def _conditions(history: History) -> dict[str, str]:
    """Facts that must be the same, as text; empty where one is not recorded."""
    plan = history.plan
    if plan is None:
        return {}
    data = history.data
    splits = sorted({r.split for spec, r in history.trials.values() if r.split and spec.role != "final"})
    return {
        "dataset": plan.dataset,
        "images": (data.fingerprint or "") if data else "",
        "train_images": "all" if plan.train_images is None else f"{plan.train_images:,}",
        "split": ", ".join(splits),
        "metric": history.metric.name,
        **{f"recipe.{name}": str(value) for name, value in asdict(plan.recipe).items() if name != "name"},
    }


def _refusal(found: Sequence[Mismatch]) -> str:
    first = found[0]
    values = " and ".join(f"{value or 'nothing recorded'} in {label}" for label, value in first.values.items())
    more = f" (and {len(found) - 1} more: {', '.join(m.field for m in found[1:])})" if len(found) > 1 else ""
    return (
        f"runs are compared on the same images, split, recipe and error, but {first.field} is {values}{more}; give "
        "--allow-differences to compare them nevertheless"
    )


# -- sides


@dataclass(frozen=True, slots=True)
class _SideKey:
    """A side before anything is computed: its label, its run's label, and its arm."""

    label: str
    run: str
    arm: str


class _Pool:
    """The architectures of all sides with one set of joint draws.

    Args:
        histories: by label.
        pooled: whether trainings of several runs are trainings of the same thing.
    """

    def __init__(self, histories: Mapping[str, History], *, pooled: bool) -> None:
        from rksearch.results.uncertainty import draw, draw_tested  # numpy: not needed to read a ledger

        self._histories = histories
        self._pooled = pooled
        groups = {"": _merged(histories.values())} if pooled else dict(histories)
        self._items = {label: {item.arch: item for item in summarise(own)} for label, own in groups.items()}
        self.baselines = _distinct(item for own in self._items.values() for item in own.values() if item.is_baseline)
        self._draws = {label: draw(list(own.values())) for label, own in self._items.items()}
        self._tested = {label: draw_tested(list(own.values())) for label, own in self._items.items()}
        # Very large runs have fewer draws.
        every = (*self._draws.values(), *self._tested.values())
        self._common = min(len(draws.errors_pct) for draws in every)
        self._progress: dict[_SideKey, ArmProgress] = {}
        for run, history in histories.items():
            for arm, roles in ARMS.items():
                progress = arm_progress(history, roles)
                if arm == SEARCH_ARM or progress.archs:
                    label = run if arm == SEARCH_ARM else f"{run} (control)"
                    self._progress[_SideKey(label, run, arm)] = progress

    @property
    def sides(self) -> list[_SideKey]:
        """All sides, those of a run beside each other."""
        return list(self._progress)

    @property
    def shared(self) -> int:
        """Number of architectures that more than one side has trained."""
        counts: dict[str, int] = {}
        for progress in self._progress.values():
            for arch in progress.archs:
                counts[arch] = counts.get(arch, 0) + 1
        return sum(count > 1 for count in counts.values())

    def corner(self, cost: CostFunction) -> Reference:
        """The largest cost and error of the corners of all runs."""
        corners = [
            reference(history, list(self._items["" if self._pooled else label].values()), cost)
            for label, history in self._histories.items()
        ]
        return Reference(cost=max(c.cost for c in corners), error_pct=max(c.error_pct for c in corners))

    def side(self, key: _SideKey, corners: Mapping[SideCost, Reference]) -> RunSide:
        """The facts about a side."""
        history = self._histories[key.run]
        assert history.plan is not None, "compare_runs has looked"
        items, draws = self._members(key), self._of(key)
        first = _first_trainings(history, ARMS[key.arm])
        volumes = [hypervolume_band(items, draws, corners[name], cost=cost) for name, cost in COSTS.items()]
        return RunSide(
            label=key.label,
            run=key.run,
            arm=key.arm,
            space=history.space.name if history.space else "",
            space_sha256=history.space.sha256 if history.space else "",
            plan=history.plan,
            trained=sum(result.status == "complete" for _, result in first),
            pruned=sum(result.status == "pruned" for _, result in first),
            failed=sum(result.status == "failed" for _, result in first),
            epochs=sum(len(result.epochs) for _, result in first),
            hours=sum(history.wall_time_s.get(spec.id, 0.0) for spec, _ in first) / 3600,
            front=tuple(rk_front(items)),
            macs_front=tuple(rk_front(items, cost=by_macs)),
            hypervolume=volumes[0],
            macs_hypervolume=volumes[1],
        )

    def differences(self, corners: Mapping[SideCost, Reference]) -> list[HypervolumeDifference]:
        """Differences of all pairs of sides that have networks."""
        keys = [key for key in self.sides if self._progress[key].archs]
        found = []
        for i, a in enumerate(keys):
            for b in keys[i + 1 :]:
                equal = min(self._progress[a].epochs[-1], self._progress[b].epochs[-1])
                for epochs in (None, equal):
                    found += [d for cost in COSTS if (d := self._difference(a, b, cost, corners[cost], epochs))]
        return found

    def _difference(
        self, a: _SideKey, b: _SideKey, cost: SideCost, corner: Reference, epochs: int | None
    ) -> HypervolumeDifference | None:
        import numpy as np

        sides = [self._members(key, epochs) for key in (a, b)]
        if not all(sides):
            return None  # one had nothing by then
        (drawn_a, mean_a), (drawn_b, mean_b) = (
            self._areas(key, items, COSTS[cost], corner) for key, items in zip((a, b), sides, strict=True)
        )
        known = self._of(a).spread_known and self._of(b).spread_known
        interval = central_interval(drawn_a - drawn_b, CONFIDENCE) if known else None
        verdict: AreaVerdict = "not distinguishable"
        if interval is not None:
            verdict = "larger" if interval[0] > 0 else "smaller" if interval[1] < 0 else verdict
        return HypervolumeDifference(
            a=a.label,
            b=b.label,
            cost=cost,
            epochs=epochs,
            of_means=mean_a - mean_b,
            expected=float(np.median(drawn_a - drawn_b)),
            interval=interval,
            verdict=verdict,
        )

    def _areas(
        self, key: _SideKey, items: Sequence[ArchSummary], cost: CostFunction, corner: Reference
    ) -> tuple[Floats, float]:
        """Hypervolume in each draw, and that of the mean errors."""
        import numpy as np

        costs = [cost(item) for item in items]
        drawn = np.concatenate([hypervolume(block, costs, corner) for block in self._of(key).blocks(items)])
        return self._shuffled(key, drawn), float(
            hypervolume(np.array([[item.error_pct for item in items]]), costs, corner)[0]
        )

    def rungs(self, cost: SideCost) -> list[SizeRung]:
        """The size ladder by one cost: at each round size, the best of every side that costs no more."""
        members = {key: self._members(key) for key in self.sides}
        joint = self._joint(members, self._draws)
        tested = self._joint(
            {key: [item for item in items if item.tested_errors_pct] for key, items in members.items()}, self._tested
        )
        sizes = [int(COSTS[cost](item)) for items in members.values() for item in items]
        limits = sorted({size_band(max(1, size))[1] for size in sizes})
        found: list[SizeRung] = []
        for limit in limits:
            best = [
                min(
                    (item for item in items if COSTS[cost](item) <= limit),
                    key=lambda item: (item.error_pct, COSTS[cost](item), item.arch),
                    default=None,
                )
                for items in members.values()
            ]
            if found and [i and i.arch for i in best] == [i and i.arch for i in found[-1].best]:
                continue
            named = [item and _named(item, key) for item, key in zip(best, members, strict=True)]
            pairs = [(item, named[0]) if i and item and named[0] else None for i, item in enumerate(named)]
            found.append(
                SizeRung(
                    cost=cost,
                    limit=limit,
                    best=tuple(best),
                    comparisons=tuple(pair and compare(*pair, joint) for pair in pairs),
                    tested=tuple(pair and compare_tested(*pair, tested) for pair in pairs),
                )
            )
        return found

    def _joint(self, members: Mapping[_SideKey, Sequence[ArchSummary]], draws: Mapping[str, ErrorDraws]) -> ErrorDraws:
        """Draws of the networks of all sides, each named after its side too.

        Args:
            members: networks of each side.
            draws: draws of their errors, by run or of all runs.
        """
        import numpy as np

        from rksearch.results.uncertainty import ErrorDraws

        names = tuple(_named(item, key).arch for key, items in members.items() for item in items)
        columns = [self._shuffled(key, self._of(key, draws).of(items)) for key, items in members.items()]
        known = all(own.spread_known for own in draws.values() if own.archs)
        return ErrorDraws(names, np.concatenate(columns, axis=1), spread_known=known)

    def _members(self, key: _SideKey, epochs: int | None = None) -> list[ArchSummary]:
        """The networks that a side had found, after this number of epochs or at the end, as networks of a search."""
        items, progress = self._items["" if self._pooled else key.run], self._progress[key]
        found = zip(progress.archs, progress.epochs, strict=True)
        archs = [arch for arch, spent in found if epochs is None or spent <= epochs]
        return [replace(items[arch], role="candidate") for arch in archs]

    def _shuffled(self, key: _SideKey, drawn: Floats) -> Floats:
        """Draws of a side: those of different runs are independent, whatever their ledgers have in common."""
        import numpy as np

        run = list(self._histories).index(key.run)
        if not self._pooled and run:
            drawn = drawn[np.random.default_rng(run).permutation(len(drawn))]
        return drawn[: self._common]

    def _of(self, key: _SideKey, draws: Mapping[str, ErrorDraws] | None = None) -> ErrorDraws:
        return (self._draws if draws is None else draws)["" if self._pooled else key.run]


def _named(item: ArchSummary, key: _SideKey) -> ArchSummary:
    """The architecture under a name that no other side has."""
    return replace(item, arch=f"{key.label}: {item.arch}")


def _merged(histories: Iterable[History]) -> History:
    """The trainings and readings of all runs as those of one; of two with the same id, the first counts."""
    first, *others = histories
    trials: dict[str, TrialRecord] = dict(first.trials)
    tests = list(first.tests)
    for history in others:
        for key, pair in history.trials.items():
            # A training that one run completed and another stopped is known to its end.
            if key not in trials or (trials[key][1].status != "complete" and pair[1].status == "complete"):
                trials[key] = pair
        tests += history.tests
    return replace(first, trials=trials, tests=tuple(tests))


def _first_trainings(history: History, roles: Sequence[Role]) -> list[TrialRecord]:
    """First trainings of an arm, those for which its epochs are counted."""
    searched = history.plan.search_seeds if history.plan else 1
    return [(s, r) for s, r in history.trials.values() if s.role in roles and s.replicate < searched]


def _distinct(items: Iterable[ArchSummary]) -> tuple[ArchSummary, ...]:
    """One summary of each architecture, by parameters."""
    found: dict[str, ArchSummary] = {}
    for item in items:
        found.setdefault(item.arch, item)
    return tuple(sorted(found.values(), key=lambda item: (item.params, item.arch)))
