"""Memory of its machine that a trial on a CPU takes, so that no more of them run at a time than fit."""

from __future__ import annotations

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.data.facts import dataset
from rksearch.errors import TrialFailed
from rksearch.results.plan import Plan
from rksearch.training.execution import Execution

WORKER_BYTES = 700 * 10**6
"""Memory of a worker process before it trains: Python, torch, Ray, and the images of a small data set."""


def memory_of_a_trial(arch: str, plan: Plan, execution: Execution, *, images: int) -> int:
    """Bytes that the training of an architecture by a run's plan takes, its worker process included.

    Args:
        arch: canonical name, of a typical member of the space: larger ones plan for their share of the memory.
        plan: of the run.
        execution: says the precision.
        images: number of images to train and validate on.
    """
    # Imported here: the driver, which imports this module, starts without torch.
    import torch

    from rksearch.training.engine.device import resolve_precision
    from rksearch.training.memory import plan_memory

    facts, spec = dataset(plan.dataset), parse(arch)
    if family_of(spec) not in FAMILIES.shipped():
        return WORKER_BYTES  # the memory of a plugin's networks is found by running their code
    try:
        planned = plan_memory(
            spec,
            facts,
            plan.recipe,
            resolve_precision(execution.precision, torch.device("cpu")),
            2**62,
            eval_batch_size=0,
            images=images,
            streamed=facts.streamed,
        )
    except TrialFailed:
        return WORKER_BYTES
    return WORKER_BYTES + planned.predicted_peak_bytes
