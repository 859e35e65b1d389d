"""CliqueNet: spec and rows (Yang et al., arXiv 1802.10419)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rksearch.arch.family import Family, Keeping
from rksearch.arch.layers import transition
from rksearch.arch.reader import Reader
from rksearch.arch.rows import Size, Writer
from rksearch.arch.spec import ArchSpec, check_layers, check_positive
from rksearch.errors import SpecError


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


@dataclass(frozen=True, kw_only=True)
class CliqueNetFamily(Family):
    """CliqueNets of three blocks."""

    def read(self, reader: Reader) -> CliqueNet:
        """Read `-k36-T12`."""
        reader.literal("-k")
        growth_rate = reader.integer("the growth rate")
        reader.literal("-T")
        return CliqueNet(growth_rate=growth_rate, layers=reader.integer("the number of layers T"))

    def rows(self, writer: Writer, spec: CliqueNet) -> None:
        """Stem, clique blocks with transitions between them, head over all blocks.

        Layer j's weights on all other layers are two convolutions, on those before it and on those after it. Stage I
        uses the first and one of the block's input, stage II the first again and the second.
        """
        k, layers = spec.growth_rate, spec.layers_per_block
        channels = spec.FIRST_WIDTH
        writer.stem(channels)
        features: list[tuple[int, Size]] = []
        for i in range(1, spec.BLOCKS + 1):
            for j in range(1, layers + 1):
                path = f"block{i}.stage1.layer{j}"
                writer.norm(f"{path}.norm", channels + (j - 1) * k)
                writer.conv(f"{path}.input", channels, k, 3)
                if j > 1:
                    writer.conv(f"{path}.before", (j - 1) * k, k, 3)
            for j in range(1, layers + 1):
                path = f"block{i}.stage2.layer{j}"
                writer.norm(f"{path}.norm", (layers - 1) * k)
                if j > 1:
                    writer.conv(f"{path}.before", (j - 1) * k, k, 3, weight=f"block{i}.stage1.layer{j}.before")
                if j < layers:
                    writer.conv(f"{path}.after", (layers - j) * k, k, 3)
            features.append((channels + layers * k, writer.size))
            if i < spec.BLOCKS:
                channels = layers * k
                transition(writer, f"transition{i}", channels, channels)
        writer.multiscale_head(features)


FAMILIES = (
    CliqueNetFamily(
        key="cliquenet",
        title="CliqueNet, layers refined from one another",
        source="arXiv 1802.10419",
        head="CliqueNet",
        sample="CliqueNet-k36-T12",
        relatives=("CliqueNet-k64-T15", "CliqueNet-k80-T15", "CliqueNet-k80-T18"),
        blocks="rksearch.models.cliquenet:makers",
        keeping=Keeping(),
    ),
)
