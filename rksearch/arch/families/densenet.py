"""DenseNet on CIFAR and on ImageNet: specs and rows (Huang et al., arXiv 1608.06993)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from rksearch.arch.family import Family, Keeping
from rksearch.arch.layers import bottleneck_width, dense_layer, transition
from rksearch.arch.reader import Reader
from rksearch.arch.rows import Writer
from rksearch.arch.spec import ArchSpec, check_depth, check_positive
from rksearch.errors import SpecError

STEM_MULTIPLE = 2
"""DenseNets start from 2k channels."""


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


@dataclass(frozen=True, kw_only=True)
class DenseNetFamily(Family):
    """DenseNets with three equal blocks, with or without bottlenecks, or those for ImageNet."""

    def read(self, reader: Reader) -> DenseNet | ImageNetDenseNet:
        """Read `-40-k12`, `-BC-100-k12` or `-121`."""
        bottleneck = self.key == "densenet_bc"
        reader.literal("-")
        depth = reader.integer("the depth")
        if not bottleneck and reader.at == len(reader.name):
            return ImageNetDenseNet(depth=depth)
        reader.literal("-k")
        return DenseNet(depth=depth, growth_rate=reader.integer("the growth rate"), bottleneck=bottleneck)

    def rows(self, writer: Writer, spec: DenseNet | ImageNetDenseNet) -> None:
        """Stem, dense blocks with transitions between them, head."""
        k = spec.growth_rate
        middle = bottleneck_width(k) if spec.bottleneck else None
        channels = STEM_MULTIPLE * k
        writer.stem(channels)
        for i, layers in enumerate(spec.blocks, 1):
            for j in range(1, layers + 1):
                path = f"block{i}.layer{j}"
                dense_layer(writer, path, path, channels, k, middle)
                channels += k
            if i < len(spec.blocks):
                narrowed = _narrowed(spec, channels)
                transition(writer, f"transition{i}", channels, narrowed)
                channels = narrowed
        writer.head(channels)

    def multiples_of_blocks(self, spec: DenseNet | ImageNetDenseNet) -> tuple[int, ...]:
        """Channels that enter each block, in growth rates, rounded down."""
        channels, found = STEM_MULTIPLE * spec.growth_rate, []
        for layers in spec.blocks:
            found.append(channels // spec.growth_rate)
            channels = _narrowed(spec, channels + layers * spec.growth_rate)
        return tuple(found)


def _narrowed(spec: DenseNet | ImageNetDenseNet, channels: int) -> int:
    """Channels behind a transition: compression 0.5 belongs to DenseNet-BC; an odd width is rounded down."""
    return channels // 2 if spec.bottleneck else channels


FAMILIES = (
    DenseNetFamily(
        key="densenet",
        title="DenseNet, three equal blocks",
        source="arXiv 1608.06993",
        head="DenseNet",
        sample="DenseNet-40-k12",
        blocks="rksearch.models.densenet:makers",
        keeping=Keeping(layers_grow=True),
    ),
    DenseNetFamily(
        key="densenet_bc",
        title="DenseNet-BC, three equal blocks",
        source="arXiv 1608.06993",
        head="DenseNet-BC",
        sample="DenseNet-BC-100-k12",
        blocks="rksearch.models.densenet:makers",
        keeping=Keeping(layers_grow=True),
    ),
    DenseNetFamily(
        key="densenet_imagenet",
        title="DenseNet-BC for ImageNet, four blocks",
        source="arXiv 1608.06993, table 1",
        head="DenseNet",
        sample="DenseNet-121",
        blocks="rksearch.models.densenet:makers",
        keeping=Keeping(layers_grow=True),
    ),
)
