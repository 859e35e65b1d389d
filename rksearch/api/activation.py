"""Activation memory of the networks of a run: arithmetic that reports show and that only training knows."""

from __future__ import annotations

from rksearch.arch import parse
from rksearch.results.history import History
from rksearch.results.run_costs import ACTIVATION


def activation_memory(history: History) -> dict[str, int]:
    """Activation memory of an image in bytes, by name, of the networks that a run has trained.

    It is computed where it was an objective of the run; elsewhere nothing is.
    """
    plan, data = history.plan, history.data
    if plan is None or data is None or ACTIVATION not in plan.objectives:
        return {}
    from rksearch.training.memory import activation_bytes

    shape = data.dataset
    archs = dict.fromkeys(spec.arch for spec, _ in history.trials.values())
    return {arch: activation_bytes(parse(arch), shape) for arch in archs}
