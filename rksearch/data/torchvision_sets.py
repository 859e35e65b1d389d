"""Classification data sets of torchvision by the name of their class: `torchvision:KMNIST`. No torch until loaded.

Their images are brought to 0..1 and no further, since no normalisation is published with them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.data.dataset import Dataset, Images
from rksearch.data.idx import load_idx, parsed
from rksearch.errors import DataError, nearest

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = {
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "SVHN": "svhn",
    "MNIST": "mnist",
    "FashionMNIST": "fashion_mnist",
    "ImageNet": "imagenet",
}
"""Classes of torchvision that have a name of their own here."""

SIZES_DIFFER = (
    *("Caltech101", "Caltech256", "Country211", "DTD", "FGVCAircraft", "Flowers102", "Food101", "GTSRB"),
    *("INaturalist", "Imagenette", "OxfordIIITPet", "Places365", "SUN397", "StanfordCars"),
)
"""Classification data sets of torchvision whose images have many sizes."""


EMNIST_CLASSES = {"balanced": 47, "bymerge": 47, "byclass": 62, "letters": 26, "digits": 10, "mnist": 10}
"""Numbers of classes of the splits of EMNIST. The files count letters from 1; here labels begin at 0."""


def found(class_name: str) -> Dataset:
    """The data set of a class of torchvision.

    Raises:
        DataError: the class is unknown, no classification data set, or its images have many sizes.
    """
    known = _known()
    if class_name in known:
        return known[class_name]
    if class_name == "EMNIST":
        raise DataError(
            f"EMNIST has several splits, of which the name must say one, but got 'torchvision:EMNIST'; use "
            f"torchvision:EMNIST-balanced, or another of {', '.join(EMNIST_CLASSES)}"
        )
    if class_name in SHIPPED:
        raise DataError(
            f"torchvision's {class_name} has a name of its own here, but got 'torchvision:{class_name}'; "
            f"use {SHIPPED[class_name]}"
        )
    if class_name in SIZES_DIFFER:
        raise DataError(
            f"the images of a data set must have one size, but those of torchvision's {class_name} have many; "
            "sort them into folders and use folder:PATH,size=N"
        )
    raise DataError(
        f"torchvision:NAME must be one of {', '.join(known)}, which are classification data sets with images of one "
        f"size, but got {class_name!r}{nearest(class_name, known)}; use folder:PATH for other images"
    )


def _known() -> dict[str, Dataset]:
    """All data sets by the name that follows `torchvision:`."""
    kmnist = _gray(
        "KMNIST",
        10,
        28,
        source="KMNIST (Clanuwat et al. 2018), Japanese characters, 60,000 training and 10,000 test images",
        licence="Creative Commons Attribution-ShareAlike 4.0",
        citation="T. Clanuwat et al. (2018), Deep learning for classical Japanese literature, arXiv:1812.01718",
        load=partial(load_idx, "torchvision:KMNIST", "KMNIST"),
    )
    usps = _gray(
        "USPS",
        10,
        16,
        source="USPS (Hull 1994), handwritten digits, 7,291 training and 2,007 test images",
        licence="not stated",
        citation="J. J. Hull (1994), A database for handwritten text recognition research, IEEE Transactions on "
        "Pattern Analysis and Machine Intelligence 16",
        load=_load_usps,
    )
    stl10 = Dataset(
        name="torchvision:STL10",
        channels=3,
        height=96,
        width=96,
        classes=10,
        mean=(0.0,) * 3,
        std=(255.0,) * 3,
        normalisation="pixels divided by 255",
        crop_padding=12,
        flip=True,
        source="STL-10 (Coates et al. 2011), 5,000 labelled training and 8,000 test images, through torchvision",
        licence="not stated; the images are from ImageNet",
        citation="A. Coates, H. Lee and A. Y. Ng (2011), An analysis of single-layer networks in unsupervised feature "
        "learning, AISTATS",
        load=_load_stl10,
    )
    return {"KMNIST": kmnist, "STL10": stl10, "USPS": usps, **_emnist()}


def _emnist() -> dict[str, Dataset]:
    """The splits of EMNIST: `EMNIST-balanced` and so on."""
    return {
        f"EMNIST-{part}": _gray(
            f"EMNIST-{part}",
            classes,
            28,
            source=f"EMNIST (Cohen et al. 2017), handwritten digits and letters, split {part!r}",
            licence="not stated",
            citation="G. Cohen et al. (2017), EMNIST: an extension of MNIST to handwritten letters, arXiv:1702.05373",
            load=partial(_load_emnist, part),
        )
        for part, classes in EMNIST_CLASSES.items()
    }


def _gray(name: str, classes: int, side: int, **about: Any) -> Dataset:
    about["source"] += ", through torchvision"
    return Dataset(
        name=f"torchvision:{name}",
        channels=1,
        height=side,
        width=side,
        classes=classes,
        mean=(0.0,),
        std=(255.0,),
        normalisation="pixels divided by 255",
        crop_padding=2,
        **about,
    )


def _load_usps(data_dir: Path, download: bool) -> Images:
    """All images of USPS; see `found` for what it raises."""
    from torchvision.datasets import USPS

    from rksearch.data.downloads import Remote, ensure
    from rksearch.data.fetching import fetch

    files = [tuple(USPS.split_list[part]) for part in ("train", "test")]

    def fetched() -> None:
        for url, name, md5 in files:
            fetch(url, data_dir / name, md5)

    remote = Remote(
        dataset="torchvision:USPS",
        directory=data_dir,
        folder="",
        files=tuple((name, md5) for _, name, md5 in files),
        url=files[0][0].rpartition("/")[0],
        damaged="usps*.bz2",
        fetch=fetched,
    )
    ensure(remote, download=download)
    train, test = (USPS(data_dir, train=part, download=False) for part in (True, False))
    return _images(train.data[:, None], train.targets, test.data[:, None], test.targets)


def _load_emnist(part: str, data_dir: Path, download: bool) -> Images:
    """All images of a split of EMNIST, read from its one archive; on their side, as the files have them.

    Raises:
        DataError: the archive is missing or damaged and must not or cannot be downloaded.
    """
    import gzip
    import zipfile

    from torchvision.datasets import EMNIST

    from rksearch.data.downloads import Remote, ensure
    from rksearch.data.fetching import fetch

    name, archive, folder = f"torchvision:EMNIST-{part}", EMNIST.url.rpartition("/")[2], "EMNIST/raw"
    remote = Remote(
        dataset=name,
        directory=data_dir,
        folder=folder,
        files=((archive, EMNIST.md5),),
        url=EMNIST.url,
        damaged=f"{folder}/{archive}",
        fetch=lambda: fetch(EMNIST.url, data_dir / folder / archive, EMNIST.md5),
    )
    ensure(remote, download=download)
    with zipfile.ZipFile(remote.home / archive) as whole:

        def read(kind: str) -> Tensor:
            file = f"emnist-{part}-{kind}-ubyte.gz"
            return parsed(name, file, gzip.decompress(whole.read(f"gzip/{file}")))

        first = 1 if part == "letters" else 0
        return Images(
            train_images=read("train-images-idx3").unsqueeze(1),
            train_labels=read("train-labels-idx1").long() - first,
            test_images=read("test-images-idx3").unsqueeze(1),
            test_labels=read("test-labels-idx1").long() - first,
        )


def _load_stl10(data_dir: Path, download: bool) -> Images:
    """All labelled images of STL-10."""
    from torchvision.datasets import STL10

    from rksearch.data.downloads import Remote, ensure
    from rksearch.data.fetching import extract, fetch

    files = tuple((name, md5) for name, md5 in (*STL10.train_list, *STL10.test_list))

    def fetched() -> None:
        fetch(STL10.url, data_dir / STL10.filename, STL10.tgz_md5)
        extract(
            data_dir / STL10.filename,
            {f"{STL10.base_folder}/{name}": data_dir / STL10.base_folder / name for name, _ in files},
        )

    remote = Remote(
        dataset="torchvision:STL10",
        directory=data_dir,
        folder=STL10.base_folder,
        files=files,
        url=STL10.url,
        damaged=STL10.filename,
        fetch=fetched,
    )
    ensure(remote, download=download)
    train, test = (STL10(data_dir, split=part, download=False) for part in ("train", "test"))
    return _images(train.data, train.labels, test.data, test.labels)


def _images(train: Any, train_labels: Any, test: Any, test_labels: Any) -> Images:
    """Images of arrays (N, C, H, W) and labels (N,)."""
    import numpy as np
    import torch

    def pixels(values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.uint8))

    def labels(values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values).astype(np.int64))

    return Images(
        train_images=pixels(train),
        train_labels=labels(train_labels),
        test_images=pixels(test),
        test_labels=labels(test_labels),
    )
