"""From a spec and a data set to rows: one row per layer, in the order of computation.

This is the single place where widths and resolutions are computed. Costs are sums over rows (`rksearch.cost`), and
modules are built from the same rows (`rksearch.models`): a row's `path` is the built module's path.

A row whose `weight` differs from its `path` computes with another row's weights: it costs multiply-adds again, and no
parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

from rksearch.datasets import Dataset
from rksearch.errors import SpecError
from rksearch.spec import ArchSpec, DenseNet, Period, ResNet, RKNet

Kind = Literal["conv", "norm", "avgpool", "global_pool", "linear"]

BOTTLENECK = 4
"""The 1x1 convolution of a bottleneck layer puts out 4k channels (DenseNet paper, section 3)."""

STEM_MULTIPLE = 2
"""DenseNets start from 2k channels."""

RESNET_STRIDE = 2
"""The first block of every later ResNet group halves the resolution."""


class Size(NamedTuple):
    """Height and width of a feature map, in pixels."""

    height: int
    width: int

    @property
    def area(self) -> int:
        """Pixels of one channel."""
        return self.height * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer: `(N, in_channels, *in_size)` to `(N, out_channels, *out_size)`.

    Attributes:
        path: dotted path of the built module.
        kind: what it computes; batch norms (`norm`) are followed by a ReLU, which has no row because it has no cost.
        in_channels, out_channels: widths.
        kernel, stride: of a convolution or pooling, in pixels; convolutions keep the resolution but for the stride.
        in_size, out_size: resolution before and after.
        weight: path of the row that owns the weights; equal to `path` unless weights are shared.
    """

    path: str
    kind: Kind
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    in_size: Size
    out_size: Size
    weight: str

    @property
    def owns_weights(self) -> bool:
        """Whether the weights are this row's own, rather than those of an earlier time-step."""
        return self.weight == self.path


@dataclass(frozen=True, slots=True)
class Layout:
    """All rows of one network for one data set, in forward order."""

    spec: ArchSpec
    dataset: Dataset
    rows: tuple[Row, ...]

    def under(self, prefix: str) -> tuple[Row, ...]:
        """The rows whose path lies under `prefix`."""
        return tuple(row for row in self.rows if row.path.startswith(prefix + "."))


def layout(spec: ArchSpec, data: Dataset) -> Layout:
    """The rows of `spec` for images of `data`.

    Raises:
        SpecError: the network halves the resolution more often than the images allow.
    """
    writer = _Writer(Size(data.height, data.width), spec)
    match spec:
        case RKNet():
            _rknet(writer, spec, data)
        case DenseNet():
            _densenet(writer, spec, data)
        case ResNet():
            _resnet(writer, spec, data)
        case _:
            assert_never(spec)  # type: ignore[arg-type]
    return Layout(spec, data, tuple(writer.rows))


class _Writer:
    """Appends rows and keeps track of the resolution."""

    def __init__(self, size: Size, spec: ArchSpec) -> None:
        self.size = size
        self.spec = spec
        self.rows: list[Row] = []

    def conv(self, path: str, c_in: int, c_out: int, kernel: int, stride: int = 1, weight: str | None = None) -> None:
        before = self.size
        if stride > 1:
            # A padded convolution rounds up where pooling rounds down.
            self.size = Size(-(-before.height // stride), -(-before.width // stride))
        self._add(path, "conv", c_in, c_out, before, kernel=kernel, stride=stride, weight=weight)

    def norm(self, path: str, channels: int) -> None:
        self._add(path, "norm", channels, channels, self.size)

    def avgpool(self, path: str, channels: int) -> None:
        before = self.size
        if min(before) < 2:
            raise SpecError(
                f"{self.spec} has too many periods for its images: {path} cannot halve {before.height} x {before.width}"
                " pixels; use fewer periods or larger images"
            )
        self.size = Size(before.height // 2, before.width // 2)
        self._add(path, "avgpool", channels, channels, before, kernel=2, stride=2)

    def head(self, channels: int, classes: int, *, norm: bool) -> None:
        """Batch norm (where the blocks do not end in one), global average pooling, linear with bias."""
        if norm:
            self.norm("head.norm", channels)
        before, self.size = self.size, Size(1, 1)
        self._add("head.pool", "global_pool", channels, channels, before)
        self._add("head.linear", "linear", channels, classes, self.size)

    def _add(
        self,
        path: str,
        kind: Kind,
        c_in: int,
        c_out: int,
        before: Size,
        *,
        kernel: int = 1,
        stride: int = 1,
        weight: str | None = None,
    ) -> None:
        self.rows.append(
            Row(
                path=path,
                kind=kind,
                in_channels=c_in,
                out_channels=c_out,
                kernel=kernel,
                stride=stride,
                in_size=before,
                out_size=self.size,
                weight=weight or path,
            )
        )


def _dense_layer(w: _Writer, path: str, c_in: int, growth_rate: int, bottleneck: bool, owner: str) -> None:
    """BN-ReLU-conv3x3(k), or BN-ReLU-conv1x1(4k)-BN-ReLU-conv3x3(k); the convolutions belong to layer `owner`."""
    w.norm(f"{path}.norm1", c_in)
    if bottleneck:
        w.conv(f"{path}.conv1", c_in, BOTTLENECK * growth_rate, 1, weight=f"{owner}.conv1")
        w.norm(f"{path}.norm2", BOTTLENECK * growth_rate)
        w.conv(f"{path}.conv2", BOTTLENECK * growth_rate, growth_rate, 3, weight=f"{owner}.conv2")
    else:
        w.conv(f"{path}.conv1", c_in, growth_rate, 3, weight=f"{owner}.conv1")


def _transition(w: _Writer, path: str, c_in: int, c_out: int) -> None:
    """BN-ReLU-conv1x1-avgpool2."""
    w.norm(f"{path}.norm", c_in)
    w.conv(f"{path}.conv", c_in, c_out, 1)
    w.avgpool(f"{path}.pool", c_out)


def _rknet(w: _Writer, spec: RKNet, data: Dataset) -> None:
    k = spec.growth_rate
    w.conv("stem.conv", data.channels, spec.periods[0].m * k, 3)
    for i, period in enumerate(spec.periods, 1):
        for step, layer, c_in in _dense_steps(period, k):
            path = f"period{i}.step{step}.layer{layer}"
            owner = f"period{i}.step{1 if period.share else step}.layer{layer}"
            _dense_layer(w, path, c_in, k, spec.bottleneck, owner)
        if i < len(spec.periods):
            _transition(w, f"transition{i}", period.m * k, spec.periods[i].m * k)
    w.head(spec.periods[-1].m * k, data.classes, norm=True)


def _dense_steps(period: Period, k: int) -> Iterator[tuple[int, int, int]]:
    """(time-step, layer, input channels): layer j of a time-step reads the state and the j growths before it."""
    for step in range(1, period.r + 1):
        for j in range(period.layers_per_step):
            yield step, j + 1, (period.m + j) * k


def _densenet(w: _Writer, spec: DenseNet, data: Dataset) -> None:
    k = spec.growth_rate
    channels = STEM_MULTIPLE * k
    w.conv("stem.conv", data.channels, channels, 3)
    for i in range(1, spec.BLOCKS + 1):
        for j in range(1, spec.layers_per_block + 1):
            path = f"block{i}.layer{j}"
            _dense_layer(w, path, channels, k, spec.bottleneck, path)
            channels += k
        if i < spec.BLOCKS:
            # Compression 0.5 belongs to DenseNet-BC; an odd width is rounded down.
            narrowed = channels // 2 if spec.bottleneck else channels
            _transition(w, f"transition{i}", channels, narrowed)
            channels = narrowed
    w.head(channels, data.classes, norm=True)


def _resnet(w: _Writer, spec: ResNet, data: Dataset) -> None:
    channels = spec.WIDTHS[0]
    w.conv("stem.conv", data.channels, channels, 3)
    w.norm("stem.norm", channels)
    for g, width in enumerate(spec.WIDTHS, 1):
        for b in range(1, spec.blocks_per_group + 1):
            path = f"group{g}.block{b}"
            w.conv(f"{path}.conv1", channels, width, 3, stride=RESNET_STRIDE if g > 1 and b == 1 else 1)
            w.norm(f"{path}.norm1", width)
            w.conv(f"{path}.conv2", width, width, 3)
            w.norm(f"{path}.norm2", width)
            channels = width
    w.head(channels, data.classes, norm=False)
