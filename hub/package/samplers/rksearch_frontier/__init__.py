"""Samplers of rksearch for objectives of known cost, as a package of the OptunaHub registry."""

from rksearch.search.samplers import FrontierSampler, KnownCostSampler

__all__ = ["FrontierSampler", "KnownCostSampler"]
