"""Expected gain in hypervolume by candidates of known cost and uncertain error."""

from __future__ import annotations

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from rksearch.arch.arrays import Floats


def expected_improvement(
    costs: Floats, mean: Floats, sd: Floats, front_costs: Floats, front_errors: Floats, worst: Floats
) -> Floats:
    """Expected gain in hypervolume.

    The space of costs is cut into cells at the costs of the front; in a cell the least error that the front affords is
    one number, so a candidate gains there its overlap with the cell times its expected improvement on that number.
    Exact for any number of costs.

    Args:
        costs: (candidates, costs), known; there may be no cost at all.
        mean, sd: mean and standard deviation of the normal logarithm of each candidate's error.
        front_costs: (members, costs), of the front.
        front_errors: (members,), of the front.
        worst: the reference point: each cost, then the error.

    Returns:
        One number per candidate, in units of all objectives multiplied.
    """
    kinds = costs.shape[1]
    edges = [np.unique(np.append(front_costs[:, j][front_costs[:, j] < worst[j]], worst[j])) for j in range(kinds)]
    lows = [np.concatenate([[-np.inf], e[:-1]]) for e in edges]
    # Least error that is affordable in each cell: of the members whose costs are all at most the cell's lower ends.
    afforded = np.full([len(e) for e in edges], worst[kinds])
    for own, error in zip(front_costs, front_errors, strict=True):
        where = np.ix_(*(low >= c for low, c in zip(lows, own, strict=True)))
        afforded[where] = np.minimum(afforded[where], error)
    overlaps = [
        np.maximum(e[None, :] - np.maximum(low[None, :], costs[:, j : j + 1]), 0)
        for j, (e, low) in enumerate(zip(edges, lows, strict=True))
    ]
    levels, level_of = np.unique(afforded, return_inverse=True)
    level_of = level_of.reshape(afforded.shape)
    gains = _below(levels[None, :], mean[:, None], sd[:, None])
    volume = np.zeros((len(costs), len(levels)))
    if kinds == 0:
        volume[:, :] = 1.0
    elif kinds == 1:
        np.add.at(volume.T, level_of, overlaps[0].T)
    else:
        for cell in np.ndindex(*afforded.shape[:-1]):
            first = np.prod([overlaps[j][:, i] for j, i in enumerate(cell)], axis=0)
            last = np.zeros((afforded.shape[-1], len(levels)))
            last[np.arange(afforded.shape[-1]), level_of[cell]] = 1.0
            volume += first[:, None] * (overlaps[-1] @ last)
    return np.asarray((volume * gains).sum(axis=1))


def _below(level: Floats, mean: Floats, sd: Floats) -> Floats:
    """E max(level - exp(Y), 0) for a normal Y."""
    far = (np.log(np.maximum(level, 1e-300)) - mean) / sd
    below: Floats = np.maximum(level * special.ndtr(far) - np.exp(mean + sd**2 / 2) * special.ndtr(far - sd), 0)
    return below
