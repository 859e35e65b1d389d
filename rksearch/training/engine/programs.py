"""Ways to execute training steps: eager, compiled, or recorded once as a CUDA graph and replayed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from rksearch.training.engine.compiling import Choice
from rksearch.training.engine.device import is_out_of_memory
from rksearch.training.engine.step import Forward, TrainStep

logger = logging.getLogger(__name__)

Body = Callable[[], None]
Recorder = Callable[[Body, Body], Body]
"""(warm-up, body) to a body that does the same again. The warm-up may be called repeatedly; its effects are undone
afterwards."""

WARM_UPS = 3
"""Number of steps before a CUDA graph is recorded: libraries choose their algorithms and allocate their workspaces."""


class Programs:
    """Steps of one training, or of several at the same time, as one program for each batch size; see `run`.

    Only the commonest size is compiled, where that is asked for: the smaller last batch of an epoch would take as long
    to compile and is rare.

    Args:
        steps: the step of each training, all with batches of the same sizes on the same device.
        choice: whether to compile the networks for the commonest of the sizes.
        record: makes the replay of a program; None records CUDA graphs on a GPU and nothing on a CPU.

    Attributes:
        choice: as given, or another one where compiling has failed.
        prepare_time_s: seconds spent on compiling and recording.
    """

    def __init__(self, steps: Sequence[TrainStep], *, choice: Choice, record: Recorder | None = None) -> None:
        self.choice = choice
        self.prepare_time_s = 0.0
        self._steps, self._sizes = tuple(steps), steps[0].sizes
        device = steps[0].device
        self._record = CudaGraphs() if record is None and device.type == "cuda" else record
        self._branches = Branches(device, len(steps))
        self._bodies: dict[int, Body] = {}

    def run(self, size: int) -> None:
        """Take one step of every training, on its next `size` images."""
        self._bodies[size]()

    def prepare(self) -> None:
        """Compile and record what is not ready yet, without changing the state of the trainings.

        Where compiling or recording fails, log it and run without.

        Raises:
            RuntimeError: memory ran out, or a step fails in eager mode.
        """
        try:
            for size in self._sizes:
                if size not in self._bodies:
                    start = time.perf_counter()
                    self._bodies[size] = self._make(size)
                    self.prepare_time_s += time.perf_counter() - start
        except RuntimeError as error:
            if is_out_of_memory(error) or not (self.choice.compiled or self._record):
                raise
            reason = " ".join(str(error).split())[:200]
            if self.choice.compiled:
                self.choice = Choice(compiled=False, reason=f"not compiled, because that failed ({reason})")
                logger.warning("the training steps are %s", self.choice.reason)
            else:
                self._record = None
                logger.warning("the training steps are not recorded as a graph, because that failed (%s)", reason)
            self._bodies.clear()
            self.prepare()

    def _make(self, size: int) -> Body:
        steps = self._steps  # bodies that refer to self, which holds them, would outlive the training
        compiled = self.choice.compiled and size == Counter(self._sizes).most_common(1)[0][0]
        if compiled:
            # Earlier networks of this process would count against the limit of what is compiled of the same code.
            torch.compiler.reset()
        body = self._branches([_taking(step, size, compiled=compiled) for step in steps])

        def warm_up() -> None:
            for step in steps:
                step.rewind()
            body()

        if self._record is not None:
            with _unchanged(steps):
                return self._record(warm_up, body)
        if compiled:
            with _unchanged(steps):
                warm_up()
        return body


def _taking(step: TrainStep, size: int, *, compiled: bool) -> Body:
    forward: Forward = torch.compile(step.model, dynamic=False) if compiled else step.model
    return lambda: step.take(size, forward)


class Branches:
    """Combination of several bodies into one: side by side on streams of their own on a GPU, else one after another.

    Kernels of a small network leave most of a GPU idle; those of several networks fill it together. Recorded, each body
    is a branch of the same graph.
    """

    def __init__(self, device: torch.device, count: int) -> None:
        # The same ones for every program: libraries keep a workspace for each stream.
        self._streams = [torch.cuda.Stream(device) for _ in range(count if device.type == "cuda" and count > 1 else 0)]

    def __call__(self, bodies: Sequence[Body]) -> Body:
        """Combine the bodies into one."""
        if len(bodies) == 1:
            return bodies[0]
        streams = self._streams

        def one_after_another() -> None:
            for body in bodies:
                body()

        def side_by_side() -> None:
            here = torch.cuda.current_stream()
            started = []
            try:
                for stream, body in zip(streams, bodies, strict=True):
                    stream.wait_stream(here)
                    started.append(stream)
                    with torch.cuda.stream(stream):
                        body()
            finally:
                # After an exception too: a recording with open branches would end in an error that hides it.
                for stream in started:
                    here.wait_stream(stream)

        return side_by_side if streams else one_after_another


@contextmanager
def _unchanged(steps: Sequence[TrainStep]) -> Iterator[None]:
    """Restore weights, statistics, momenta, counters and random generators after the block."""
    kept = [(tensor, tensor.detach().clone()) for step in steps for tensor in step.tensors()]
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        if cuda is not None:
            torch.cuda.synchronize()  # after an exception, streams may still be writing
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)


class CudaGraphs:
    """Recorder of all kernels of a step as one CUDA graph: a replay costs the host one launch instead of thousands."""

    def __init__(self) -> None:
        # Steps never run at the same time and leave nothing behind in the pool, so they may share its memory.
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, warm_up: Body, body: Body) -> Body:
        """Record the body after its warm-up; see `Recorder`."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with _fastest_algorithms():
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    warm_up()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads, such as that of a data loader, may still make calls that are forbidden while recording.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                body()
        return graph.replay


@contextmanager
def _fastest_algorithms() -> Iterator[None]:
    """Let cuDNN measure its algorithms for new shapes instead of guessing."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
