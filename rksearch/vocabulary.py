"""Words that users choose by, where help texts and schemas can have them without importing what they stand for."""

SAMPLERS: dict[str, str] = {
    "frontier": "models the error alone, since costs are known, and adds most to the front (the default)",
    "tpe": "Optuna's multivariate tree-structured Parzen estimators",
    "nsga2": "Optuna's NSGA-II, a genetic algorithm",
    "gp": "Optuna's Gaussian processes of every objective, with expected hypervolume improvement",
    "evolution": "one changed choice in a member of the front of the youngest architectures",
    "random": "every architecture is equally likely",
    "stratified": "spread evenly over the logarithm of the parameters",
    "grid": "in the order of the space's indices",
}
"""Names of the samplers, and what each does."""

RANKS = ("val_error", "train_loss_sum")
"""What racing may rank trials by."""

OBJECTIVES = {
    "val_error_pct": "validation error",
    "params": "parameters",
    "macs": "MACs",
    "activation_bytes": "activation memory of an image",
    "latency_ms": "latency of an image",
}
"""What a search can make small; see `rksearch.objectives`."""
