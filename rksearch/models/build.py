"""The one builder: families differ in blocks, not in plumbing."""

from __future__ import annotations

from torch import nn

from rksearch.datasets import Dataset
from rksearch.layout import layout
from rksearch.models.blocks import DenseBlock, Group, Head, Period, Stem, Transition
from rksearch.models.parts import Parts, initialise
from rksearch.spec import ArchSpec, RKNet


def build(spec: ArchSpec, data: Dataset) -> nn.Sequential:
    """The network of `spec` for images of `data`: float images (N, C, H, W) to logits (N, classes).

    The top level is a sequence `stem, period1, transition1, period2, ..., head` (`block` for DenseNets, `group` for
    ResNets). Weights are drawn from torch's global generator; see `rksearch.models.parts.initialise`.

    Raises:
        SpecError: the images are too small for the network.
    """
    net = layout(spec, data)
    parts = Parts(net)
    model = nn.Sequential()
    for name in dict.fromkeys(row.path.split(".")[0] for row in net.rows):
        model.add_module(name, _block(spec, parts, name))
    initialise(model)
    return model


def _block(spec: ArchSpec, parts: Parts, name: str) -> nn.Module:
    kind = name.rstrip("0123456789")
    match kind:
        case "stem":
            return Stem(parts)
        case "head":
            return Head(parts)
        case "transition":
            return Transition(parts, name)
        case "period":
            assert isinstance(spec, RKNet), "only RKNets have periods"
            return Period(parts, name, stages=spec.periods[int(name.removeprefix("period")) - 1].s)
        case "block":
            return DenseBlock(parts, name)
        case "group":
            return Group(parts, name)
    raise AssertionError(f"the layout has a part {name!r} that no family builds")
