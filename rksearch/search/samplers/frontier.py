"""The default: costs are known before any training, so only the error must be learned."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

import numpy as np
import numpy.typing as npt

from rksearch.arch import parse
from rksearch.search.objectives import ERROR
from rksearch.search.samplers.base import Observation
from rksearch.search.samplers.candidates import Listing, listing
from rksearch.search.samplers.ladder import curve
from rksearch.search.samplers.plain import RandomSampler, StratifiedSampler
from rksearch.search.samplers.start import MOST, Start
from rksearch.search.samplers.surrogate import Seen, Surrogate, nearest_to_front
from rksearch.space import Space

POOL = 800
"""Members whose gain is computed at each proposal, besides the neighbours of the front."""

STARTING = 5
"""So many are spread over sizes first at most, the smallest member among them. Replays of 240 measured networks reached
random search's final hypervolume after a fifth of its epochs in the median with 4 or 5, later with 8 or more."""

REMEMBERED = 400
"""So many trainings are kept when there are half as many more: what is far from the front says little in the end."""

FEWEST = 4
"""Trainings before which nothing is modelled."""


class FrontierSampler:
    """Largest expected gain in hypervolume at a known cost.

    A Gaussian process models the logarithm of the error over costs and choices. Trainings that stopped early enter
    with where they are expected to end, and with the doubt in that; single lucky trainings move the model little, for
    the noise of a training is estimated. The front is that of the model's means, not of single errors. What is
    running, or waits at a rung, stands in the front with what the model expects of it, so that proposals made at the
    same time differ. Objectives whose values are not known before training are modelled like the error, and enter
    with their expected values.

    Args:
        space: what may be proposed.
        start: the first proposals.
        objectives: names, in the order of the values of the observations.
        seed: of all random choices.
        proposed: how many were proposed before.
    """

    def __init__(self, space: Space, start: Start, *, objectives: Sequence[str], seed: int, proposed: int = 0) -> None:
        self._space = space
        self._start = start
        self._objectives = tuple(objectives)
        self._strangers = RandomSampler(space, seed=seed)
        self._spread = StratifiedSampler(space, trials=MOST, seed=seed + proposed)
        self._rng = np.random.default_rng([seed, proposed])
        self._made: tuple[Listing, Surrogate] | None = None
        self._seen: dict[str, Seen] = {}
        self._ended: set[str] = set()
        self._rows: dict[str, npt.NDArray[np.int64] | None] = {}
        self._pool: npt.NDArray[np.int64] | None = None
        self._pool_made_at = 0

    def propose(self, taken: Set[str]) -> str | None:
        """The candidate that is expected to add most to the front."""
        arch = self._start.next(taken)
        if arch is None:
            # Many may run before anything is known.
            arch = self._best(taken) if len(self._seen) >= FEWEST else self._spread.propose(taken)
        return self._strangers.propose(taken) if arch is None else arch

    def observe(self, observation: Observation) -> None:
        """Learn from a training."""
        arch, values, epochs = observation.arch, observation.values, observation.epochs
        if parse(arch) not in self._space:
            return
        if observation.status == "paused":
            self._ended.discard(arch)
        else:
            self._ended.add(arch)
        self._seen.pop(arch, None)
        if observation.status == "failed" or values is None or not epochs:
            return
        if all(map(math.isfinite, values)) and math.isfinite(epochs[-1].val_error_pct):
            self._seen[arch] = Seen(curve(epochs), values, eligible=observation.status != "pruned")
        if len(self._seen) >= 3 * REMEMBERED // 2:
            self._forget()

    def _forget(self) -> None:
        names = list(self._seen)
        error = self._objectives.index(ERROR)
        values = np.array([seen.values for seen in self._seen.values()])
        costs = np.delete(values, error, axis=1)
        kept = nearest_to_front(costs, np.log(np.maximum(values[:, error], 1e-3)), REMEMBERED)
        self._seen = {names[i]: self._seen[names[i]] for i in kept.tolist()}

    def _best(self, taken: Set[str]) -> str | None:
        if self._made is None:
            made = listing(self._space)
            self._made = made, Surrogate(self._space, made, self._objectives)
        known, surrogate = self._made
        rows = {arch: row for arch in sorted(taken) if (row := self._row(known, arch)) is not None}
        running = [row for arch, row in rows.items() if arch not in self._ended and arch not in self._seen]
        for arch in self._seen:
            self._row(known, arch)
        surrogate.learn({arch: (self._rows[arch], seen) for arch, seen in self._seen.items()}, running)  # type: ignore
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
            if arch not in taken and parse(arch) in self._space:
                return arch
        return None

    def _row(self, known: Listing, arch: str) -> npt.NDArray[np.int64] | None:
        """The row of a member, None for a baseline."""
        if arch not in self._rows:
            self._rows[arch] = known.row(arch) if parse(arch) in self._space else None
        return self._rows[arch]
