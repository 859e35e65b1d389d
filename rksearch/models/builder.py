"""The one builder: families differ in blocks, not in how blocks are put together."""

from __future__ import annotations

from torch import nn

from rksearch.arch.families import family_of
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import layout
from rksearch.arch.spec import ArchSpec
from rksearch.models.blocks import MultiScale, Stem, head
from rksearch.models.parts import Maker, Parts, initialise


def build(spec: ArchSpec, shape: ImageShape) -> nn.Sequential:
    """The network of `spec` for images of `shape`: float images (N, C, H, W) to logits (N, classes).

    The top level is a sequence `stem, period1, transition1, period2, ..., head` (`block` for DenseNets and CliqueNets,
    `group` for ResNets). Weights are drawn from torch's global generator; see `rksearch.models.parts.initialise`.

    Raises:
        SpecError: the images are too small for the network.
    """
    net = layout(spec, shape)
    parts = Parts(net)
    makers: dict[str, Maker] = {"stem": lambda parts, _: Stem(parts), "head": lambda parts, _: head(parts)}
    makers.update(family_of(spec).makers(spec))
    model = MultiScale() if parts.has("head.scale1.norm") else nn.Sequential()
    for name in dict.fromkeys(row.path.split(".")[0] for row in net.rows):
        model.add_module(name, makers[name.rstrip("0123456789")](parts, name))
    initialise(model)
    return model
