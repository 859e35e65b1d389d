"""Architecture search and benchmarking of Runge-Kutta convolutional networks.

Names are loaded when they are first used: `import rksearch` alone imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rksearch.api import Resources, Run, forecast, retrain, run, train
    from rksearch.api.trained import load
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
    from rksearch.arch.catalogue import list_models
    from rksearch.data.facts import register_dataset
    from rksearch.models.network import Network
    from rksearch.search.samplers.registry import register_sampler

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("Resources", "Run", "forecast", "retrain", "run", "train"), "rksearch.api"),
    **dict.fromkeys(
        (
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
            "parse",
            "register_family",
        ),
        "rksearch.arch",
    ),
    "list_models": "rksearch.arch.catalogue",
    "Network": "rksearch.models.network",
    "load": "rksearch.api.trained",
    "register_dataset": "rksearch.data.facts",
    "register_sampler": "rksearch.search.samplers.registry",
}
"""Module of each public name that is loaded when it is first used."""

__all__ = [
    "RKCNN",
    "ArchSpec",
    "CliqueNet",
    "DenseNet",
    "ImageNetDenseNet",
    "Network",
    "Period",
    "PreActResNet",
    "RKNet",
    "ResNet",
    "ResidualRKNet",
    "Resources",
    "Run",
    "Solver",
    "Steps",
    "create",
    "forecast",
    "list_models",
    "load",
    "parse",
    "register_dataset",
    "register_family",
    "register_sampler",
    "retrain",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rksearch' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def create(name: str | ArchSpec, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> Network:
    """Build a freshly initialised network by name, for use outside of a search.

    Args:
        name: an architecture's name or spec, for example `RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s`.
        num_classes: width of the logits.
        in_channels: channels of the images, which are (N, in_channels, image_size, image_size).
        image_size: their height and width.

    Returns:
        A module from float images to logits (N, num_classes), in training mode, weights from torch's global generator;
        see `rksearch.Network` for what else it has.

    Raises:
        SpecError: the name is malformed, or no name, or the images are too small for the network.
        DataError: a number is not whole, below 1 or too large.
    """
    from rksearch.arch import ArchSpec, parse
    from rksearch.arch.image import image_shape
    from rksearch.errors import SpecError
    from rksearch.models import build

    if not isinstance(name, str | ArchSpec):
        raise SpecError(
            f"an architecture is given by its name or as a spec, but got {type(name).__name__}; see list_models()"
        )
    spec = parse(name) if isinstance(name, str) else name
    return build(spec, image_shape(channels=in_channels, size=image_size, classes=num_classes))
