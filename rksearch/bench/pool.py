"""Work divided among processes of one core each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def as_they_end(work: Callable[[Given], Made], given: Sequence[Given], *, jobs: int) -> Iterator[Made]:
    """The results of `work` for each item, each as it ends.

    Args:
        work: is sent to the processes.
        given: the items.
        jobs: processes; with 1 this one works, in the order of the items.
    """
    if jobs == 1 or len(given) < 2:
        yield from map(work, given)
        return
    # Read by the processes when they begin: each has one core, and threads beyond it only get in the way.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(work, item) for item in given]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
