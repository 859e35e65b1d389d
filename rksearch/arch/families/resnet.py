"""ResNet for 32 x 32 images: spec and rows (He et al., arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rksearch.arch.family import Family, Keeping
from rksearch.arch.layers import HALVING, basic_block
from rksearch.arch.reader import Reader
from rksearch.arch.rows import Writer
from rksearch.arch.spec import ArchSpec, check_depth


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


@dataclass(frozen=True, kw_only=True)
class ResNetFamily(Family):
    """ResNets of basic blocks."""

    def read(self, reader: Reader) -> ResNet:
        """Read `-20`."""
        reader.literal("-")
        return ResNet(depth=reader.integer("the depth"))

    def rows(self, writer: Writer, spec: ResNet) -> None:
        """Stem with BN-ReLU, groups of basic blocks, head without a norm."""
        channels = spec.WIDTHS[0]
        writer.stem(channels, norm=True)
        for g, width in enumerate(spec.WIDTHS, 1):
            for b in range(1, spec.blocks_per_group + 1):
                basic_block(writer, f"group{g}.block{b}", channels, width, HALVING if g > 1 and b == 1 else 1)
                channels = width
        writer.head(channels, norm=False)


FAMILIES = (
    ResNetFamily(
        key="resnet",
        title="ResNet for CIFAR, basic blocks",
        source="arXiv 1512.03385, section 4.2",
        head="ResNet",
        sample="ResNet-20",
        blocks="rksearch.models.resnet:makers",
        keeping=Keeping(reads_stem="group1.block1.conv1"),
    ),
)
