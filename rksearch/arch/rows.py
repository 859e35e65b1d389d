"""Rows, and the writer that keeps track of the resolution while a family writes them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from rksearch.arch.image import ImageShape
from rksearch.arch.spec import ArchSpec
from rksearch.errors import SpecError

Kind = Literal["conv", "norm", "avgpool", "maxpool", "global_pool", "linear", "coefficients"]

LARGE_IMAGE = 128
"""Least height and width, in pixels, of images that enter through the ImageNet stem; smaller ones take CIFAR's.

An architecture therefore need not say which images it is for, and the paper's ImageNet networks have the same kind of
name as the others.
"""


class Size(NamedTuple):
    """Height and width of a feature map, in pixels."""

    height: int
    width: int

    @property
    def area(self) -> int:
        """Pixels of one channel."""
        return self.height * self.width

    def halved_up(self) -> Size:
        """The size after a padded convolution or maximum pooling of stride 2: rounded up, unlike average pooling."""
        return Size(-(-self.height // 2), -(-self.width // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer: `(N, in_channels, *in_size)` to `(N, out_channels, *out_size)`.

    Attributes:
        path: dotted path of the built module.
        kind: what it computes. Activations and sums have no row, because they have no cost. `coefficients` are numbers
            of a Runge-Kutta method that learn; they are no layer.
        in_channels, out_channels: widths.
        kernel, stride: of a convolution or pooling, in pixels; convolutions keep the resolution but for the stride.
        in_size, out_size: resolution before and after.
        weight: path of the row that owns the weights; equal to `path` unless weights are shared.
        numbers: count of coefficients that learn; 0 for every other kind.
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
    numbers: int = 0

    @property
    def owns_weights(self) -> bool:
        """Whether the weights are this row's own, rather than those of an earlier one."""
        return self.weight == self.path


@dataclass(frozen=True, slots=True)
class Layout:
    """All rows of one network for images of one shape, in forward order.

    Attributes:
        spec, shape: the network and its images.
        rows: the layers.
        pools_first: see `rksearch.arch.family.Family`.
    """

    spec: ArchSpec
    shape: ImageShape
    rows: tuple[Row, ...]
    pools_first: bool

    def under(self, prefix: str) -> tuple[Row, ...]:
        """The rows whose path lies under `prefix`."""
        return tuple(row for row in self.rows if row.path.startswith(prefix + "."))

    def as_trained(self) -> Layout:
        """The layout with transitions as training computes them: pooled, then convolved (see `rksearch.models.blocks`).

        Transitions of families that do not pool first stay as they are defined.
        """
        if not self.pools_first:
            return self
        rows = list(self.rows)
        for at, (conv, pool) in enumerate(itertools.pairwise(self.rows)):
            if pool.kind == "avgpool" and conv.kind == "conv":
                rows[at] = replace(pool, in_channels=conv.in_channels, out_channels=conv.in_channels)
                rows[at + 1] = replace(conv, in_size=pool.out_size, out_size=pool.out_size)
        return replace(self, rows=tuple(rows))


def image_size(shape: ImageShape) -> Size:
    """Resolution of the images."""
    return Size(shape.height, shape.width)


def is_large(shape: ImageShape) -> bool:
    """Whether images enter through conv7x7/2-BN-ReLU-maxpool3/2 instead of conv3x3."""
    return min(shape.height, shape.width) >= LARGE_IMAGE


class Writer:
    """Appends rows and keeps track of the resolution.

    Attributes:
        spec, shape: the network and its images.
        size: present resolution.
        rows: the rows so far.
    """

    def __init__(self, spec: ArchSpec, shape: ImageShape) -> None:
        self.spec = spec
        self.shape = shape
        self.size = image_size(shape)
        self.rows: list[Row] = []

    def stem(self, channels: int, *, norm: bool = False) -> None:
        """conv3x3 (and BN-ReLU where the family has it), or conv7x7/2-BN-ReLU-maxpool3/2 for large images."""
        large = is_large(self.shape)
        self.conv("stem.conv", self.shape.channels, channels, 7 if large else 3, stride=2 if large else 1)
        if norm or large:
            self.norm("stem.norm", channels)
        if large:
            before, self.size = self.size, self.size.halved_up()
            self._add("stem.pool", "maxpool", channels, channels, before, kernel=3, stride=2)

    def conv(self, path: str, c_in: int, c_out: int, kernel: int, stride: int = 1, weight: str | None = None) -> None:
        """A convolution without bias."""
        before = self.size
        if stride == 2:
            self.size = before.halved_up()
        self._add(path, "conv", c_in, c_out, before, kernel=kernel, stride=stride, weight=weight)

    def norm(self, path: str, channels: int, weight: str | None = None) -> None:
        """A batch norm."""
        self._add(path, "norm", channels, channels, self.size, weight=weight)

    def avgpool(self, path: str, channels: int) -> None:
        """Average pooling over 2 x 2 pixels.

        Raises:
            SpecError: there are fewer.
        """
        before = self.size
        if min(before) < 2:
            raise SpecError(
                f"{self.spec} has too many periods for its images: {path} cannot halve {before.height} x {before.width}"
                " pixels; use fewer periods or larger images"
            )
        self.size = Size(before.height // 2, before.width // 2)
        self._add(path, "avgpool", channels, channels, before, kernel=2, stride=2)

    def global_pool(self, path: str, channels: int, size: Size) -> None:
        """The mean over all pixels of a map of `size`; leaves the present resolution alone."""
        self._add(path, "global_pool", channels, channels, size, after=Size(1, 1))

    def linear(self, path: str, c_in: int, c_out: int) -> None:
        """A linear layer with bias."""
        self._add(path, "linear", c_in, c_out, Size(1, 1), after=Size(1, 1))

    def coefficients(self, path: str, channels: int, numbers: int) -> None:
        """Learned coefficients of the method that integrates a state of `channels`."""
        self._add(path, "coefficients", channels, channels, self.size, numbers=numbers)

    def head(self, channels: int, *, norm: bool = True) -> None:
        """Batch norm (where the blocks do not end in an activation), global average pooling, linear with bias."""
        if norm:
            self.norm("head.norm", channels)
        self.global_pool("head.pool", channels, self.size)
        self.linear("head.linear", channels, self.shape.classes)

    def multiscale_head(self, features: list[tuple[int, Size]]) -> None:
        """BN-ReLU-pool of every (channels, size), then linear with bias on their concatenation."""
        for i, (channels, size) in enumerate(features, 1):
            self.size = size
            self.norm(f"head.scale{i}.norm", channels)
            self.global_pool(f"head.scale{i}.pool", channels, size)
        self.linear("head.linear", sum(channels for channels, _ in features), self.shape.classes)

    def _add(
        self,
        path: str,
        kind: Kind,
        c_in: int,
        c_out: int,
        before: Size,
        *,
        after: Size | None = None,
        kernel: int = 1,
        stride: int = 1,
        weight: str | None = None,
        numbers: int = 0,
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
                out_size=after or self.size,
                weight=weight or path,
                numbers=numbers,
            )
        )
