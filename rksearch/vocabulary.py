"""Words that users choose by, where help texts and schemas can have them without importing what they stand for."""

SAMPLERS = {
    "frontier": "models the error alone, for costs are known, and proposes what should push the front furthest",
    "tpe": "Optuna's multivariate tree-structured Parzen estimator",
    "nsga2": "Optuna's NSGA-II, a genetic algorithm",
    "gp": "Optuna's Gaussian processes",
    "evolution": "one other choice in a network of the front",
    "random": "uniform over all architectures",
    "stratified": "spread evenly over sizes",
    "grid": "every architecture, in the order of their names",
}
"""Names of the samplers, and what each does."""

RANKS = ("val_error", "train_loss_sum")
"""What racing may rank trials by."""

OBJECTIVE_NAMES = ("val_error_pct", "params", "macs")
"""What a search can make small; see `rksearch.objectives`."""
