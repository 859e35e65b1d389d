"""From a proposal's parameters to the architecture that is trained: feasible, canonical and new."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from rksearch.space import Space


def feasible_and_new(space: Space, params: Mapping[str, Any], taken: Set[str]) -> str | None:
    """Canonical name of the architecture that the parameters spell, or of the nearest that is feasible and not taken.

    Samplers such as Optuna's may propose parameters that break a budget, or spell a network that was trained already.

    Args:
        space: the feasible architectures.
        params: one value per decision of the space.
        taken: canonical names that must not be returned.

    Returns:
        None when all members are taken.
    """
    spec = space.from_choices(params)
    if spec in space and str(spec) not in taken:
        return str(spec)
    nearest = space.nearest(spec, exclude=taken)
    return None if nearest is None else str(nearest)
