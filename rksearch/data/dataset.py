"""A data set as a value: facts for layouts, costs and spaces, and the function that loads its images.

This module imports no torch. `rksearch.data.facts` has all data sets by name, `rksearch.data.images` loads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from rksearch.arch.image import ImageShape
from rksearch.errors import DataError
from rksearch.plain import is_finite, is_flag, is_whole, make_plain

if TYPE_CHECKING:
    from torch import Tensor

    from rksearch.data.pictures import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A data set in memory, on the CPU.

    Attributes:
        train_images, test_images: uint8 pixels (N, C, H, W).
        train_labels, test_labels: int64 labels (N,).
        held_out: int64 indices (V,) of the training images that the data set itself holds out for validation; None
            where rksearch chooses them.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    held_out: Tensor | None = None


def _all(suits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and all(map(suits, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "text"),
    "channels": (is_whole, "a whole number"),
    "height": (is_whole, "a whole number"),
    "width": (is_whole, "a whole number"),
    "classes": (is_whole, "a whole number"),
    "mean": (_all(is_finite), "a tuple of numbers"),
    "std": (_all(is_finite), "a tuple of numbers"),
    "crop_padding": (is_whole, "a whole number"),
    "flip": (is_flag, "True or False"),
    "val_fraction": (is_finite, "a number"),
    "class_names": (_all(_is_text), "a tuple of texts"),
    "load": (lambda value: value is None or callable(value), "a function"),
}
"""Of each fact that a data set from outside may have of another type a test, and its type in words."""


Loader: TypeAlias = "Callable[[Path, bool], Images | Stored]"
"""Loads all images of a data set, or finds those that are streamed.

Called with the directory for data sets that the user chose, and whether missing files may be downloaded to it. A
loader imports torch and other large packages when it is called, and raises `DataError` when it fails.
"""


STREAMED = "scale_aspect"
"""The augmentation that only streamed images have, see `rksearch.data.views`."""

EVALUATED = (256, 224)
"""With it, sides of the resized image and of its centre that is evaluated."""


def covered_size(size: tuple[int, int], augmentation: str) -> tuple[int, int]:
    """Height and width of the area that a streamed image is resized to cover, of which evaluation sees the centre.

    Args:
        size: height and width of what the network sees.
        augmentation: its kind.
    """
    if augmentation != STREAMED:
        return size
    whole, centre = EVALUATED
    height, width = (round(side * whole / centre) for side in size)
    return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(ImageShape):
    """A labelled image data set.

    Attributes:
        name: name in commands, space files and records.
        mean, std: normalisation of each channel, on the 0..255 scale of the stored pixels.
        normalisation: source of `mean` and `std`, in words.
        crop_padding: zero padding on every side before the random crop, in pixels; 0 for no random crop.
        flip: whether a mirrored image keeps its label.
        val_fraction: share of the training images of each class that is held out for validation.
        source: origin of the images, in words; reports show it.
        licence: terms of use, or what is known of them.
        citation: publication to cite.
        class_names: names of the classes in the order of their labels; empty where labels are all there is.
        fingerprint: SHA-256 of the contents, in hex, where nothing else says what they are; None for a published data
            set, whose files have known checksums.
        notes: remarks on the images for the user, one sentence each, such as files that were skipped.
        streamed: whether images are read while they are needed (the loader returns `Stored`), resized and cropped to
            `height` and `width`, instead of being held in memory.
        most_train_images: number of images to train on, those for validation left out; never too small, and None where
            it is not known. Spaces are checked by it before images are loaded; it is not compared and not recorded.
        load: loads the images; None for a data set that is known for building and counting only. Two data sets with
            equal facts are equal, whatever function loads them.

    Raises:
        DataError: a fact breaks a rule.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str = ""
    crop_padding: int = 0
    flip: bool = False
    val_fraction: float = 0.1
    source: str = ""
    licence: str = ""
    citation: str = ""
    class_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    notes: tuple[str, ...] = ()
    streamed: bool = False
    most_train_images: int | None = field(default=None, compare=False)
    # A function that was sent to another process differs from the original, so it takes no part in equality.
    load: Loader | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        make_plain(self)
        for key, (suits, kind) in _TYPES.items():
            if not suits(value := getattr(self, key)):
                raise DataError(f"data set {self.name}: {key} must be {kind}, but got {value!r}; correct it")
        rules: list[tuple[bool, str, object]] = [
            (min(self.channels, self.height, self.width) >= 1, "channels, height and width must be at least 1",
             (self.channels, self.height, self.width)),
            (self.classes >= 2, "classes must be at least 2", self.classes),
            (len(self.mean) == len(self.std) == self.channels, "mean and std must have one number per channel",
             (self.mean, self.std)),
            (all(value > 0 for value in self.std), "std must be above 0", self.std),
            (0 <= self.crop_padding < min(self.height, self.width), "crop_padding must be at least 0 and less than "
             f"the shorter side of the images, {min(self.height, self.width)}, for crops to hold some of them",
             self.crop_padding),
            (0 < self.val_fraction < 1, "val_fraction must lie between 0 and 1", self.val_fraction),
            (len(self.class_names) in (0, self.classes), f"class_names must have one name for each of {self.classes}",
             self.class_names),
        ]  # fmt: skip
        for holds, rule, value in rules:
            if not holds:
                raise DataError(f"data set {self.name}: {rule}, but got {value!r}; correct it")

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The data set with these facts, in which JSON may have made lists of tuples; it has no loader.

        Raises:
            TypeError: a fact is missing or unknown.
            DataError: a fact breaks a rule.
        """
        return cls(**facts)

    def facts(self) -> dict[str, Any]:
        """All attributes that are compared, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
