"""What rksearch's own kernels gain: training with all of them against training without each, and without any.

One kind of network and one way of executing steps (eager, compiled) is a case. In every round of a case all contestants
take a turn; rounds of several runs, each with processes of its own, are pooled. The gain of a set of kernels is the
share of a step that it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from rksearch.arch import ArchSpec, parse
from rksearch.bench.contestants import Participant
from rksearch.bench.kernels import names
from rksearch.bench.ratios import speed_up
from rksearch.bench.settings import BenchSettings, cold_compiler
from rksearch.bench.turns import play
from rksearch.errors import DeviceError
from rksearch.training.engine.compiling import missing_compiler
from rksearch.training.throughput import ImageSource

KINDS = (
    "RKNet-k8-m2_3_4-2x1_1x2_1x1",
    "RKNet-k12-m2_3_4-2x1_1x2_1x1",
    "RKNet-BC-k8-m2_4_6-1x2s_1x1_1x1",
    "RKNet-BC-k12-m2_4_6-1x2s_1x1_1x1",
    "RKNet-Res-1x2_1x1_1x1",
    "DenseNet-BC-40-k12",
    "ResNet-20",
)
"""Dense and shared RKNets of growth rates 8 and 12, a residual one (these have no growth rate), and two yardsticks."""

KEPT_SHARE = 0.9
"""Share of the gain of all kernels that the smallest set must keep."""

WORTH_PCT = 10.0
"""Percent of a step over the tuned loop below which, on every kind, no kernel is worth its code."""

Kept = frozenset[str]
TUNED = "tuned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Percent of a step that is saved, with the 95 % interval of its median over the rounds.

    Attributes:
        median_pct, low_pct, high_pct: over the pooled rounds.
        best_pct: between the shortest turns.
        runs_pct: medians of each run alone.
    """

    median_pct: float
    low_pct: float
    high_pct: float
    best_pct: float
    runs_pct: tuple[float, ...]

    @classmethod
    def between(cls, before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Gain:
        """Gain of one contestant over another from the seconds of their turns, (runs, rounds)."""
        pooled = speed_up([t for run in before for t in run], [t for run in after for t in run])
        alone = [speed_up(one, other).median for one, other in zip(before, after, strict=True)]
        return cls(
            median_pct=saved_pct(pooled.median),
            low_pct=saved_pct(pooled.low),
            high_pct=saved_pct(pooled.high),
            best_pct=saved_pct(pooled.of_minima),
            runs_pct=tuple(saved_pct(ratio) for ratio in alone),
        )


def saved_pct(times: float) -> float:
    """Percent of the time that is saved by being `times` as fast."""
    return 100 * (1 - 1 / times)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCase:
    """Figures of one network and one way of executing steps.

    Attributes:
        network: its name.
        compiled: whether steps were compiled.
        each: gain of each kernel, over ours without it.
        all_over_none: gain of all kernels over ours without any.
        all_over_tuned: gain of ours, with all kernels, over the tuned loop.
        turns_s: seconds of the turns of every contestant, (runs, rounds); names as `contestant_name` gives them.
    """

    network: str
    compiled: bool
    each: dict[str, Gain]
    all_over_none: Gain
    all_over_tuned: Gain
    turns_s: dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A step of the search for the smallest set: a kernel that was left out for good.

    Attributes:
        kernel: its name.
        share_kept: share of the gain of all kernels, both averaged over the networks, that the others keep.
    """

    kernel: str
    share_kept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Smallest:
    """The smallest set of kernels that keeps `KEPT_SHARE` of the gain of all, found by leaving out one after another.

    Attributes:
        compiled: whether steps were compiled.
        kernels: those that stay; none where all together gain nothing.
        removals: those that went, in their order.
    """

    compiled: bool
    kernels: tuple[str, ...]
    removals: tuple[Removal, ...]


Measure = Callable[[Sequence[Kept]], Mapping[Kept, float]]
"""Mean gain, in percent of a step without kernels, of each of these sets of kernels."""


def bench_leaving_out(
    networks: Sequence[str],
    source: ImageSource,
    settings: BenchSettings,
    *,
    runs: int,
    on_case: Callable[[KernelCase], None] | None = None,
) -> dict[str, Any]:
    """Leave out each kernel on every network; plain values for JSON.

    Args:
        networks: architectures.
        source: the images.
        settings: settings of the measurement; `rounds` are those of each run.
        runs: number of runs, whose rounds are pooled.
        on_case: called with each case as soon as it is measured.

    Raises:
        DeviceError: on a GPU, where these kernels are not used.
        RksearchError: a contestant failed.
        SpecError: a name that cannot be parsed.
    """
    if settings.device.type != "cpu":
        raise DeviceError(f"kernels are used on a CPU alone, but got {settings.device.type}; use cpu")
    specs = [parse(name) for name in networks]
    cases: list[KernelCase] = []
    smallest = []
    with cold_compiler():  # shared by all contestants: what is compiled again is the same
        for compiled in (False, True):
            if compiled and (not settings.compiled or missing_compiler(settings.device)):
                continue
            bench = _Bench(source, settings, compiled=compiled, runs=runs)
            found = []
            for spec in specs:
                found.append(bench.case(spec))
                if on_case is not None:
                    on_case(found[-1])
            cases += found
            smallest.append(bench.smallest(specs, found))
    return {
        "settings": settings.to_json(),
        "runs": runs,
        "dataset": source.data.name,
        "synthetic_images": source.synthetic,
        "cases": [asdict(case) for case in cases],
        "worth_pct": WORTH_PCT,
        "worth_it_on": [_label(case) for case in cases if case.all_over_tuned.median_pct >= WORTH_PCT],
        "smallest": [asdict(one) for one in smallest],
    }


class _Bench:
    """Measurements in one way of executing steps."""

    def __init__(self, source: ImageSource, settings: BenchSettings, *, compiled: bool, runs: int) -> None:
        images = source.take(settings.steps * settings.batch_size)
        self._source = ImageSource(source.data, images, settings.seed)
        self._settings, self._compiled, self._runs = settings, compiled, runs
        self._all = frozenset(names(compiled=compiled, precision=settings.precision))

    def case(self, spec: ArchSpec) -> KernelCase:
        """All kernels against none, against each left out, and against the tuned loop."""
        everything, nothing = contestant_name(self._all), contestant_name(frozenset())
        leaves = {kernel: self._all - {kernel} for kernel in sorted(self._all)}
        turns = self._turns(spec, [frozenset(), self._all, *leaves.values()], tuned=True)
        return KernelCase(
            network=str(spec),
            compiled=self._compiled,
            each={
                kernel: Gain.between(turns[contestant_name(rest)], turns[everything]) for kernel, rest in leaves.items()
            },
            all_over_none=Gain.between(turns[nothing], turns[everything]),
            all_over_tuned=Gain.between(turns[TUNED], turns[everything]),
            turns_s=turns,
        )

    def smallest(self, specs: Sequence[ArchSpec], cases: Sequence[KernelCase]) -> Smallest:
        """The smallest set that is good enough on average over the networks."""
        first = {frozenset(), self._all, *(self._all - {kernel} for kernel in self._all)}

        def measure(sets: Sequence[Kept]) -> dict[Kept, float]:
            if set(sets) <= first:
                turns = [case.turns_s for case in cases]
            else:
                turns = [self._turns(spec, [frozenset(), *sets], tuned=False) for spec in specs]
            return {kept: fmean(_gain_pct(each, kept) for each in turns) for kept in sets}

        kernels, removals = smallest_set(self._all, measure)
        return Smallest(compiled=self._compiled, kernels=tuple(sorted(kernels)), removals=tuple(removals))

    def _turns(self, spec: ArchSpec, sets: Iterable[Kept], *, tuned: bool) -> dict[str, list[list[float]]]:
        """Seconds of the turns of every contestant, (runs, rounds)."""

        def ours(kept: Kept) -> Participant:
            return Participant(
                way="ours",
                arch=spec,
                source=self._source,
                settings=self._settings,
                compiled=self._compiled,
                without=tuple(sorted(self._all - kept)),
            )

        participants = {contestant_name(kept): ours(kept) for kept in sets}
        if tuned:
            participants[TUNED] = Participant(
                way="tuned", arch=spec, source=self._source, settings=self._settings, compiled=self._compiled
            )
        found: dict[str, list[list[float]]] = {name: [] for name in participants}
        for _ in range(self._runs):
            for name, turns_s in play(participants, rounds=self._settings.rounds).turns_s.items():
                found[name].append(turns_s)
        return found


def smallest_set(everything: Kept, measure: Measure) -> tuple[Kept, list[Removal]]:
    """Leave out, one after another, the kernel whose loss costs least, while enough of the gain of all is kept.

    Args:
        everything: all kernels.
        measure: measures sets; the set of all kernels is always measured beside the candidates.

    Returns:
        The set that stays, and what was left out for good.
    """
    kept, removals = everything, list[Removal]()
    while kept:
        candidates = {kernel: kept - {kernel} for kernel in sorted(kept)}
        gains = measure([everything, *(rest for rest in candidates.values() if rest != everything)])
        if gains[everything] <= 0:
            return frozenset(), removals
        kernel = max(candidates, key=lambda name: gains[candidates[name]])
        share = gains[candidates[kernel]] / gains[everything]
        if share < KEPT_SHARE:
            break
        kept = candidates[kernel]
        removals.append(Removal(kernel=kernel, share_kept=share))
    return kept, removals


def contestant_name(kept: Kept) -> str:
    """Name of ours with these kernels alone."""
    return f"ours with {', '.join(sorted(kept)) or 'none'}"


def _gain_pct(turns: Mapping[str, Sequence[Sequence[float]]], kept: Kept) -> float:
    """Gain of a set over ours without kernels, both measured in the same rounds."""
    return Gain.between(turns[contestant_name(frozenset())], turns[contestant_name(kept)]).median_pct


def _label(case: KernelCase) -> str:
    return f"{case.network}{', compiled' if case.compiled else ''}"


def case_text(case: KernelCase) -> str:
    """Figures of a case in lines."""
    lines = [
        f"{_label(case)}: all kernels gain {_gain_text(case.all_over_none)} of a step over none; "
        f"ours gains {_gain_text(case.all_over_tuned)} over the tuned loop"
    ]
    lines += [f"  {kernel:24} {_gain_text(gain)}" for kernel, gain in case.each.items()]
    return "\n".join(lines)


def verdict_text(found: Mapping[str, Any]) -> str:
    """Rules applied to what `bench_leaving_out` has found."""
    where = found["worth_it_on"]
    lines = [
        f"ours gains {WORTH_PCT:.0f} % of a step or more over the tuned loop on: {', '.join(where)}"
        if where
        else f"ours gains less than {WORTH_PCT:.0f} % of a step over the tuned loop on every kind"
    ]
    for one in found["smallest"]:
        way = "compiled" if one["compiled"] else "eager"
        share = one["removals"][-1]["share_kept"] if one["removals"] else 1.0
        kept = ", ".join(one["kernels"]) or "none"
        lines.append(
            f"smallest set, {way}: {kept}" + (f" ({100 * share:.0f} % of the gain of all)" if one["kernels"] else "")
        )
    return "\n".join(lines)


def _gain_text(gain: Gain) -> str:
    return f"{gain.median_pct:.1f} % ({gain.low_pct:.1f} to {gain.high_pct:.1f}; best {gain.best_pct:.1f})"
