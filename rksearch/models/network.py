"""`Network`: the parts of a spec as one module, with the names that torch's and timm's tools expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from rksearch.arch.image import ImageShape
from rksearch.arch.layout import layout
from rksearch.arch.spec import ArchSpec
from rksearch.errors import DataError, SpecError
from rksearch.models.blocks import MultiScaleHead
from rksearch.models.builder import build_parts
from rksearch.models.parts import initialise

FeatureInfo = dict[str, Any]
"""One entry of `Network.feature_info`, as timm defines it."""


class Network(nn.Module):
    """Network of a spec: float images (N, C, H, W) to logits (N, classes).

    Its children are the parts in forward order: `stem`, `period1`, `transition1`, `period2`, ..., `head` (`block` for
    DenseNets and CliqueNets, `group` for ResNets). Weights are drawn from torch's global generator; see
    `rksearch.models.parts.initialise`.

    Attributes:
        spec, shape: the network, and the images and number of classes for which it was built.
        in_chans: channels of the images.
        num_classes: width of the logits; 0 after `reset_classifier(0)`.
        num_features: width of what the classifier reads.
        head_hidden_size: the same, by the name that timm uses for it.

    Raises:
        SpecError: the images are too small for the network.
    """

    def __init__(self, spec: ArchSpec, shape: ImageShape) -> None:
        super().__init__()
        self.spec = spec
        # Not a data set, which is an image shape too: it need not be copied and pickled with the network.
        self.shape = ImageShape(channels=shape.channels, height=shape.height, width=shape.width, classes=shape.classes)
        for name, part in build_parts(spec, shape).items():
            self.add_module(name, part)
        self.in_chans, self.num_classes = shape.channels, shape.classes
        self.num_features = self.head_hidden_size = int(self.get_parameter("head.linear.weight").shape[1])
        self._body = tuple(name for name, _ in self.named_children() if name != "head")
        self._stages = stages_of(spec, shape)
        self._reads_all = isinstance(self.get_submodule("head"), MultiScaleHead)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor | list[Tensor]:
        """Feature maps of images (N, C, H, W), before the head's norm, activation and pooling.

        Returns:
            The output (N, C', H', W') of the last stage; the outputs of all stages where the head reads all of them
            (an RKCNN with `-ms`).
        """
        x = images
        outputs: list[Tensor] = []
        for name in self._body:
            x = self.get_submodule(name)(x)
            if self._reads_all and name in self._stages:
                outputs.append(x)
        return outputs if self._reads_all else x

    def forward_head(self, features: Tensor | list[Tensor], pre_logits: bool = False) -> Tensor:
        """Logits (N, classes) of what `forward_features` returned; with `pre_logits` what the classifier reads.

        That is (N, num_features).
        """
        head = self.get_submodule("head")
        # Without the argument where it says nothing: hooks then see the usual call.
        found: Tensor = head(features, pre_logits=True) if pre_logits else head(features)
        return found

    def get_classifier(self) -> nn.Module:
        """The last layer: linear, or the identity after `reset_classifier(0)`."""
        return self.get_submodule("head.linear")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a freshly initialised one, on the same device and of the same type.

        Args:
            num_classes: width of the logits; 0 for the identity, so that the network returns (N, num_features).
            global_pool: `avg`, the pooling that every network here has, or None.

        Raises:
            DataError: `num_classes` is negative.
            SpecError: another pooling is asked for.
        """
        if num_classes < 0:
            raise DataError(f"num_classes must be at least 0, but got {num_classes!r}")
        require_average_pooling(global_pool)
        like = next(self.parameters())
        new = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        initialise(new)
        self.get_submodule("head").add_module("linear", new.to(device=like.device, dtype=like.dtype))
        self.num_classes = num_classes
        self.shape = replace(self.shape, classes=num_classes)

    @cached_property
    def feature_info(self) -> list[FeatureInfo]:
        """Stages in forward order, as timm describes them.

        Each has `num_chs` (channels of its output), `reduction` (pixels of the image along each side for one of its
        output) and `module` (name of the part).
        """
        side = 16 << max(self.shape.height, self.shape.width).bit_length()  # every halving is exact
        outputs: list[Tensor] = []
        with torch.device("meta"), torch.no_grad():
            probe = Network(self.spec, replace(self.shape, classes=1)).eval()
            for name in self._stages:
                probe.get_submodule(name).register_forward_hook(lambda _, __, output: outputs.append(output))
            probe(torch.empty(1, self.in_chans, side, side))
        return [
            {"num_chs": output.shape[1], "reduction": side // output.shape[2], "module": name}
            for name, output in zip(self._stages, outputs, strict=True)
        ]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state dictionary, in which shared weights may stand under one of their names.

        `state_dict()` lists them under each; files that hold each tensor once (safetensors, exports) do not. Otherwise
        as `torch.nn.Module.load_state_dict`.
        """
        if strict:
            state_dict = dict(state_dict)
            for names in _shared(self):
                given = next((state_dict[name] for name in names if name in state_dict), None)
                if given is not None:
                    state_dict |= {name: given for name in names if name not in state_dict}
        return super().load_state_dict(state_dict, strict, assign)


def build(spec: ArchSpec, shape: ImageShape) -> Network:
    """The network of `spec` for images of `shape`, freshly initialised and in training mode.

    Raises:
        SpecError: the images are too small for the network.
    """
    return Network(spec, shape)


def stages_of(spec: ArchSpec, shape: ImageShape) -> tuple[str, ...]:
    """Names of the stages of a network in forward order: all parts but stem, transitions and head.

    Raises:
        SpecError: the images are too small for the network.
    """
    names = dict.fromkeys(row.path.split(".")[0] for row in layout(spec, shape).rows)
    return tuple(name for name in names if not name.startswith(("stem", "transition", "head")))


def require_average_pooling(global_pool: str | None) -> None:
    """Check the name of a pooling before the classifier.

    Raises:
        SpecError: it is another one than that of every network here.
    """
    if global_pool not in (None, "avg"):
        raise SpecError(
            f"networks of rksearch average over all pixels (global_pool='avg'), but got {global_pool!r}; leave it out, "
            "or use forward_features"
        )


def _shared(model: nn.Module) -> list[list[str]]:
    """Names of each parameter or buffer that has several, in the order of the model."""
    names: dict[int, list[str]] = {}
    for name, tensor in chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    ):
        names.setdefault(id(tensor), []).append(name)
    return [several for several in names.values() if len(several) > 1]
