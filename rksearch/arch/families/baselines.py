"""The networks that the paper reads as Runge-Kutta methods, and that searches are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from rksearch.arch.reader import Reader
from rksearch.arch.spec import ArchSpec, check_depth, check_layers, check_positive
from rksearch.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseNet(ArchSpec):
    """A DenseNet with three blocks of equal depth, as trained on CIFAR.

    The first convolution has 2k channels in both variants, as in the RKNet paper's counts (DenseNet-100-k24 has
    27.8 M there); the DenseNet paper gives the plain variant 16.

    Attributes:
        depth: 3n + 4 for n plain layers in a block, 6n + 4 with bottlenecks.
        growth_rate: channels k that each layer adds.
        bottleneck: DenseNet-BC, with bottleneck layers and transitions that halve the channels.

    Raises:
        SpecError: the depth does not fit the rule, or the growth rate is below 1.
    """

    depth: int
    growth_rate: int
    bottleneck: bool = False

    BLOCKS: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_depth(self.depth, unit=6 if self.bottleneck else 3, offset=4)
        check_positive("growth rate k", self.growth_rate)

    @property
    def family(self) -> str:
        """`densenet_bc` with bottlenecks, `densenet` without."""
        return "densenet_bc" if self.bottleneck else "densenet"

    @property
    def layers_per_block(self) -> int:
        """Densely connected layers n in each block."""
        return (self.depth - 4) // (6 if self.bottleneck else 3)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Densely connected layers of each block."""
        return (self.layers_per_block,) * self.BLOCKS

    @property
    def name(self) -> str:
        """For example `DenseNet-BC-100-k12`."""
        return f"DenseNet{'-BC' if self.bottleneck else ''}-{self.depth}-k{self.growth_rate}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNetDenseNet(ArchSpec):
    """DenseNet-BC with four blocks, as published for ImageNet (DenseNet paper, table 1).

    Attributes:
        depth: 121, 169, 201 or 161.

    Raises:
        SpecError: another depth.
    """

    depth: int

    PUBLISHED: ClassVar[MappingProxyType[int, tuple[int, tuple[int, ...]]]] = MappingProxyType(
        {121: (32, (6, 12, 24, 16)), 169: (32, (6, 12, 32, 32)), 201: (32, (6, 12, 48, 32)), 161: (48, (6, 12, 36, 24))}
    )
    """Growth rate and layers of each block, by depth."""

    def __post_init__(self) -> None:
        if self.depth not in self.PUBLISHED:
            known = ", ".join(str(depth) for depth in self.PUBLISHED)
            raise SpecError(
                f"a DenseNet without growth rate is one of those for ImageNet, of depth {known}, "
                f"but got {self.depth!r}; for one with three equal blocks add its growth rate, as in DenseNet-40-k12"
            )

    @property
    def family(self) -> str:
        """Always `densenet_imagenet`."""
        return "densenet_imagenet"

    @property
    def growth_rate(self) -> int:
        """Channels k that each layer adds."""
        return self.PUBLISHED[self.depth][0]

    @property
    def blocks(self) -> tuple[int, ...]:
        """Densely connected layers of each block."""
        return self.PUBLISHED[self.depth][1]

    @property
    def bottleneck(self) -> bool:
        """Always: all four are DenseNet-BC."""
        return True

    @property
    def name(self) -> str:
        """For example `DenseNet-121`."""
        return f"DenseNet-{self.depth}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet(ArchSpec):
    """The CIFAR ResNet: three groups of n basic blocks, 16-32-64 channels, shortcuts without parameters.

    Attributes:
        depth: 6n + 2.

    Raises:
        SpecError: the depth does not fit the rule.
    """

    depth: int

    WIDTHS: ClassVar[tuple[int, ...]] = (16, 32, 64)

    def __post_init__(self) -> None:
        check_depth(self.depth, unit=6, offset=2)

    @property
    def family(self) -> str:
        """Always `resnet`."""
        return "resnet"

    @property
    def blocks_per_group(self) -> int:
        """Basic blocks n at each width."""
        return (self.depth - 2) // 6

    @property
    def name(self) -> str:
        """For example `ResNet-20`."""
        return f"ResNet-{self.depth}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreActResNet(ArchSpec):
    """Pre-activation ResNet: y + f(y) and nothing after the sum, which is a step of Euler's method.

    Attributes:
        depth: 6n + 2 for basic blocks of 16-32-64 channels, 9n + 2 for bottleneck blocks that put out 64-128-256.
        bottleneck: BN-ReLU-conv1x1-BN-ReLU-conv3x3-BN-ReLU-conv1x1 blocks, with a 1x1 projection where widths change;
            else BN-ReLU-conv3x3-BN-ReLU-conv3x3, with shortcuts without parameters.

    Raises:
        SpecError: the depth does not fit the rule.
    """

    depth: int
    bottleneck: bool = False

    WIDTHS: ClassVar[tuple[int, ...]] = (16, 32, 64)
    EXPANSION: ClassVar[int] = 4

    def __post_init__(self) -> None:
        check_depth(self.depth, unit=9 if self.bottleneck else 6, offset=2)

    @property
    def family(self) -> str:
        """`preact_resnet_b` with bottlenecks, `preact_resnet` without."""
        return "preact_resnet_b" if self.bottleneck else "preact_resnet"

    @property
    def blocks_per_group(self) -> int:
        """Blocks n at each width."""
        return (self.depth - 2) // (9 if self.bottleneck else 6)

    @property
    def name(self) -> str:
        """For example `PreActResNet-110`, or `PreActResNet-B-1001` with bottlenecks."""
        return f"PreActResNet{'-B' if self.bottleneck else ''}-{self.depth}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CliqueNet(ArchSpec):
    """CliqueNet: in a block every layer is refined from all others, read as an implicit method solved by one sweep.

    Attributes:
        growth_rate: channels k of each layer.
        layers: layers T of the three blocks together.

    Raises:
        SpecError: T is not a multiple of three from 6 on, or the growth rate is below 1.
    """

    growth_rate: int
    layers: int

    BLOCKS: ClassVar[int] = 3
    FIRST_WIDTH: ClassVar[int] = 64

    def __post_init__(self) -> None:
        check_positive("growth rate k", self.growth_rate)
        check_positive("layers T", self.layers)
        if self.layers % self.BLOCKS or self.layers < 2 * self.BLOCKS:
            raise SpecError(
                f"the layers T must be {self.BLOCKS} times at least two layers of a block, but got {self.layers}; "
                f"the nearest is {max(2, round(self.layers / self.BLOCKS)) * self.BLOCKS}"
            )
        check_layers(2 * self.layers)

    @property
    def family(self) -> str:
        """Always `cliquenet`."""
        return "cliquenet"

    @property
    def layers_per_block(self) -> int:
        """Layers L = T / 3 of each block."""
        return self.layers // self.BLOCKS

    @property
    def name(self) -> str:
        """For example `CliqueNet-k36-T12`."""
        return f"CliqueNet-k{self.growth_rate}-T{self.layers}"


def read_densenet(reader: Reader) -> DenseNet | ImageNetDenseNet:
    """Read what follows `DenseNet`."""
    reader.literal("-")
    bottleneck = reader.optional("BC-")
    depth = reader.integer("the depth")
    if not bottleneck and reader.at == len(reader.name):
        return ImageNetDenseNet(depth=depth)
    reader.literal("-k")
    return DenseNet(depth=depth, growth_rate=reader.integer("the growth rate"), bottleneck=bottleneck)


def read_resnet(reader: Reader) -> ResNet:
    """Read what follows `ResNet`."""
    reader.literal("-")
    return ResNet(depth=reader.integer("the depth"))


def read_preact_resnet(reader: Reader) -> PreActResNet:
    """Read what follows `PreActResNet`."""
    reader.literal("-")
    bottleneck = reader.optional("B-")
    return PreActResNet(depth=reader.integer("the depth"), bottleneck=bottleneck)


def read_cliquenet(reader: Reader) -> CliqueNet:
    """Read what follows `CliqueNet`."""
    reader.literal("-k")
    growth_rate = reader.integer("the growth rate")
    reader.literal("-T")
    return CliqueNet(growth_rate=growth_rate, layers=reader.integer("the number of layers T"))
