"""Independent counts beside `rksearch.arch.cost`: of parameters and of what runs by torch, of operations by fvcore."""

from __future__ import annotations

import importlib.util
import logging
import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

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


def count_executed_macs(model: nn.Module, data: ImageShape) -> int:
    """Multiply-adds of the operators that torch executes for one image in eval mode: the program that runs.

    torch counts convolutions and matrix products, two operations for each multiply-add. The model is left in the mode
    it was in. It must be on the CPU.
    """
    was_training = model.training
    model.eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(1, data.channels, data.height, data.width))
    model.train(was_training)
    return int(counter.get_total_flops()) // 2


def witness(model: nn.Module, data: ImageShape, expected: Cost, executed_macs: int | None = None) -> Witness:
    """Counts taken from the built model, and whether they agree with the closed forms.

    Args:
        model: the network, on the CPU.
        data: its images.
        expected: the closed forms.
        executed_macs: closed form of the multiply-adds that run; None to count without comparing.
    """
    params = count_params(model)
    flops = count_fvcore_flops(model, data)
    executed = count_executed_macs(model, data)
    agree = params == expected.params and flops in (None, expected.fvcore_flops) and executed_macs in (None, executed)
    return Witness(params=params, fvcore_flops=flops, agree=agree, executed_macs=executed)
