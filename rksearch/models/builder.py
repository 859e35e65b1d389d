"""The one builder: families differ in blocks, not in plumbing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from rksearch.arch import (
    RKCNN,
    ArchSpec,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    PreActResNet,
    ResidualRKNet,
    ResNet,
    RKNet,
)
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import layout
from rksearch.models.blocks import DenseBlock, DenseStage, Period, Stem, Transition
from rksearch.models.implicit import (
    CliqueBlock,
    CliqueTransition,
    MultiScale,
    RKCNNPeriod,
    RKCNNTransition,
    head,
)
from rksearch.models.methods import SolvedPeriod
from rksearch.models.parts import Parts, initialise
from rksearch.models.residual import BasicBlock, Group, PreActBlock, ResidualPeriod, ResidualStage

Maker = Callable[[Parts, str], nn.Module]


def build(spec: ArchSpec, data: ImageShape) -> nn.Sequential:
    """The network of `spec` for images of `data`: float images (N, C, H, W) to logits (N, classes).

    The top level is a sequence `stem, period1, transition1, period2, ..., head` (`block` for DenseNets and CliqueNets,
    `group` for ResNets). Weights are drawn from torch's global generator; see `rksearch.models.parts.initialise`.

    Raises:
        SpecError: the images are too small for the network.
    """
    net = layout(spec, data)
    parts = Parts(net)
    makers: dict[str, Maker] = {"stem": lambda parts, _: Stem(parts), "head": lambda parts, _: head(parts)}
    makers.update(_makers(spec))
    model = MultiScale() if parts.has("head.scale1.norm") else nn.Sequential()
    for name in dict.fromkeys(row.path.split(".")[0] for row in net.rows):
        model.add_module(name, makers[name.rstrip("0123456789")](parts, name))
    initialise(model)
    return model


def _makers(spec: ArchSpec) -> Mapping[str, Maker]:
    """What a family builds between stem and head, by the kind of part."""
    match spec:
        case RKNet():
            return {"period": lambda parts, path: _dense_period(spec, parts, path), "transition": Transition}
        case ResidualRKNet():
            return {"period": lambda parts, path: _residual_period(spec, parts, path), "transition": BasicBlock}
        case RKCNN():
            return {
                "period": lambda parts, path: RKCNNPeriod(parts, path, spec),
                "transition": lambda parts, path: RKCNNTransition(parts, path, spec),
            }
        case DenseNet() | ImageNetDenseNet():
            return {"block": DenseBlock, "transition": Transition}
        case CliqueNet():
            return {"block": CliqueBlock, "transition": CliqueTransition}
        case ResNet():
            return {"group": lambda parts, path: Group(parts, path, BasicBlock)}
        case PreActResNet():
            return {"group": lambda parts, path: Group(parts, path, PreActBlock)}
    raise AssertionError(f"no builder for {type(spec).__name__}")


def _dense_period(spec: RKNet, parts: Parts, path: str) -> nn.Module:
    period = spec.periods[int(path.removeprefix("period")) - 1]
    if period.solver is None:
        return Period(parts, path, stages=period.s)
    return SolvedPeriod(parts, path, period.solver, DenseStage)


def _residual_period(spec: ResidualRKNet, parts: Parts, path: str) -> nn.Module:
    period = spec.periods[int(path.removeprefix("period")) - 1]
    if period.solver is None:
        return ResidualPeriod(parts, path)
    return SolvedPeriod(parts, path, period.solver, ResidualStage)
