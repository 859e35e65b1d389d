"""Samplers: they choose the next architecture. Nothing is imported before a sampler is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rksearch.search.samplers.evolution import EvolutionSampler
    from rksearch.search.samplers.frontier import FrontierSampler
    from rksearch.search.samplers.known_costs import KnownCostSampler
    from rksearch.search.samplers.plain import GridSampler, RandomSampler, StratifiedSampler

__all__ = [
    "EvolutionSampler",
    "FrontierSampler",
    "GridSampler",
    "KnownCostSampler",
    "RandomSampler",
    "StratifiedSampler",
]

_MODULES = {
    "EvolutionSampler": "evolution",
    "FrontierSampler": "frontier",
    "GridSampler": "plain",
    "KnownCostSampler": "known_costs",
    "RandomSampler": "plain",
    "StratifiedSampler": "plain",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
