"""The exponential moving average of a network's weights and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """Moving average of parameters and running statistics, by torch's own rule; counters are copied.

    It begins with the first weights, whose part in it is decay^n after n steps. Torch's `AveragedModel` would ask the
    device in every step whether it is the first, which a recorded step cannot.

    Args:
        model: the network, whose tensors are read in every `update`.
        decay: part of the average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._current = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.values = {name: value.detach().clone() for name, value in self._current.items()}
        self._averaged = [name for name, value in self.values.items() if value.is_floating_point()]
        self._rule = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        names = self._averaged
        self._rule([self.values[n] for n in names], [self._current[n].detach() for n in names], 0)
        for name, value in self.values.items():
            if not value.is_floating_point():
                value.copy_(self._current[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network hold the average, and give it back its own weights after the block."""
        own = {name: value.detach().clone() for name, value in self._current.items()}
        try:
            self._write(self.values)
            yield
        finally:
            self._write(own)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, value in self._current.items():
            value.copy_(values[name])

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors that an update changes."""
        yield from self.values.values()

    def state_dict(self) -> dict[str, Tensor]:
        """The average under the names of the model's own state, modules with several names included."""
        by_tensor = {id(value): self.values[name] for name, value in self._current.items()}
        return {name: by_tensor[id(value)] for name, value in self._model.state_dict(keep_vars=True).items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`.

        Raises:
            KeyError, RuntimeError: it belongs to another network.
        """
        for name, value in self.values.items():
            value.copy_(state[name])
