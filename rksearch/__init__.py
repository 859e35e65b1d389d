"""Architecture search and benchmarking of Runge-Kutta convolutional networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rksearch.arch import (
    RKCNN,
    ArchSpec,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    Period,
    PreActResNet,
    ResidualRKNet,
    ResNet,
    RKNet,
    Solver,
    Steps,
    parse,
    register_family,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from rksearch.search.samplers.registry import SamplerEntry, SamplerFactory

__version__ = "0.1.0"

__all__ = [
    "RKCNN",
    "ArchSpec",
    "CliqueNet",
    "DenseNet",
    "ImageNetDenseNet",
    "Period",
    "PreActResNet",
    "RKNet",
    "ResNet",
    "ResidualRKNet",
    "Solver",
    "Steps",
    "create",
    "list_models",
    "load",
    "parse",
    "register_family",
    "register_sampler",
]


def list_models(pattern: str = "*", *, family: str | None = None) -> list[str]:
    """Names that `create` builds, by shell wildcards and family; see `rksearch.arch.catalogue.list_models`."""
    from rksearch.arch import catalogue

    return catalogue.list_models(pattern, family=family)


def create(name: str | ArchSpec, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    """A freshly initialised network by name, for use outside of a search.

    Args:
        name: an architecture's name or spec, for example `RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s`.
        num_classes: width of the logits.
        in_channels, image_size: shape of the images, (N, in_channels, image_size, image_size).

    Returns:
        A module from float images to logits (N, num_classes), in training mode, weights from torch's global generator.

    Raises:
        SpecError: the name is malformed, or the images are too small for the network.
    """
    from rksearch.arch.image import image_shape
    from rksearch.models import build

    spec = parse(name) if isinstance(name, str) else name
    return build(spec, image_shape(channels=in_channels, size=image_size, classes=num_classes))


def load(directory: str | Path) -> nn.Module:
    """The network that `rksearch export` wrote, in eval mode; see `rksearch.models.export.load`. Nothing is unpickled.

    Raises:
        ExportError: files are missing or damaged.
    """
    from rksearch.models.export import load as load_export

    return load_export(directory)


def register_sampler(name: str, make: SamplerFactory, *, title: str, description: str) -> SamplerEntry:
    """Make an Optuna sampler known by name; see `rksearch.search.samplers.registry.register_sampler`.

    Raises:
        PluginError: another sampler has this name.
    """
    from rksearch.search.samplers import registry

    return registry.register_sampler(name, make, title=title, description=description)
