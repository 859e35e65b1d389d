"""Words that users choose by, where help texts and schemas can have them without importing what they stand for."""

from typing import NamedTuple


class SamplerWords(NamedTuple):
    """A sampler in words.

    Attributes:
        title: what proposes: "proposed by ...".
        does: how it chooses, in a line.
    """

    title: str
    does: str


SAMPLERS: dict[str, SamplerWords] = {
    "frontier": SamplerWords("frontier", "models the error alone, since costs are known, and adds most to the front"),
    "tpe": SamplerWords("Optuna's TPE sampler", "Optuna's multivariate tree-structured Parzen estimators"),
    "nsga2": SamplerWords("Optuna's NSGA-II sampler", "Optuna's NSGA-II, a genetic algorithm"),
    "gp": SamplerWords(
        "Optuna's Gaussian-process sampler",
        "Optuna's Gaussian processes of every objective, with expected hypervolume improvement (slow)",
    ),
    "evolution": SamplerWords(
        "evolution among neighbours", "one changed choice in a member of the front of the youngest architectures"
    ),
    "random": SamplerWords("chance alone", "every architecture is equally likely"),
    "stratified": SamplerWords("chance, evenly over sizes,", "spread evenly over the logarithm of the parameters"),
    "grid": SamplerWords("a grid", "in the order of the space's indices"),
}
"""The samplers by name: the one table of what help, reports and benchmarks say of them."""

RANKS = ("val_error", "train_loss_sum")
"""What racing may rank trials by."""

OBJECTIVES = {
    "val_error_pct": "validation error",
    "params": "parameters",
    "macs": "MACs",
    "activation_bytes": "activation memory of an image",
    "latency_ms": "latency of an image",
}
"""What a search can make small; see `rksearch.search.objectives`."""
