"""One's own images as data sets: found by address, loaded, and refused when they have changed."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.data.address import Address, read_address
from rksearch.data.collected import Assembled, assemble
from rksearch.data.dataset import Dataset, Images
from rksearch.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from rksearch.data.pictures import Stored
    from rksearch.data.streamed_folder import StreamedFolder


def found(address: Address, base: Path) -> Dataset:
    """The data set at an address of kind `folder`, `npz` or `pack`; images are read for its facts.

    Args:
        address: the address.
        base: directory beneath which a relative path lies.

    Raises:
        DataError: there are no images, or not as they must be.
    """
    from dataclasses import replace

    from rksearch.data import folder, pack

    path = address.path(base)
    if address.kind == "pack":
        facts = pack.open_pack(path).facts_at(address)
        return replace(facts, load=partial(_load_pack, str(address), path, facts.fingerprint))
    if address.kind == "folder" and folder.streams(address, path):
        facts = _opened(address, path, folder.signature(path)).facts
        return replace(facts, load=partial(_load_streamed, str(address), path, facts.fingerprint))
    facts = _assembled(address, path, _signature(address, path)).facts
    return replace(facts, load=partial(_load, str(address), path, facts.fingerprint))


def _load_pack(name: str, path: Path, fingerprint: str | None, data_dir: Path, download: bool) -> Stored:
    """The images of a pack; directory and download are not needed.

    Raises:
        DataError: it is gone, damaged, or another one than that with the fingerprint.
    """
    from rksearch.data import pack

    found = pack.open_pack(path)
    if found.fingerprint != fingerprint:
        raise changed(name, fingerprint, found.fingerprint)
    return found.images


def _load_streamed(name: str, path: Path, fingerprint: str | None, data_dir: Path, download: bool) -> Stored:
    """The images of a folder to be streamed; directory and download are not needed.

    Raises:
        DataError: they are gone, or others than those with the fingerprint.
    """
    from rksearch.data import folder

    own = _opened(read_address(name), path, folder.signature(path))
    if own.facts.fingerprint != fingerprint:
        raise changed(name, fingerprint, own.facts.fingerprint)
    return own.images


@lru_cache(maxsize=1)
def _opened(address: Address, path: Path, signature: str) -> StreamedFolder:
    """The folder at a path whose files have this signature; the last one is kept, since facts and images follow."""
    from rksearch.data.streamed_folder import open_folder

    return open_folder(address, path)


def _load(name: str, path: Path, fingerprint: str | None, data_dir: Path, download: bool) -> Images:
    """All images at a path; directory and download are not needed.

    Raises:
        DataError: they are gone, damaged, or others than those with the fingerprint.
    """
    import torch

    address = read_address(name)
    own = _assembled(address, path, _signature(address, path))
    if own.facts.fingerprint != fingerprint:
        raise changed(name, fingerprint, own.facts.fingerprint)

    def tensors(part: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(part[0]), torch.from_numpy(part[1])

    train_images, train_labels = tensors(own.train)
    test_images, test_labels = tensors(own.test)
    return Images(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        held_out=None if own.held_out is None else torch.from_numpy(own.held_out),
    )


def changed(name: str, before: str | None, now: str | None) -> DataError:
    """The error for images that are others than at the start; `before` and `now` are fingerprints."""
    return DataError(
        f"the images of {name} must stay as they were when the training began (SHA-256 {_short(before)}), but they "
        f"have changed ({_short(now)}); restore them{_same_memory(name)}, or begin again with another --out"
    )


def _same_memory(name: str) -> str:
    """A further remedy where the memory decides whether images are streamed, on which split and fingerprint depend."""
    options = read_address(name).options if name.startswith("folder:") else None
    if options is None or options.size is None or options.stream is not None:
        return ""
    return ", or give as much memory as there was, by which they are streamed or not where the name has no stream="


def _short(fingerprint: str | None) -> str:
    return fingerprint[:16] if fingerprint else "none"


def _signature(address: Address, path: Path) -> str:
    from rksearch.data import arrays, folder

    return folder.signature(path) if address.kind == "folder" else arrays.signature(path)


@lru_cache(maxsize=1)
def _assembled(address: Address, path: Path, signature: str) -> Assembled:
    """The data set at a path whose files have this signature; the last one is kept, since facts and images follow."""
    from rksearch.data import arrays, folder

    collect = folder.collect if address.kind == "folder" else arrays.collect
    return assemble(address, collect(address, path))
