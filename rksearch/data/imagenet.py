"""ImageNet ILSVRC 2012 in the folders that torchvision reads: `imagenet/train` and `imagenet/val`; images are streamed.

imagenet/train/n01440764/n01440764_10026.JPEG ...   one folder for each of the 1000 synsets
imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG ...
imagenet/meta.bin                                    the development kit as torchvision keeps it; need not be there

Labels number the synsets in the order of their names, as torchvision does. With `meta.bin`, the folders must be those
of its synsets, and `val` may hold the images as the archive has them, without folders: the labels are read from there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.data.dataset import Dataset
from rksearch.errors import DataError, unreadable
from rksearch.ordinary import absence

if TYPE_CHECKING:
    from rksearch.data.order import Keys, Labels
    from rksearch.data.pictures import Stored

FOLDER = "imagenet"
META = "meta.bin"

ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
"""Files by image-net.org that torchvision unpacks."""


def _load(data_dir: Path, download: bool) -> Stored:
    """All images, to be streamed; the test images are the official validation images, since those for testing have no
    labels. They are never downloaded.

    Raises:
        DataError: folders or images are missing.
    """
    from rksearch.data.pictures import FilePictures, Stored

    home = data_dir / FOLDER
    for part in ("train", "val"):
        if not os.path.isdir(home / part):
            raise DataError(
                f"imagenet needs the folders train and val in {home}, but {part} {absence(home / part)}; link or "
                f"move them there, or put {', '.join(ARCHIVES)} there, by hand from image-net.org, and unpack them by "
                f"torchvision.datasets.ImageNet({str(home)!r}, {part!r})"
            )
    meta = _meta(home)
    names = _synsets(home, meta)
    train, test = (FilePictures(root=home, keys=tuple(keys), labels=labels) for keys, labels in
                   (_listed(home, "train", names), _test_listed(home, names, meta)))  # fmt: skip
    return Stored(train=train, test=test)


def _meta(home: Path) -> tuple[frozenset[str], tuple[str, ...]] | None:
    """Synsets, and that of each validation image in the order of the files' names; None where there is no such file."""
    path = home / META
    if not os.path.isfile(path):
        return None
    import torch

    try:
        words, tested = torch.load(path, weights_only=True)
        return frozenset(words), tuple(map(str, tested))
    except OSError as error:
        raise unreadable(META, path, error) from error
    except Exception as error:  # damaged bytes end torch's reader in errors of any kind
        raise DataError(
            f"{path} must be the file that torchvision writes, but cannot be read as one ({type(error).__name__}); "
            "remove it, or let torchvision.datasets.ImageNet write it again"
        ) from error


def _synsets(home: Path, meta: tuple[frozenset[str], tuple[str, ...]] | None) -> tuple[str, ...]:
    """Folders of the classes in the order of their labels."""
    from rksearch.data.folder import folders

    names = tuple(folders(home / "train"))
    if len(names) != IMAGENET.classes:
        raise DataError(
            f"imagenet must have {IMAGENET.classes:,} classes, but {home / 'train'} has {len(names):,} folder"
            f"{'' if len(names) == 1 else 's'}; "
            f"complete it, or train on it as folder:{home},size=224,stream=yes"
        )
    unknown = sorted(set(names) - meta[0]) if meta else []
    if unknown:
        raise DataError(
            f"the folders in {home / 'train'} must be synsets of {META}, but {unknown[0]} is none; rename or remove it"
        )
    return names


def _listed(home: Path, part: str, names: tuple[str, ...]) -> tuple[Keys, Labels]:
    """Keys and labels of a part with one folder for each synset."""
    import numpy as np

    from rksearch.data.streamed_folder import listed

    keys, labels = listed(home, home / part, names)
    missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if len(missing):
        raise DataError(
            f"each class of imagenet must have images, but {home / part / names[int(missing[0])]} has none; complete it"
        )
    return keys, labels


def _test_listed(
    home: Path, names: tuple[str, ...], meta: tuple[frozenset[str], tuple[str, ...]] | None
) -> tuple[Keys, Labels]:
    """Keys and labels of the validation images, with or without folders."""
    import os

    import numpy as np

    from rksearch.data.folder import files, folders

    if folders(home / "val"):
        return _listed(home, "val", names)
    found = list(files(home / "val"))
    if meta is None:
        raise DataError(
            f"the images in {home / 'val'} must lie in folders of their synsets, as in train, or {META} must be beside "
            f"it, but neither is so; move them into such folders, or put {ARCHIVES[2]} into {home}, from which "
            f"torchvision.datasets.imagenet.parse_devkit_archive({str(home)!r}) writes {META}"
        )
    if len(found) != len(meta[1]):
        raise DataError(
            f"{home / 'val'} must have the {len(meta[1]):,} images of {META}, but has {len(found):,}; complete it"
        )
    label_of = {name: label for label, name in enumerate(names)}
    strange = sorted(set(meta[1]) - set(names))
    if strange:
        raise DataError(
            f"{home / 'train'} must have a folder for each synset of {META}, but lacks {strange[0]}; add it"
        )
    keys = np.empty(len(found), dtype=np.object_)
    keys[:] = [os.fsencode(path.relative_to(home).as_posix()) for path in found]
    return keys, np.array([label_of[name] for name in meta[1]], dtype=np.int64)


IMAGENET = Dataset(
    name="imagenet",
    channels=3,
    height=224,
    width=224,
    classes=1000,
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    normalisation="the numbers of torchvision's reference training",
    flip=True,
    val_fraction=0.02,
    source="ImageNet ILSVRC 2012, 1,281,167 training images; tested on the 50,000 official validation images, because "
    "those for testing have no labels. Not downloaded: the images may not be redistributed",
    licence="for non-commercial research and teaching only, by agreement with image-net.org",
    citation="O. Russakovsky et al. (2015), ImageNet large scale visual recognition challenge, International Journal "
    "of Computer Vision 115",
    streamed=True,
    most_train_images=1_256_044,
    load=_load,
)
