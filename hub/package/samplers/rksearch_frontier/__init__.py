"""FrontierSampler of rksearch as a package of the OptunaHub registry."""

from rksearch.search.samplers import FrontierSampler

__all__ = ["FrontierSampler"]
