"""Architectures as values: what is searched, named, stored and compared.

A spec says which network, and nothing about the data: widths, resolutions and counts follow from a spec and a data set
in `rksearch.layout`. Every spec has one canonical name; `parse(str(spec)) == spec` and `str(parse(name)) == name`.

Names
-----
=====================================  =================================================================
`RKNet-k12-m2_14_26-6x1_1x1_1x1`       dense family: growth rate 12, growth multiples 2, 14, 26; s x r per period
`RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2`   with bottlenecks; periods marked `s` share convolutions across time-steps
`DenseNet-40-k12`                      DenseNet of depth 40 = 3n + 4, growth rate 12
`DenseNet-BC-100-k12`                  bottlenecks and compression 0.5, depth 100 = 6n + 4
`ResNet-20`                            ResNet for 32 x 32 images, depth 20 = 6n + 2, widths 16-32-64
=====================================  =================================================================

Sources: Zhu and Fu, arXiv 1802.08831, section 3 (RKNet); Huang et al., arXiv 1608.06993 (DenseNet); He et al.,
arXiv 1512.03385, section 4.2 (ResNet).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from rksearch.errors import SpecError, nearest

MAX_CONV_LAYERS = 10_000
"""More 3x3 layers than this in one network is taken for a typing error rather than built."""

MAX_NUMBER = 999_999
"""The largest number that may stand in a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One period: a state of m growths integrated by an s-stage Runge-Kutta method over r time-steps.

    Attributes:
        m: growth multiple; the state has m * k channels, where k is the growth rate.
        s: stages of the method; each is a group of m densely connected layers.
        r: time-steps; each applies the method once.
        share: whether the time-steps share their convolutions (batch norms are never shared).

    Raises:
        SpecError: a number is out of range, or `share` is set where r = 1 (a second name for one network).
    """

    m: int
    s: int
    r: int
    share: bool = False

    def __post_init__(self) -> None:
        for field in ("m", "s", "r"):
            _check_positive(field, getattr(self, field))
        if self.share and self.r == 1:
            raise SpecError(
                f"sharing needs at least two time-steps, but got {self.s}x1s; "
                f"with r = 1 it changes nothing: write {self.s}x1"
            )

    @property
    def layers_per_step(self) -> int:
        """Densely connected layers in one time-step: s groups of m."""
        return self.s * self.m

    @property
    def method(self) -> str:
        """The `s x r` part of a name, with `s` appended where convolutions are shared: `1x8s`."""
        return f"{self.s}x{self.r}{'s' if self.share else ''}"


@dataclass(frozen=True, slots=True)
class ArchSpec(ABC):
    """An architecture: hashable, comparable, and equal exactly when its name is equal."""

    @property
    @abstractmethod
    def family(self) -> str:
        """Machine name of the family: dense, dense_bc, densenet, densenet_bc or resnet."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The canonical name; `parse` is its inverse."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RKNet(ArchSpec):
    """A Runge-Kutta network of the dense families (paper, sections 3.1 and 4).

    Attributes:
        growth_rate: channels k that each layer adds.
        periods: one entry per period, finest resolution first.
        bottleneck: whether a layer is BN-ReLU-conv1x1(4k)-BN-ReLU-conv3x3(k) (`dense_bc`) or BN-ReLU-conv3x3(k)
            (`dense`).

    Raises:
        SpecError: growth rate below 1, no period, or more layers than `MAX_CONV_LAYERS`.
    """

    growth_rate: int
    periods: tuple[Period, ...]
    bottleneck: bool = True

    def __post_init__(self) -> None:
        _check_positive("growth rate k", self.growth_rate)
        if not self.periods:
            raise SpecError("an RKNet needs at least one period, but got none")
        layers = sum(p.layers_per_step * p.r for p in self.periods)
        _check_layers(layers)

    @property
    def family(self) -> str:
        """`dense_bc` with bottlenecks, `dense` without."""
        return "dense_bc" if self.bottleneck else "dense"

    @property
    def name(self) -> str:
        """For example `RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2`."""
        bc = "-BC" if self.bottleneck else ""
        ms = "_".join(str(p.m) for p in self.periods)
        methods = "_".join(p.method for p in self.periods)
        return f"RKNet{bc}-k{self.growth_rate}-m{ms}-{methods}"


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
        _check_depth(self.depth, unit=6 if self.bottleneck else 3, offset=4)
        _check_positive("growth rate k", self.growth_rate)

    @property
    def family(self) -> str:
        """`densenet_bc` with bottlenecks, `densenet` without."""
        return "densenet_bc" if self.bottleneck else "densenet"

    @property
    def layers_per_block(self) -> int:
        """Densely connected layers n in each block."""
        return (self.depth - 4) // (6 if self.bottleneck else 3)

    @property
    def name(self) -> str:
        """For example `DenseNet-BC-100-k12`."""
        return f"DenseNet{'-BC' if self.bottleneck else ''}-{self.depth}-k{self.growth_rate}"


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
        _check_depth(self.depth, unit=6, offset=2)

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


def parse(name: str) -> ArchSpec:
    """The spec whose canonical name is `name`.

    Raises:
        SpecError: the name is malformed; the message says what was expected and at which character.
    """
    return _Parser(name).parse()


class _Parser:
    """Reads a name from left to right, so that an error can point at a character."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.at = 0

    def parse(self) -> ArchSpec:
        heads = {"RKNet": self._rknet, "DenseNet": self._densenet, "ResNet": self._resnet}
        head = re.match(r"[A-Za-z]*", self.name)
        word = head.group() if head else ""
        if word not in heads:
            raise self._error(
                f"a name starts with {', '.join(heads)}{nearest(word, heads)}; "
                "for example RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2"
            )
        self.at = len(word)
        try:
            spec = heads[word]()
        except SpecError as error:
            if isinstance(error, _ParseError):
                raise
            raise SpecError(f"bad architecture name {self.name!r}: {error}") from None
        if self.at != len(self.name):
            raise self._error("expected the end of the name")
        return spec

    def _rknet(self) -> RKNet:
        self._literal("-")
        bottleneck = self._optional("BC-")
        self._literal("k")
        growth_rate = self._integer("the growth rate")
        self._literal("-m")
        ms = [self._integer("a growth multiple m")]
        while self._optional("_"):
            ms.append(self._integer("a growth multiple m"))
        self._literal("-")
        periods = []
        for i, m in enumerate(ms):
            if i and not self._optional("_"):
                raise self._error(
                    f"expected '_' and s x r of period {i + 1}, because {len(ms)} growth multiples are given"
                )
            start = self.at
            s = self._integer("the number of stages s")
            self._literal("x")
            r = self._integer("the number of time-steps r")
            share = self._optional("s")
            if share and r == 1:
                self.at = start
                raise self._error(f"with r = 1 sharing changes nothing: write {s}x1 instead of {s}x1s")
            periods.append(Period(m=m, s=s, r=r, share=share))
        if self.name.startswith("_", self.at):
            raise self._error(f"only {len(ms)} growth multiples are given, but s x r of another period follows")
        return RKNet(growth_rate=growth_rate, periods=tuple(periods), bottleneck=bottleneck)

    def _densenet(self) -> DenseNet:
        self._literal("-")
        bottleneck = self._optional("BC-")
        depth = self._integer("the depth")
        self._literal("-k")
        return DenseNet(depth=depth, growth_rate=self._integer("the growth rate"), bottleneck=bottleneck)

    def _resnet(self) -> ResNet:
        self._literal("-")
        return ResNet(depth=self._integer("the depth"))

    def _literal(self, text: str) -> None:
        if not self._optional(text):
            raise self._error(f"expected {text!r}")

    def _optional(self, text: str) -> bool:
        found = self.name.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def _integer(self, what: str) -> int:
        digits = re.compile(r"[1-9][0-9]{0,5}(?![0-9])").match(self.name, self.at)
        if not digits:
            raise self._error(f"expected {what}, a whole number from 1 to {MAX_NUMBER} without leading zeros")
        self.at = digits.end()
        return int(digits.group())

    def _error(self, rule: str) -> SpecError:
        rest = self.name[self.at :]
        found = repr(rest) if rest else "the end"
        return _ParseError(f"bad architecture name {self.name!r} at character {self.at + 1} ({found}): {rule}")


class _ParseError(SpecError):
    """A spec error that already points into the name."""


def _check_positive(what: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_NUMBER:
        raise SpecError(f"{what} must be a whole number from 1 to {MAX_NUMBER}, but got {value!r}")


def _check_layers(layers: int) -> None:
    if layers > MAX_CONV_LAYERS:
        raise SpecError(f"a network may have at most {MAX_CONV_LAYERS:,} layers, but this one has {layers:,}")


def _check_depth(depth: int, *, unit: int, offset: int) -> None:
    _check_positive("depth", depth)
    n, rest = divmod(depth - offset, unit)
    if n < 1 or rest:
        lower = max(1, n) * unit + offset
        raise SpecError(
            f"depth must be {unit}n + {offset} with n at least 1, but got {depth}; "
            f"the nearest are {lower} and {lower + unit}"
        )
    _check_layers(3 * n)
