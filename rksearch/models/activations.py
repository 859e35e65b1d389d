"""ReLU behind a module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook


def relu_of(module: nn.Module, *inputs: Tensor) -> Tensor:
    """Return relu(module(*inputs)).

    It is computed in place, which saves memory, except where something else sees the module's output: a hook of the
    module, or a graph of `torch.fx`. In compiled code the compiler decides.
    """
    y = module(*inputs)
    return F.relu(y) if _is_observed(module, y) else F.relu_(y)


def _is_observed(module: nn.Module, output: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    hooks = module._forward_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(hooks) or isinstance(output, Proxy) or _has_any_global_hook()
