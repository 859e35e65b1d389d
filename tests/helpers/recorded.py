"""A CUDA graph's stand-in on a CPU: what a block of code asked of torch, done again on the same tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class Recording(TorchDispatchMode):
    """Notes every operation with its arguments; Python code, and numbers that it read from the host, are not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(func), "the host waits for the device"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Do it all again. Results take the place of those of the recording where a later operation reads them."""
        new: dict[int, Any] = {}

        def current(value: Any) -> Any:
            return new.get(id(value), value) if isinstance(value, torch.Tensor) else value

        with torch.no_grad():
            for func, args, kwargs, out in self.calls:
                again = func(*tree_map(current, args), **tree_map(current, kwargs))
                before, after = (x if isinstance(x, tuple | list) else (x,) for x in (out, again))
                for old, fresh in zip(before, after, strict=True):
                    # An operation in place gives back its own argument, which is current already.
                    if isinstance(old, torch.Tensor) and fresh is not current(old):
                        new[id(old)] = fresh


class Recorder:
    """Records as `CudaGraphs` of `engine.programs` does: warm-ups, one recording that changes nothing, replays."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []

    def __call__(self, warm_up: Callable[[], None], body: Callable[[], None]) -> Callable[[], None]:
        for _ in range(3):
            warm_up()
        recording = Recording()
        with recording:
            body()
        self.recordings.append(recording)
        return recording.replay
