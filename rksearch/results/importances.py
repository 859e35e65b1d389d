"""Importances of the choices of design: the variance that each explains alone, beside what chance would explain."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rksearch.arch import parse
from rksearch.arch.arrays import Floats
from rksearch.results.contrasts import factors_of
from rksearch.results.stats import CONFIDENCE
from rksearch.results.summaries import ArchSummary
from rksearch.results.uncertainty import log_odds

LEAST_ARCHS = 12
"""Least number of architectures that shares are computed from."""

SHUFFLINGS = 999
"""Number of times that the errors are shuffled among the architectures."""

AT_ONCE = 100
"""Shufflings that are computed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """The share of the variance of the log-odds of an error that one choice explains by itself.

    Attributes:
        choice: the choice, `stages s, period 1`.
        share: share of the variance between architectures that the choice's values explain (one-way analysis of
            variance), adjusted for the number of values: it is 0 on average for a choice that does nothing, and never
            below 0.
        by_chance: the largest share of any choice is below this in 95 % of the shufflings of the errors.
    """

    choice: str
    share: float
    by_chance: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the share is larger than chance; 5 % of runs in which nothing matters have such a choice."""
        return self.share > self.by_chance


def importances(items: Sequence[ArchSummary]) -> list[Importance]:
    """The importances of the choices, the largest first.

    A choice that not every one of the architectures makes, or that all make alike, is left out, and so are baselines.
    Empty below `LEAST_ARCHS` architectures. Which of a run's can answer: see `rksearch.results.choice_sample`.
    """
    searched = sorted((item for item in items if not item.is_baseline), key=lambda item: item.arch)
    read = [(found, item.error_pct) for item in searched if (found := factors_of(parse(item.arch)))]
    if len(read) < LEAST_ARCHS:
        return []
    values = {key: [found.get(key) for found, _ in read] for key in read[0][0]}
    groups = {key: _groups(v) for key, v in values.items() if len(set(v)) > 1 and None not in v}
    z = log_odds(np.array([error for _, error in read]))
    if not groups or np.ptp(z) == 0:
        return []
    z -= z.mean()
    total = float(z @ z)
    shares = [float(_shares(members, z[:, None], total)[0]) for members in groups.values()]
    largest = np.concatenate(
        [np.max([_shares(members, block, total) for members in groups.values()], axis=0) for block in _shuffled(z)]
    )
    chance = float(np.quantile(largest, CONFIDENCE))
    told = [
        Importance(choice=_name(key), share=share, by_chance=chance) for key, share in zip(groups, shares, strict=True)
    ]
    return sorted(told, key=lambda i: (-i.share, i.choice))


def _groups(values: Sequence[Hashable]) -> Floats:
    """Membership of each architecture in the group of its value: (values, architectures), 1 or 0."""
    numbers = {value: i for i, value in enumerate(dict.fromkeys(values))}
    of = np.array([numbers[value] for value in values])
    return (of[None, :] == np.arange(len(numbers))[:, None]).astype(float)


def _shuffled(z: Floats) -> Iterator[Floats]:
    """Shufflings of the values, some at once: (architectures, shufflings)."""
    generator = np.random.default_rng(0)
    for begun in range(0, SHUFFLINGS, AT_ONCE):
        yield np.stack([generator.permutation(z) for _ in range(min(AT_ONCE, SHUFFLINGS - begun))], axis=1)


def _shares(members: Floats, z: Floats, total: float) -> Floats:
    """Adjusted share of the variance of each column of `z` that the groups explain.

    Args:
        members: membership in the groups: (values, architectures).
        z: columns of mean 0: (architectures, columns).
        total: sum of squares of each column.
    """
    between = ((members @ z) ** 2 / members.sum(axis=1, keepdims=True)).sum(axis=0)
    within = 1 - between / total
    groups, number = members.shape
    adjusted: Floats = 1 - within * (number - 1) / max(1, number - groups)
    return np.maximum(adjusted, 0.0)


def _name(key: tuple[str, int]) -> str:
    factor, period = key
    return f"{factor}, period {period}" if period else factor
