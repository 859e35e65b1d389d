"""Ways to execute a training step: as it is, compiled, or recorded once as a CUDA graph and replayed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rksearch.engine.step import Forward, TrainStep

logger = logging.getLogger(__name__)

Body = Callable[[], None]
Recorder = Callable[[Body, Body], Body]
"""(warm-up, body) to a body that does the same again; the warm-up may be called as often as needed, its effects are
undone afterwards."""

WARM_UPS = 3
"""Steps before a CUDA graph is recorded: libraries choose their algorithms and allocate their workspaces in them."""


class Programs:
    """The training steps of one trainer, one program for each batch size; see `run`.

    The commonest size is compiled, where that is asked for: the smaller last batch of an epoch would take as long to
    compile and is rarely met.

    Args:
        step: what to execute.
        model: its network.
        sizes: of the batches of an epoch.
        compiled: whether to compile the network for the commonest of the sizes.
        record: makes a replay of a step; None executes it as it is.
    """

    def __init__(
        self, step: TrainStep, model: nn.Module, sizes: Iterable[int], *, compiled: bool, record: Recorder | None
    ) -> None:
        counts = Counter(sizes)
        self._step, self._model, self._record = step, model, record
        self._compiled_size = counts.most_common(1)[0][0] if compiled else None
        self._bodies: dict[int, Body] = {}
        self.prepare_time_s = 0.0

    def run(self, size: int) -> None:
        """Take one step on the next `size` images."""
        self._bodies[size]()

    def prepare(self, sizes: Iterable[int]) -> None:
        """Compile and record what is needed for batches of these sizes; changes no state of the training."""
        for size in sizes:
            if size not in self._bodies:
                start = time.perf_counter()
                self._bodies[size] = self._make(size)
                self.prepare_time_s += time.perf_counter() - start

    def _make(self, size: int) -> Body:
        step = self._step  # the bodies do without self, which holds them: a circle would outlive the training
        forward: Forward = self._model
        if size == self._compiled_size:
            # Earlier networks of this process would count against the limit of what is compiled of the same code.
            torch.compiler.reset()
            forward = torch.compile(self._model, dynamic=False)

        def body() -> None:
            step.take(size, forward)

        def warm_up() -> None:
            step.rewind()
            body()

        if self._record is not None:
            with _unchanged(step):
                return self._record(warm_up, body)
        if forward is not self._model:
            with _unchanged(step):
                warm_up()
        return body


@contextmanager
def _unchanged(step: TrainStep) -> Iterator[None]:
    """Put everything back as it was before the block: weights, statistics, momenta, counters and random generators."""
    kept = [(tensor, tensor.detach().clone()) for tensor in step.tensors()]
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)


class CudaGraphs:
    """Records every kernel of a step as one CUDA graph: replaying it costs the host one launch instead of thousands."""

    def __init__(self) -> None:
        # Steps never run at the same time and leave nothing behind in the pool, so they may share its memory.
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, warm_up: Body, body: Body) -> Body:
        """A `Recorder`."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with _fastest_algorithms():
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    warm_up()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads, such as that of a data loader, may go on asking the device for what a recording must not.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                body()
        return graph.replay


@contextmanager
def _fastest_algorithms() -> Iterator[None]:
    """Let cuDNN try its algorithms for shapes that it has not met, instead of guessing."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
