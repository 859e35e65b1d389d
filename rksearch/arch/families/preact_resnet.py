"""Pre-activation ResNet, which is Euler's method: spec and rows (He et al., arXiv 1603.05027)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rksearch.arch.family import Family, Keeping
from rksearch.arch.layers import HALVING
from rksearch.arch.reader import Reader
from rksearch.arch.rows import Writer
from rksearch.arch.spec import ArchSpec, check_depth


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


@dataclass(frozen=True, kw_only=True)
class PreActResNetFamily(Family):
    """Pre-activation ResNets, with bottlenecks or without."""

    def read(self, reader: Reader) -> PreActResNet:
        """Read `-110`."""
        reader.literal("-")
        return PreActResNet(depth=reader.integer("the depth"), bottleneck=self.key == "preact_resnet_b")

    def rows(self, writer: Writer, spec: PreActResNet) -> None:
        """Stem, groups of pre-activation blocks, head."""
        channels = spec.WIDTHS[0]
        writer.stem(channels)
        for g, width in enumerate(spec.WIDTHS, 1):
            for b in range(1, spec.blocks_per_group + 1):
                path, stride = f"group{g}.block{b}", HALVING if g > 1 and b == 1 else 1
                out = width * (spec.EXPANSION if spec.bottleneck else 1)
                before = writer.size
                writer.norm(f"{path}.norm1", channels)
                if spec.bottleneck and channels != out:
                    writer.conv(f"{path}.project", channels, out, 1, stride=stride)
                    writer.size = before  # the projection and the branch both start from the block's input
                kernels = (1, 3, 1) if spec.bottleneck else (3, 3)
                strided = 2 if spec.bottleneck else 1
                for c, kernel in enumerate(kernels, 1):
                    if c > 1:
                        writer.norm(f"{path}.norm{c}", width)
                    last = c == len(kernels)
                    writer.conv(
                        f"{path}.conv{c}",
                        channels if c == 1 else width,
                        out if last else width,
                        kernel,
                        stride=stride if c == strided else 1,
                    )
                channels = out
        writer.head(channels)


FAMILIES = (
    PreActResNetFamily(
        key="preact_resnet",
        title="pre-activation ResNet, that is Euler's method",
        source="arXiv 1603.05027",
        head="PreActResNet",
        sample="PreActResNet-110",
        blocks="rksearch.models.preact_resnet:makers",
        keeping=Keeping(),
    ),
    PreActResNetFamily(
        key="preact_resnet_b",
        title="pre-activation ResNet with bottlenecks",
        source="arXiv 1603.05027",
        head="PreActResNet-B",
        sample="PreActResNet-B-164",
        relatives=("PreActResNet-B-1001",),
        blocks="rksearch.models.preact_resnet:makers",
        keeping=Keeping(),
    ),
)
