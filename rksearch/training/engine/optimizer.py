"""The optimiser of a recipe: which parameters decay, and a state that is in place before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from rksearch.models.methods import Coefficients
from rksearch.recipes.recipe import Recipe


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser with its moments in place: created in its first step, a recorded step would not find them.

    It is fused, because a loop over hundreds of small tensors costs a small net several percent of its time.
    """
    groups = parameter_groups(model, recipe)
    if recipe.optimizer == "adamw":
        adamw = torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=True)
        for parameter in _parameters(groups):
            adamw.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return adamw
    sgd = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
    if recipe.momentum:
        for parameter in _parameters(groups):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters with and without weight decay, each in the order of the model; one group where all have it.

    Norms and biases are the parameters of at most one dimension; learned coefficients of a method are not counted
    among them.
    """
    coefficients = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, Coefficients)
        for parameter in module.parameters(recurse=False)
    }

    def decays(parameter: Parameter) -> bool:
        if id(parameter) in coefficients:
            return recipe.decay_coefficients
        return recipe.decay_norms_and_biases or parameter.ndim > 1

    parameters = list(model.parameters())
    parts = [[p for p in parameters if decays(p)], [p for p in parameters if not decays(p)]]
    decay = [recipe.weight_decay, 0.0]
    return [{"params": part, "weight_decay": value} for part, value in zip(parts, decay, strict=True) if part]


def _parameters(groups: Iterable[dict[str, Any]]) -> Iterable[Parameter]:
    for group in groups:
        yield from group["params"]
