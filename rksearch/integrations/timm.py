"""Every architecture as a model of timm, after this module is imported (`pip install 'rksearch[timm]'`).

`timm.create_model` then takes each name that `rksearch.integrations.names.timm_name` makes, of listed architectures and
of all others; `timm.list_models` lists the listed ones. Arguments are timm's: `num_classes`, `in_chans`, `img_size`,
`features_only` with `out_indices` and `feature_cls`, `pretrained_cfg_overlay` (with `pretrained=True` and `file=` the
weights of an export). There are no weights to download.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rksearch.arch import parse
from rksearch.arch.catalogue import list_models
from rksearch.arch.image import ImageShape
from rksearch.data.facts import dataset
from rksearch.errors import DataError, MissingLibraryError
from rksearch.integrations.names import arch_name, is_timm_name, timm_name
from rksearch.models import Network, build
from rksearch.models.card import LICENSE
from rksearch.models.network import require_average_pooling, stages_of

try:
    import timm
    from timm.models import _registry, build_model_with_cfg, register_model
except ImportError as error:
    raise MissingLibraryError("rksearch.integrations.timm", "timm", "timm") from error

__all__ = ["arch_name", "timm_name"]

CLASSES, CHANNELS, SIDE = 10, 3, 32
"""What a network is built for where the caller says nothing: CIFAR-10, as in `rksearch.create`."""


class _Entrypoints(dict[str, Callable[..., Any]]):
    """timm's table of models, which also finds every architecture by its name: there are infinitely many."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and is_timm_name(name))

    def __missing__(self, name: str) -> Callable[..., Any]:
        if not is_timm_name(name):
            raise KeyError(name)
        return _entrypoint(name)


def _entrypoint(name: str) -> Callable[..., Any]:
    """The function that timm calls to make the model of this name."""
    arch = arch_name(name)

    def create(pretrained: bool = False, **kwargs: Any) -> Any:
        return _create(name, arch, pretrained, **kwargs)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{arch}; see `rksearch.arch`."
    return create


def _create(name: str, arch: str, pretrained: bool, **kwargs: Any) -> Any:
    spec = parse(arch)

    def network(
        num_classes: int = CLASSES,
        in_chans: int = CHANNELS,
        img_size: int | tuple[int, int] = SIDE,
        global_pool: str | None = None,
    ) -> Network:
        require_average_pooling(global_pool)
        if num_classes:
            return build(spec, _shape(num_classes, in_chans, img_size))
        headless = build(spec, _shape(1, in_chans, img_size))
        headless.reset_classifier(0)
        return headless

    shape = _shape(1, kwargs.get("in_chans") or CHANNELS, kwargs.get("img_size") or SIDE)
    kwargs["pretrained_cfg"] = kwargs.get("pretrained_cfg") or _pretrained_cfg(shape)
    features = {"out_indices": tuple(range(len(stages_of(spec, shape))))}
    return build_model_with_cfg(network, name, pretrained, feature_cfg=features, **kwargs)


def _shape(classes: int, channels: int, size: int | tuple[int, int]) -> ImageShape:
    height, width = (size, size) if isinstance(size, int) else size
    for what, value in (("num_classes", classes), ("in_chans", channels), ("img_size", min(height, width))):
        if value < 1:
            raise DataError(f"{what} must be at least 1, but got {value!r}")
    return ImageShape(channels=channels, height=height, width=width, classes=classes)


def _pretrained_cfg(shape: ImageShape) -> dict[str, Any]:
    """What timm's transforms and loaders read: the normalisation is CIFAR-10's, of colour images."""
    cifar = dataset("cifar10")
    colour = shape.channels == cifar.channels
    return {
        "input_size": (shape.channels, shape.height, shape.width),
        "num_classes": CLASSES,
        # timm's pixels reach from 0 to 1.
        "mean": tuple(x / 255 for x in cifar.mean) if colour else (0.5,) * shape.channels,
        "std": tuple(x / 255 for x in cifar.std) if colour else (0.5,) * shape.channels,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "first_conv": "stem.conv",
        "classifier": "head.linear",
        "license": LICENSE,
        "paper_ids": "arXiv:1802.08831",
        "origin_url": "https://arxiv.org/abs/1802.08831",
    }


def _extend_registry() -> None:
    """Make timm find every architecture by its name, and list the listed ones.

    Raises:
        MissingLibraryError: this version of timm keeps its models otherwise.
    """
    known = getattr(_registry, "_model_entrypoints", None)
    if isinstance(known, _Entrypoints):
        return
    if not isinstance(known, dict):
        raise MissingLibraryError("rksearch.integrations.timm", f"another timm than {timm.__version__}", "timm")
    for arch in list_models():
        name = timm_name(arch)
        if name not in known:
            # timm keeps the functions of a module as its attributes.
            globals()[name] = register_model(_entrypoint(name))
    _registry._model_entrypoints = _Entrypoints(known)


_extend_registry()
