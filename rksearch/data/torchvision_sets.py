"""Classification data sets of torchvision by the name of their class: `torchvision:KMNIST`. No torch until loaded.

Their images are brought to 0..1 and no further, since no normalisation is published with them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.data.dataset import Dataset, Images
from rksearch.data.idx import load_idx, parsed, read_idx
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


NOT_READ = {
    "CelebA": "has forty labels for each image; choose one, save it and the images by numpy.savez, and use npz:FILE",
    "LFWPeople": "has one image of most people; choose people, save their images by numpy.savez, and use npz:FILE",
    "Omniglot": "has other characters in its test set than in training; divide the images of each character, save them "
    "by numpy.savez, and use npz:FILE",
    "PCAM": "is 8 GB of pixels in HDF5 files, too many to lie in memory; write a folder for each class, and use "
    "folder:PATH",
    "RenderedSST2": "is 6 GB of pixels, too many to lie in memory, but lies in a folder for each class; use "
    "folder:PATH/rendered-sst2",
}
"""Classification data sets of torchvision with images of one size that are not read here: why, and what to do."""

EUROSAT_URL = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"
EUROSAT_ARCHIVE, EUROSAT_MD5 = "EuroSAT.zip", "c8fa014336c82ac7804f0398fcb19387"

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
    if class_name in NOT_READ:
        raise DataError(
            f"labels and pixels of a data set that is read by its name must be usable as they are, but torchvision's "
            f"{class_name} {NOT_READ[class_name]}"
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
    qmnist = _gray(
        "QMNIST",
        10,
        28,
        source="QMNIST (Yadav and Bottou 2019), MNIST's 60,000 training images and 60,000 test images in place of its "
        "10,000",
        licence="3-clause BSD",
        citation="C. Yadav and L. Bottou (2019), Cold case: the lost MNIST digits, NeurIPS",
        load=_load_qmnist,
    )
    fer2013 = replace(
        _gray(
            "FER2013",
            7,
            48,
            source="FER2013 (Goodfellow et al. 2013), faces, 28,709 training and 7,178 test images, public and private",
            licence="not stated",
            citation="I. J. Goodfellow et al. (2013), Challenges in representation learning: a report on three machine "
            "learning contests, ICONIP",
            load=_load_fer2013,
        ),
        crop_padding=6,
        flip=True,
        class_names=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
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
    eurosat = replace(
        stl10,
        name="torchvision:EuroSAT",
        height=64,
        width=64,
        crop_padding=8,
        source=f"EuroSAT (Helber et al. 2019), land seen by Sentinel-2, 27,000 images, {_OWN_TEST}",
        licence="MIT",
        citation="P. Helber et al. (2019), EuroSAT: a novel dataset and deep learning benchmark for land use and land "
        "cover classification, IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing 12",
        class_names=("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture",
                     "PermanentCrop", "Residential", "River", "SeaLake"),
        load=_load_eurosat,
    )  # fmt: skip
    semeion = _gray(
        "SEMEION",
        10,
        16,
        source=f"Semeion (Buscema 1998), handwritten digits in black and white, 1,593 images, {_OWN_TEST}",
        licence="Creative Commons Attribution 4.0",
        citation="M. Buscema (1998), Metanet: the theory of independent judges, Substance Use and Misuse 33",
        load=_load_semeion,
    )
    named = (kmnist, qmnist, fer2013, stl10, usps, eurosat, semeion)
    return {**{data.name.partition(":")[2]: data for data in named}, **_emnist()}


_OWN_TEST = "of which a fifth of each class, chosen by the hash of their pixels, are for testing"


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


def _load_qmnist(data_dir: Path, download: bool) -> Images:
    """All images of QMNIST; of each image's eight labels the first, its digit.

    Raises:
        DataError: archives are missing or damaged and must not or cannot be downloaded.
    """
    from torchvision.datasets import QMNIST

    from rksearch.data.downloads import as_served, ensure

    name, folder = "torchvision:QMNIST", "QMNIST/raw"
    files = [(url, url.rpartition("/")[2], md5) for part in ("train", "test") for url, md5 in QMNIST.resources[part]]
    remote = as_served(name, data_dir, folder, files, url=files[0][0].rpartition("/")[0], damaged=f"{folder}/*.gz")
    ensure(remote, download=download)
    train, train_labels, test, test_labels = (read_idx(name, remote.home / file) for _, file, _ in files)
    return Images(
        train_images=train.unsqueeze(1),
        train_labels=train_labels[:, 0].long(),
        test_images=test.unsqueeze(1),
        test_labels=test_labels[:, 0].long(),
    )


FER2013_FILES = ("fer2013.csv", "icml_face_data.csv")
"""Files of FER2013 that have the labels of its test images; either will do."""


def _load_fer2013(data_dir: Path, download: bool) -> Images:
    """All images of FER2013, from a file that only people with an account can download.

    Raises:
        DataError: the file is missing or damaged.
    """
    import numpy as np
    from torchvision.datasets import FER2013

    home = data_dir / "fer2013"
    found = next((file for file in FER2013_FILES if os.path.isfile(home / file)), None)
    rule = f"torchvision:FER2013 needs {' or '.join(FER2013_FILES)} in {home}"
    if found is None:
        raise DataError(
            f"{rule}, but there is neither; download one from Kaggle's challenge in facial expression "
            "recognition, which asks for an account, and put it there"
        )
    try:
        parts = [FER2013(data_dir, split=part) for part in ("train", "test")]
    except RuntimeError:
        raise DataError(f"{rule}, but {found} is damaged (its checksum differs); download it again") from None
    pixels, labels = [], []
    for part in parts:
        images, classes = zip(*part, strict=True)
        pixels.append(np.stack([np.asarray(image) for image in images])[:, None])
        labels.append(classes)
    return _images(pixels[0], labels[0], pixels[1], labels[1])


def _load_usps(data_dir: Path, download: bool) -> Images:
    """All images of USPS; see `found` for what it raises."""
    from torchvision.datasets import USPS

    from rksearch.data.downloads import as_served, ensure

    files = [tuple(USPS.split_list[part]) for part in ("train", "test")]
    remote = as_served("torchvision:USPS", data_dir, "", files, url=files[0][0].rpartition("/")[0], damaged="usps*.bz2")
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

    from rksearch.data.downloads import as_served, ensure

    name, archive, folder = f"torchvision:EMNIST-{part}", EMNIST.url.rpartition("/")[2], "EMNIST/raw"
    files = [(EMNIST.url, archive, EMNIST.md5)]
    remote = as_served(name, data_dir, folder, files, url=EMNIST.url, damaged=f"{folder}/{archive}")
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


def _load_eurosat(data_dir: Path, download: bool) -> Images:
    """All images of EuroSAT, read from its archive.

    Raises:
        DataError: the archive is missing or damaged and must not or cannot be downloaded.
    """
    import io
    import zipfile

    import numpy as np
    from PIL import Image

    from rksearch.data.downloads import as_served, ensure

    name, folder = "torchvision:EuroSAT", "eurosat"
    archives = [(EUROSAT_URL + EUROSAT_ARCHIVE, EUROSAT_ARCHIVE, EUROSAT_MD5)]
    remote = as_served(name, data_dir, folder, archives, url=EUROSAT_URL, damaged=f"{folder}/{EUROSAT_ARCHIVE}")
    ensure(remote, download=download)
    label_of = {word: label for label, word in enumerate(_known()["EuroSAT"].class_names)}
    with zipfile.ZipFile(remote.home / EUROSAT_ARCHIVE) as whole:
        files = sorted(file for file in whole.namelist() if file.endswith(".jpg"))
        pixels = np.empty((len(files), 3, 64, 64), dtype=np.uint8)
        for place, file in enumerate(files):
            with Image.open(io.BytesIO(whole.read(file))) as image:
                pixels[place] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    labels = np.array([label_of[file.split("/")[-2]] for file in files], dtype=np.int64)
    return _with_own_test(name, pixels, labels)


def _load_semeion(data_dir: Path, download: bool) -> Images:
    """All images of Semeion.

    Raises:
        DataError: the file is missing or damaged and must not or cannot be downloaded.
    """
    from torchvision.datasets import SEMEION

    from rksearch.data.downloads import as_served, ensure

    name, file, md5 = "torchvision:SEMEION", SEMEION.filename, SEMEION.md5_checksum
    remote = as_served(name, data_dir, "", [(SEMEION.url, file, md5)], url=SEMEION.url, damaged=file)
    ensure(remote, download=download)
    whole = SEMEION(data_dir, download=False)
    return _with_own_test(name, whole.data[:, None], whole.labels)


def _with_own_test(name: str, pixels: Any, labels: Any) -> Images:
    """Images (N, C, H, W) of a data set without a test set: a fifth of each class becomes one, by its hash."""
    from rksearch.data.address import read_address
    from rksearch.data.collected import parted

    train, test, _ = parted(
        read_address(name), {"train": (pixels, labels)}, classes=_known()[name.partition(":")[2]].classes
    )
    return _images(*train, *test)


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
