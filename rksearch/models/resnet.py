"""Builder of ResNets, whose blocks are `rksearch.models.residual.BasicBlock`."""

from __future__ import annotations

from rksearch.arch.families.resnet import ResNet
from rksearch.arch.family import Makers
from rksearch.models.residual import BasicBlock, Group


def makers(spec: ResNet) -> Makers:
    """What builds the blocks of one width."""
    return {"group": lambda parts, path: Group(parts, path, BasicBlock)}
