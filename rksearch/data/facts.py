"""All data sets by name: those of rksearch, of plugins, of the program itself, and of the user's files.

This module imports no torch, and neither do the facts that it holds; images are loaded by `rksearch.data.images`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rksearch.arch.registry import Registry
from rksearch.data.address import KINDS, is_address, read_address
from rksearch.data.dataset import Dataset, covered_size
from rksearch.errors import DataError, PluginError

__all__ = [
    "DEFAULT_DATASET",
    "KINDS",
    "Dataset",
    "covered_size",
    "dataset",
    "datasets",
    "is_address",
    "register_dataset",
]

DEFAULT_DATASET = "cifar10"
"""Data set of a command or a call that names none."""


def register_dataset(dataset: Dataset) -> Dataset:
    """Make a data set known by its name: in commands, space files, trainings and reports. Returns the data set.

    Raises:
        PluginError: it is no data set, another one has this name, or the name is that of a place.
    """
    if isinstance(dataset, Dataset) and is_address(dataset.name):
        raise PluginError(
            f"the name of a data set must not say where images are, but got {dataset.name!r}; leave out the colon"
        )
    return datasets.register(dataset)


def dataset(name: str) -> Dataset:
    """The data set of this name, which may be an address such as `folder:pets`; the images there are then read.

    Raises:
        DataError: there is none of that name.
    """
    return datasets.get(name)


class Datasets(Registry[Dataset]):
    """The registered data sets, and those that are found by address.

    An address is read again whenever its files have changed, except where another process has sent what it found: all
    processes of a run train on the same images.
    """

    def __init__(self) -> None:
        super().__init__("data set", name_of=lambda item: item.name, shipped=_shipped, error=DataError)
        self._found: dict[str, Dataset] = {}
        self._adopted: dict[str, Dataset] = {}
        self._base: Path | None = None

    def get(self, name: str) -> Dataset:
        """The data set of this name or address.

        Raises:
            DataError: there is none.
        """
        if not isinstance(name, str):
            return super().get(name)
        if is_address(name):
            return self._at(name)
        if name not in self and ("/" in name or os.path.exists(name)):
            kind = {".npz": "npz", ".rkpack": "pack"}.get(Path(name).suffix, "folder")
            raise DataError(f"a data set in files has a name such as {kind}:PATH, but got {name!r}; use {kind}:{name}")
        return super().get(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (is_address(name) or super().__contains__(name))

    def _at(self, name: str) -> Dataset:
        from rksearch.data import torchvision_sets
        from rksearch.data.own import found

        address = read_address(name)
        if address.kind == "torchvision":
            return torchvision_sets.found(address.place)
        if str(address) not in self._adopted:
            self._found[str(address)] = found(address, self._base or Path.cwd())
            return self._found[str(address)]
        return self._adopted[str(address)]

    def added(self) -> tuple[Dataset, ...]:
        """What the program itself has registered or found: other processes do not know it."""
        return (*super().added(), *self._found.values())

    def adopt(self, items: Iterable[Dataset]) -> None:
        """Add data sets that another process has registered or found."""
        items = tuple(items)
        self._adopted |= {item.name: item for item in items if is_address(item.name)}
        super().adopt(item for item in items if not is_address(item.name))

    @contextmanager
    def beneath(self, base: Path | None) -> Iterator[None]:
        """Look for relative paths beneath `base` in a `with` block; None stands for the working directory."""
        before, self._base = self._base, base
        try:
            yield
        finally:
            self._base = before


def _shipped() -> list[Dataset]:
    from rksearch.data import cifar, digits, idx, imagenet, svhn, tiny_imagenet

    return [
        cifar.CIFAR10,
        cifar.CIFAR100,
        svhn.SVHN,
        imagenet.IMAGENET,
        digits.DIGITS,
        idx.MNIST,
        idx.FASHION_MNIST,
        tiny_imagenet.TINY_IMAGENET,
    ]


datasets = Datasets()
"""All data sets, in the order in which messages list them."""
