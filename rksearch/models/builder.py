"""The one builder: families differ in blocks, not in how blocks are put together."""

from __future__ import annotations

from torch import nn

from rksearch.arch.families import family_of
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import layout
from rksearch.arch.spec import ArchSpec
from rksearch.models.blocks import Stem, head
from rksearch.models.parts import Maker, Parts


def build_parts(spec: ArchSpec, shape: ImageShape) -> dict[str, nn.Module]:
    """The top-level parts of a network by name, in forward order: `stem, period1, transition1, period2, ..., head`.

    Other families have `block` or `group` in place of `period`. Weights are torch's own.

    Raises:
        SpecError: the images are too small for the network.
    """
    net = layout(spec, shape)
    parts = Parts(net)
    makers: dict[str, Maker] = {"stem": lambda parts, _: Stem(parts), "head": lambda parts, _: head(parts)}
    makers.update(family_of(spec).makers(spec))
    names = dict.fromkeys(row.path.split(".")[0] for row in net.rows)
    return {name: makers[name.rstrip("0123456789")](parts, name) for name in names}
