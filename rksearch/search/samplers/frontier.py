"""The default sampler: costs are known before any training, so only the error must be learned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rksearch.arch import parse
from rksearch.search.samplers.base import ArchitectureSampler, PacedSampler
from rksearch.search.samplers.candidates import Listing, listing
from rksearch.search.samplers.draws import SPREAD_MOST, IndexDraw, Shuffled, SpreadStart, StratifiedDraw
from rksearch.search.samplers.ladder import curve, final_value
from rksearch.search.samplers.observations import Observation
from rksearch.search.samplers.surrogate import Seen, Surrogate, nearest_to_front
from rksearch.space.plan import error_place

POOL = 800
"""Number of members whose gain is computed at each proposal, besides the neighbours of the front."""

STARTING = 5
"""Limit of the number of architectures that are spread over sizes first, the smallest member among them. Replays of 240
measured networks reached random search's final hypervolume after a fifth of its epochs in the median with 4 or 5, later
with 8 or more."""

REMEMBERED = 400
"""Number of trainings that are kept when there are half as many more: those far from the front say little."""

FEWEST = 4
"""Number of trainings before which nothing is modelled."""


class FrontierSampler(PacedSampler, ArchitectureSampler):
    """Proposes the architecture of the largest expected gain in hypervolume at a known cost.

    It works in any study whose trials suggest `space.dimensions()` and whose values are the objectives:

        study = optuna.create_study(directions=["minimize", "minimize"], sampler=FrontierSampler(space))

    A Gaussian process models the logarithm of the error over costs and choices. Trainings that stopped early enter
    with the error at which they are expected to end, and with its variance; single lucky trainings move the model
    little, for the noise of a training is estimated. The front is that of the model's means, not of single errors.
    What is running, or paused at a rung, stands in the front with the model's expectation, so that proposals made at
    the same time differ. Objectives whose values are not known before training are modelled like the error, and enter
    with their expected values.

    It needs final values alone; curves, pauses and replicates are read from the attributes that
    `rksearch.search.samplers.attributes` names.

    Args:
        space: architectures that may be proposed.
        objectives: names of the minimised objectives, in the order of a trial's values.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of all random choices; None for one that differs each time.
    """

    def begin(self, proposed: int) -> None:
        """Forget everything; random choices differ from those of earlier sessions."""
        smallest = "params" in self.objectives
        self._start = SpreadStart(self.space, trials=self.trials, seed=self.seed, most=STARTING, smallest=smallest)
        self._strangers = IndexDraw(self.space, Shuffled(len(self.space), self.seed))
        self._spread = StratifiedDraw(self.space, trials=SPREAD_MOST, seed=self.seed + proposed)
        self._rng = np.random.default_rng([self.seed, proposed])
        self._surrogate: Surrogate | None = None
        self._seen: dict[str, Seen] = {}
        self._completed: Counter[str] = Counter()
        self._ended: set[str] = set()
        self._rows: dict[str, npt.NDArray[np.int64] | None] = {}
        self._pool: npt.NDArray[np.int64] | None = None
        self._pool_made_at = 0

    def propose(self, taken: Set[str]) -> str | None:
        """The candidate that is expected to add most to the front."""
        arch = self._start.next(taken)
        if arch is None:
            # Many may run before anything is known.
            arch = self._best(taken) if len(self._seen) >= FEWEST else self._spread.next(taken)
        return self._strangers.next(taken) if arch is None else arch

    def observe(self, observation: Observation) -> None:
        """Learn the state of a training."""
        arch = observation.arch
        if observation.state == "running":
            return
        complete = observation.state == "complete" and observation.usable
        if self._completed[arch] and not complete:
            return  # a further training that did not reach its end says nothing of one that did
        before = self._seen.pop(arch, None)
        if observation.state == "paused":
            self._ended.discard(arch)
        else:
            self._ended.add(arch)
        if (seen := self._seen_of(observation)) is not None:
            self._seen[arch] = mean_of(before, seen, self._completed[arch]) if before is not None else seen
            self._completed[arch] += complete
        if len(self._seen) >= 3 * REMEMBERED // 2:
            self._forget()

    def _seen_of(self, observation: Observation) -> Seen | None:
        """A training as the model sees it; None where it shows nothing."""
        values, errors = observation.values, observation.val_errors_pct
        if observation.state == "failed" or values is None or not observation.usable:
            return None
        if not errors:
            # A final value without a curve; only a trial that is complete has one.
            return Seen(final_value(values[error_place(self.objectives)]), values, eligible=True, whole=True)
        if not math.isfinite(errors[-1]):
            return None
        own = curve(errors, observation.train_losses)
        return Seen(own, values, eligible=observation.state != "pruned")

    def _forget(self) -> None:
        names = list(self._seen)
        error = error_place(self.objectives)
        values = np.array([seen.values for seen in self._seen.values()])
        costs = np.delete(values, error, axis=1)
        kept = nearest_to_front(costs, np.log(np.maximum(values[:, error], 1e-3)), REMEMBERED)
        self._seen = {names[i]: self._seen[names[i]] for i in kept.tolist()}

    def _best(self, taken: Set[str]) -> str | None:
        known = self._listing
        if self._surrogate is None:
            self._surrogate = Surrogate.of(self.space, known, self.objectives)
        surrogate = self._surrogate
        rows = {arch: row for arch in sorted(taken) if (row := self._row(known, arch)) is not None}
        running = [row for arch, row in rows.items() if arch not in self._ended and arch not in self._seen]
        surrogate.learn(self._modelled(known), running)
        if self._pool is None or len(self._seen) > 1.1 * self._pool_made_at:
            self._pool, self._pool_made_at = known.pool(POOL, self._rng), len(self._seen)
        both = np.concatenate([self._pool, known.neighbours(surrogate.front)])
        used = {row.tobytes() for row in rows.values()}
        fresh = np.array([row.tobytes() not in used for row in both], dtype=bool)
        if not fresh.any():
            return None
        both = both[fresh]
        gains = surrogate.gains(known.candidates(both))
        for place in np.argsort(-gains, kind="stable")[:16].tolist():
            (arch,) = known.names(both[place : place + 1])
            if arch not in taken and parse(arch) in self.space:
                return arch
        return None

    @cached_property
    def _listing(self) -> Listing:
        return listing(self.space)

    def _modelled(self, known: Listing) -> Mapping[str, tuple[npt.NDArray[np.int64], Seen]]:
        """Rows and trainings; a final value without a curve stands at the last epoch of a full training."""
        curves = {arch: len(seen.curve) for arch, seen in self._seen.items() if not seen.whole}
        full = max((epochs for arch, epochs in curves.items() if self._completed[arch]), default=0)
        full = full or 1 + max(curves.values(), default=0)
        found = {}
        for arch, seen in self._seen.items():
            row = self._row(known, arch)
            if row is not None:
                found[arch] = row, (_stretched(seen, full) if seen.whole else seen)
        return found

    def _row(self, known: Listing, arch: str) -> npt.NDArray[np.int64] | None:
        """The row of a member, None for an architecture that is not in the space."""
        if arch not in self._rows:
            self._rows[arch] = known.row(arch) if parse(arch) in self.space else None
        return self._rows[arch]


def mean_of(before: Seen, new: Seen, count: int) -> Seen:
    """The mean of `count` complete trainings and one more; the new one alone where they have other lengths."""
    if not count or before.curve.shape != new.curve.shape:
        return new
    values = tuple((count * a + b) / (count + 1) for a, b in zip(before.values, new.values, strict=True))
    curves = (count * before.curve + new.curve) / (count + 1)
    return replace(new, curve=curves, values=values, trainings=count + 1)


def _stretched(seen: Seen, epochs: int) -> Seen:
    unknown = np.full((epochs - len(seen.curve), 2), np.nan)
    return replace(seen, curve=np.concatenate([unknown, seen.curve]))
