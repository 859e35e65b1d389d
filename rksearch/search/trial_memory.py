"""Memory of its machine that a trial on a CPU takes, so that no more of them run at a time than fit."""

from __future__ import annotations

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import TrialFailed
from rksearch.results.plan import Plan
from rksearch.training.execution import Execution

WORKER_BYTES = 700 * 10**6
"""Memory of a worker process between two trainings: Python, torch, Ray, and oneDNN's kernels for the shapes it met."""

HEAP_BYTES = 200 * 10**6
"""Most that the heap holds in pieces beside what a training needs. Six networks on CIFAR-10, of 52 to 167 MiB each by
their plans, took 95 to 212 MiB more."""

LOADER_BYTES = 450 * 10**6
"""Memory of a process that reads streamed images, beside the batches that wait: Python, torch and torchvision."""

KEY_BYTES = 200
"""Memory of the name and the label of a streamed image; each process that reads images knows them all."""


def memory_of_a_trial(arch: str, plan: Plan, execution: Execution, *, images: int) -> int:
    """Bytes that the training of an architecture by a run's plan takes, its processes included.

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
    processes = WORKER_BYTES + (_reading(facts, plan, execution, images) if facts.streamed else _held(facts, images))
    if family_of(spec) not in FAMILIES.shipped():
        return processes  # the memory of a plugin's networks is found by running their code
    try:
        planned = plan_memory(
            spec,
            facts,
            plan.recipe_on(images),
            resolve_precision(execution.precision, torch.device("cpu")),
            2**62,
            eval_batch_size=0,
            images=images,
            streamed=facts.streamed,
        )
    except TrialFailed:
        return processes
    needed = planned.predicted_peak_bytes
    return processes + needed + min(HEAP_BYTES, 2 * needed)


def _held(facts: Dataset, images: int) -> int:
    """Bytes of all training images of a data set in memory: a worker keeps them beside those it trains on."""
    whole = round((facts.most_train_images or 0) / (1 - facts.val_fraction))
    return max(whole, images) * facts.channels * facts.height * facts.width


def _reading(facts: Dataset, plan: Plan, execution: Execution, images: int) -> int:
    """Bytes that reading streamed images takes: its processes, and the batches that they have ready."""
    import torch

    from rksearch.data.batches import EVAL_BATCH_SIZE
    from rksearch.data.streaming import PREFETCHED, worker_count

    workers = worker_count(execution.threads, torch.device("cpu"))
    batch_size = plan.recipe_on(images).batch_size
    batch = max(batch_size, EVAL_BATCH_SIZE) * facts.channels * facts.height * facts.width
    return images * KEY_BYTES + workers * (LOADER_BYTES + images * KEY_BYTES + PREFETCHED * batch)
