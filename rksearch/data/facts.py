"""All data sets by name: those of rksearch, of plugins, and of the program that uses it.

This module imports no torch, and neither do the facts that it holds; images are loaded by `rksearch.data.images`.
"""

from __future__ import annotations

from rksearch.arch.registry import Registry
from rksearch.data.dataset import Dataset
from rksearch.errors import DataError

__all__ = ["DEFAULT_DATASET", "Dataset", "dataset", "datasets", "register_dataset"]

DEFAULT_DATASET = "cifar10"
"""Data set of a command or a call that names none."""


def register_dataset(dataset: Dataset) -> Dataset:
    """Make a data set known by its name: in commands, space files, trainings and reports. Returns the data set.

    Raises:
        PluginError: another data set has this name.
    """
    return datasets.register(dataset)


def dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        DataError: there is none of that name.
    """
    return datasets.get(name)


def _shipped() -> list[Dataset]:
    from rksearch.data import cifar, digits, imagenet, svhn

    return [cifar.CIFAR10, cifar.CIFAR100, svhn.SVHN, imagenet.IMAGENET, digits.DIGITS]


datasets: Registry[Dataset] = Registry("data set", name_of=lambda item: item.name, shipped=_shipped, error=DataError)
"""All data sets, in the order in which messages list them."""
