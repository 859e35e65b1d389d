"""Independent counts beside `rksearch.arch.cost`: torch's parameter count and fvcore's operation count."""

from __future__ import annotations

import importlib.util
import logging
import warnings

import torch
from torch import nn

from rksearch.arch.cost import Cost, Witness
from rksearch.arch.image import ImageShape


def count_params(model: nn.Module) -> int:
    """Elements of all parameters, each counted once however often it is used."""
    return sum(p.numel() for p in model.parameters())


def count_fvcore_flops(model: nn.Module, data: ImageShape) -> int | None:
    """What fvcore counts for one image in eval mode, or None where fvcore is not installed.

    The model is left in the mode it was in. It must be on the CPU.
    """
    if importlib.util.find_spec("fvcore") is None:
        return None
    with warnings.catch_warnings():
        # fvcore still scripts a function of its own when it is imported, of which torch warns its users.
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.*", category=FutureWarning)
        from fvcore.nn import FlopCountAnalysis

    was_training = model.training
    model.eval()
    # fvcore warns about every operator that it does not count; which ones is stated in `rksearch.arch.cost`.
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model, torch.zeros(1, data.channels, data.height, data.width))
    with torch.no_grad():
        flops = int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())
    model.train(was_training)
    return flops


def witness(model: nn.Module, data: ImageShape, expected: Cost) -> Witness:
    """Counts taken from the built model, and whether they agree with the closed forms."""
    params = count_params(model)
    flops = count_fvcore_flops(model, data)
    agree = params == expected.params and flops in (None, expected.fvcore_flops)
    return Witness(params=params, fvcore_flops=flops, agree=agree)
