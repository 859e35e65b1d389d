"""One's own images: folders and `.npz` files, intact and damaged."""

import errno
import io
import json
import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.format import write_array_header_1_0
from PIL import Image

from rksearch import limits
from rksearch.cli.main import cli
from rksearch.data import folder
from rksearch.data.address import Address, Options, read_address
from rksearch.data.dataset import Images
from rksearch.data.decoding import resized
from rksearch.data.facts import Dataset, dataset, datasets
from rksearch.data.images import Split, load_images, split
from rksearch.data.own import changed
from rksearch.errors import DataError, SpaceError
from rksearch.space import load_space, parse_space
from tests.helpers.command_line import TINY_SPACE, python, rksearch
from tests.helpers.pictures import digits_folder, enlarged, write_folder

NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(name: str) -> tuple[Dataset, Images, Split]:
    data = dataset(name)
    images = load_images(data, NOWHERE, download=False)
    return data, images, split(data, images)


def refused(name: str) -> str:
    with pytest.raises(DataError) as caught:
        dataset(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(pixels: torch.Tensor, labels: torch.Tensor) -> Counter[tuple[bytes, int]]:
    return Counter((p.numpy().tobytes(), int(label)) for p, label in zip(pixels, labels, strict=True))


OPTIONS = st.builds(
    Options,
    size=st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    val=st.none() | st.floats(0.001, 0.999),
    test=st.none() | st.floats(0.001, 0.999),
    crop=st.none() | st.integers(0, 99),
    flip=st.none() | st.booleans(),
)
STREAMED = st.builds(replace, OPTIONS, stream=st.none() | st.booleans())


@given(options=STREAMED, place=st.from_regex(r"[a-z./ :é]*[a-z]", fullmatch=True))
def test_a_folder_is_read_as_it_is_written(options: Options, place: str) -> None:
    address = Address(kind="folder", place=place, options=options)
    assert read_address(str(address)) == address


@given(
    kind=st.sampled_from(["folder", "npz"]), options=OPTIONS, place=st.from_regex(r"[a-z./ :é]*[a-z]", fullmatch=True)
)
def test_an_address_is_read_as_it_is_written(kind: str, options: Options, place: str) -> None:
    address = Address(kind=kind, place=place, options=options)
    assert read_address(str(address)) == address


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:", "KIND:PLACE, KIND one of folder, npz, pack, torchvision, but got 'folder:'"),
        ("folder:pets,sise=3", r"options of a folder are size, .*but got 'sise=3'.*did you mean 'size'"),
        ("folder:pets,size=0", "size of .* must be one or two numbers of pixels up to 4096, but got '0'"),
        ("folder:pets,size=3x5000", "but got '3x5000'; write it as in size=32 or size=32x48"),
        ("folder:pets,val=1", "val of .* must be a share between 0 and 1, but got '1'; write it as in val=0.2"),
        ("npz:x.npz,test=nan", "must be a share between 0 and 1, but got 'nan'"),
        ("folder:pets,flip=true", "must be yes or no, but got 'true'"),
        ("folder:pets,crop=-1", "must be a number of pixels, but got '-1'"),
        ("folder:pets,crop=1,crop=1", "each option may be given once"),
        ("torchvision:KMNIST,size=3", "torchvision has no options, but got 'size=3'"),
        ("folder:nowhere", "needs a folder at .*nowhere, which is missing; correct the path"),
        ("npz:nowhere.npz", "needs a file at .*nowhere.npz, which is missing; correct the path"),
        ("npz:.", r"needs a file at .*, which is a folder; name a file in it, or images in folders as folder:\."),
        ("./pets", "has a name such as folder:PATH, but got './pets'; use folder:./pets"),
        ("pets/cells.npz", "use npz:pets/cells.npz"),
        ("pets/cells.rkpack", "use pack:pets/cells.rkpack"),
        ("pack:nowhere.rkpack", "a pack must be a file, but .*nowhere.rkpack is missing"),
        ("pack:cells.rkpack,flip=yes", r"options of a pack are size, crop, but got 'flip=yes'"),
        ("npz:cells.npz,stream=yes", "options of a npz are size, val, test, crop, flip, but got 'stream=yes'"),
    ],
)
def test_a_malformed_or_missing_address_is_one_line(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataset(name)


def test_a_folder_of_classes_is_split_by_hash(here: Path) -> None:
    pixels, labels = enlarged(classes=3, each=20)
    write_folder(here / "digs", pixels, labels)
    data, images, parts = loaded("folder:digs")
    assert (data.channels, data.height, data.width, data.classes) == (1, 12, 12, 3)
    assert data.class_names == ("class0", "class1", "class2")
    assert torch.bincount(images.test_labels).tolist() == [4, 4, 4]
    assert torch.bincount(images.train_labels[parts.val]).tolist() == [3, 3, 3]
    assert torch.bincount(images.train_labels[parts.train]).tolist() == [13, 13, 13]
    all_of_them = contents(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels))
    found = contents(images.train_images, images.train_labels) + contents(images.test_images, images.test_labels)
    assert found == all_of_them
    used = images.train_images[parts.train].double()
    assert data.mean == pytest.approx((used.mean().item(),), abs=1e-3)
    assert data.std == pytest.approx((used.std(correction=0).item(),), abs=1e-3)


def test_files_of_other_names_give_the_same_parts(here: Path) -> None:
    pixels, labels = enlarged()
    order = np.random.default_rng(0).permutation(len(labels))
    write_folder(here / "a", pixels, labels)
    write_folder(here / "b", pixels[order], labels[order])
    (_, first, of_first), (_, second, of_second) = loaded("folder:a"), loaded("folder:b")
    assert contents(first.test_images, first.test_labels) == contents(second.test_images, second.test_labels)
    for a, b in ((of_first.train, of_second.train), (of_first.val, of_second.val)):
        assert contents(first.train_images[a], first.train_labels[a]) == contents(
            second.train_images[b], second.train_labels[b]
        )


@pytest.mark.parametrize("own", [("test",), ("val",), ("val", "test")])
def test_parts_of_the_folders_own_are_kept(here: Path, own: tuple[str, ...]) -> None:
    pixels, labels = enlarged(classes=3, each=30)
    expected = {}
    for i, part in enumerate(("train", *own)):
        chosen = np.arange(len(labels)) % (len(own) + 1) == i
        write_folder(here / "digs" / part, pixels[chosen], labels[chosen])
        expected[part] = contents(torch.from_numpy(pixels[chosen])[:, None], torch.from_numpy(labels[chosen]))
    _, images, parts = loaded("folder:digs")
    if "test" in own:
        assert contents(images.test_images, images.test_labels) == expected["test"]
    if "val" in own:
        assert contents(images.train_images[parts.val], images.train_labels[parts.val]) == expected["val"]
    learned = contents(images.train_images[parts.train], images.train_labels[parts.train])
    assert not learned - expected["train"]
    if len(own) == 2:
        assert learned == expected["train"]
    smaller = split(dataset("folder:digs"), images, 6)
    assert set(smaller.train.tolist()) < set(parts.train.tolist())
    assert torch.equal(smaller.val, parts.val)


def test_colour_gray_and_palettes_may_be_mixed(here: Path) -> None:
    pixels, labels = enlarged(classes=2, each=5)
    write_folder(here / "digs", pixels, labels)
    Image.fromarray(pixels[0]).convert("RGB").save(here / "digs" / "class0" / "0000.png")
    Image.fromarray(pixels[1]).convert("P").save(here / "digs" / "class0" / "0001.png")
    _, images, _ = loaded("folder:digs")
    assert images.train_images.shape[1:] == (3, 12, 12)
    gray = torch.cat([images.train_images, images.test_images])
    assert torch.equal(gray[:, 0], gray[:, 1])
    labels_found = torch.cat([images.train_labels, images.test_labels])
    assert contents(gray[:, :1], labels_found) == contents(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels))


def test_sixteen_bits_are_scaled_and_not_cut_off(here: Path) -> None:
    deep = np.arange(12 * 12, dtype=np.uint16).reshape(12, 12) * 450
    for i in range(2):
        for j in range(4):
            home = here / "deep" / f"class{i}"
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(deep).save(home / f"{j}.png")
    _, images, _ = loaded("folder:deep")
    assert np.array_equal(images.test_images[0, 0].numpy(), deep // 256)


def test_images_of_several_sizes_need_a_size(here: Path) -> None:
    digits_folder(here / "digs", classes=2, each=6)
    Image.fromarray(np.full((30, 20), 200, np.uint8)).save(here / "digs" / "class1" / "tall.png")
    message = refused("folder:digs")
    assert "12 x 12 (class0/0000.png) to 30 x 20 (class1/tall.png)" in message
    assert "as in folder:digs,size=8" in message
    data, images, _ = loaded("folder:digs,size=8x10")
    assert (data.height, data.width) == (8, 10)
    every = torch.cat([images.train_images, images.test_images])
    assert any((image == 200).all() for image in every), "a plain image is still plain when resized and cropped"


def test_a_size_crops_the_centre(here: Path) -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = np.arange(100, 200).reshape(10, 10)
    write_folder(here / "wide", np.stack([wide] * 8), np.arange(8) % 2)
    _, images, _ = loaded("folder:wide,size=10")
    assert np.array_equal(images.test_images[0, 0].numpy(), wide[:, 10:20])


def test_unreadable_images_are_counted_and_listed(here: Path) -> None:
    home = digits_folder(here / "digs", classes=2, each=6)
    (home / "class0" / "a.png").write_bytes(b"no image at all")
    whole = (home / "class1" / "0006.png").read_bytes()
    (home / "class1" / "b.png").write_bytes(whole[: len(whole) // 2])
    (home / "class1" / "notes.txt").write_text("not an image file")
    data, images, _ = loaded("folder:digs")
    assert len(images.train_images) + len(images.test_images) == 12
    (note,) = data.notes
    assert note.startswith("2 files are skipped: class0/a.png (no image), class1/b.png (")


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    area=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    more=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_a_resized_image_is_the_centre_of_the_whole_one(
    size: tuple[int, int], area: tuple[int, int], more: tuple[int, int]
) -> None:
    """Trainings depend on every pixel, whatever is done to save work for images of odd forms."""
    bilinear = Image.Resampling.BILINEAR
    image = Image.fromarray(np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8))
    (height, width), cover = area, (area[0] + more[0], area[1] + more[1])
    scale = max(cover[0] / size[0], cover[1] / size[1])
    whole = image.resize((max(cover[1], round(size[1] * scale)), max(cover[0], round(size[0] * scale))), bilinear)
    top, left = (whole.height - height) // 2, (whole.width - width) // 2
    expected = np.asarray(whole)[top : top + height, left : left + width]
    assert np.array_equal(np.asarray(resized(image, area, cover)), expected)


LINE = 10_000_000
"""Pixels of an image one pixel high, which has some kilobytes and would need 10 GB at a size of 32."""


def with_a_line(root: Path, pixels: int = LINE) -> str:
    """Name of an image of extreme form in the first class of a folder."""
    digits_folder(root, classes=2, each=8)
    Image.fromarray(np.zeros((1, pixels), np.uint8)).save(root / "class0" / "panorama.png")
    return "class0/panorama.png (1 x 10,000,000 pixels become 32 x 320,000,000 at size 32 x 32, more than 178,956,970"


def shown(*args: str) -> tuple[int, str]:
    """Exit code and output of a command that may take 8 GB of addresses, most of which its libraries need."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)); sys.argv[1:] = {args!r}"
    done = python("-c", f"import sys; {limited}; from rksearch.cli.main import main; main()")
    return done.returncode, done.stdout + done.stderr


def test_an_image_of_extreme_form_is_skipped_and_listed(here: Path) -> None:
    line = with_a_line(here / "digs")
    code, text = shown("data", "show", "folder:digs,size=32")
    assert code == 0, text
    assert f"1 file is skipped: {line}" in text
    assert "16 images of 2 classes" not in text


def test_an_image_of_extreme_form_is_left_out_where_images_are_streamed(here: Path) -> None:
    line = with_a_line(here / "digs")
    code, text = shown("data", "show", "folder:digs,size=32,stream=yes", "--contact-sheet", "sheet.png")
    assert code == 0, text
    assert f"1 file cannot be read, and trainings leave it out: {line}" in text
    code, text = shown("data", "pack", "folder:digs,size=32,stream=yes", "--to", "digs.rkpack")
    assert code == 0, text
    assert f"left out, since it cannot be read: {line}" in text
    assert "16 images in digs.rkpack" in text


def test_arrays_of_extreme_form_or_size_are_one_line(here: Path) -> None:
    np.savez("line.npz", x=np.zeros((4, 1, LINE), np.uint8), y=np.arange(4) % 2)
    assert "but those of x do not (1 x 10,000,000 pixels become 32 x 320,000,000" in refused("npz:line.npz,size=32")
    np.savez("many.npz", x=np.zeros((99_999, 2, 2), np.uint8), y=np.arange(99_999) % 2)
    assert "those of x need 1677.7 GB at size 4096 x 4096; choose a smaller" in refused("npz:many.npz,size=4096")


@pytest.mark.parametrize("options", ["", ",size=8,stream=yes"])
@pytest.mark.parametrize("error", [MemoryError(), SystemError("returned NULL without setting an exception")])
def test_an_image_for_which_memory_is_short_is_named_and_not_left_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, options: str
) -> None:
    """The data set would be another one on another day."""
    digits_folder(here / "digs", classes=2, each=6)

    def short(image: Image.Image, mode: str) -> Image.Image:
        raise error

    monkeypatch.setattr(Image.Image, "convert", short)
    done = CliRunner().invoke(cli, ["data", "show", f"folder:digs{options}"])
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == 1
    assert re.search(r"for class\d/\d+.png there is too little; free some", str(done.exception))


def failing(monkeypatch: pytest.MonkeyPatch, number: int, inside: str) -> None:
    """Make the system refuse to open files beneath a folder of this name."""

    def refusing(opened: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str | Path) and Path(path).parent.name == inside:
                raise OSError(number, os.strerror(number), str(path))
            return opened(path, *args, **kwargs)

        return refuse

    monkeypatch.setattr(os, "open", refusing(os.open))
    monkeypatch.setattr("builtins.open", refusing(open))


@pytest.mark.parametrize("options", ["", ",size=8", ",size=8,stream=yes"])
@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EIO, "mend that, then run the same command again"),
        (errno.ESTALE, "mend that, then run the same command again"),
        (errno.EMFILE, "mend that, then run the same command again"),
        (errno.ENOMEM, "free some memory, or raise the limit of it (`ulimit -v`)"),
    ],
)
def test_a_passing_error_of_the_disk_leaves_no_image_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str, options: str
) -> None:
    """Split and fingerprint would be others, until the disk answers again."""
    digits_folder(here / "digs", classes=2, each=6)
    with monkeypatch.context() as patched:
        failing(patched, number, "class1")
        done = CliRunner().invoke(cli, ["data", "show", f"folder:digs{options}"])
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == 1
    expected = rf"each image of .*digs must be readable, but class1/\d+.png is not \({os.strerror(number)}\); "
    assert re.fullmatch(expected + re.escape(remedy), str(done.exception))
    assert dataset(f"folder:digs{options}").notes == ()


@pytest.mark.parametrize("options", ["", ",size=8", ",size=8,stream=yes"])
def test_an_image_that_others_may_not_read_is_left_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    home = digits_folder(here / "digs", classes=2, each=6)
    (home / "class1" / "locked").mkdir()
    (home / "class1" / "0006.png").rename(home / "class1" / "locked" / "a.png")
    with monkeypatch.context() as patched:
        failing(patched, errno.EACCES, "locked")
        (note,) = dataset(f"folder:digs{options}").notes
    assert note.endswith("class1/locked/a.png (Permission denied)")


def test_links_that_lead_to_no_image_are_skipped(here: Path) -> None:
    home = digits_folder(here / "digs", classes=2, each=6)
    for name, target in (("a", "gone"), ("b", "b.png"), ("c", "0000.png/x"), ("d", "x" * 300)):
        (home / "class0" / f"{name}.png").symlink_to(target)
    (note,) = dataset("folder:digs").notes
    assert note.startswith("4 files are skipped: class0/a.png (No such file or directory), class0/b.png (Too many")
    assert refused("folder:digs,size=8,stream=yes").endswith(
        "class0/a.png is not (No such file or directory); bring it back, then run the same command again"
    )


def test_a_folder_that_cannot_be_listed_says_why(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = digits_folder(here / "digs", classes=2, each=6)

    def refuse(path: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert refused("folder:digs") == (
        f"a folder of images must be readable, but {home} is not (Permission denied); correct its permissions"
    )


@pytest.mark.parametrize("options", ["", ",size=8,stream=yes"])
def test_damaged_images_of_other_formats_are_skipped(here: Path, options: str) -> None:
    """Pillow goes by the content of a file, and has no rule for the errors of all its formats."""
    home = digits_folder(here / "digs", classes=2, each=6)
    content = io.BytesIO()
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(content, "DDS")
    flags = content.getbuffer()[80:84]
    flags[:] = bytes([0, 2, 0, 0])
    for name in "abc":
        (home / "class0" / f"{name}.png").write_bytes(content.getvalue())
    (note,) = dataset(f"folder:digs{options}").notes
    assert "class0/a.png (Unknown pixel format flags 512)" in note


def two_classes(root: Path) -> Path:
    pixels, labels = enlarged(classes=2, each=6)
    return write_folder(root, pixels, labels)


@pytest.mark.parametrize("options", ["", ",size=8", ",size=8,stream=yes"])
@pytest.mark.parametrize(
    ("links", "named"),
    [
        ({"class0/loop": ".."}, "class0/loop"),
        ({"class0/x": ".", "class0/y": "."}, "class0/x"),
        ({"loop": "."}, "loop"),
        ({"class0/deep": "../../elsewhere"}, "class0/deep/back"),
        ({"class0/up": "../.."}, "class0/up"),
    ],
)
def test_a_link_that_leads_back_is_one_line(here: Path, links: dict[str, str], named: str, options: str) -> None:
    root = two_classes(here / "digs")
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "back").symlink_to(root)
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert f"must not lead to a folder above it, but {root / named} leads to " in refused(f"folder:digs{options}")


@pytest.mark.parametrize("options", ["", ",size=8", ",size=8,stream=yes"])
@pytest.mark.parametrize(
    ("links", "first", "second"),
    [
        ({"class0/more": "../class1"}, "class0/more", "class1"),
        ({"class2": "class1"}, "class1", "class2"),
        ({"class0/a": "../../store", "class0/b": "../../store"}, "class0/a", "class0/b"),
        ({"class0/a": "../../store", "class1/b": "../../store"}, "class0/a", "class1/b"),
    ],
)
def test_a_folder_that_is_reached_twice_is_one_line(
    here: Path, links: dict[str, str], first: str, second: str, options: str
) -> None:
    """Its images would count twice, or have two labels."""
    root = two_classes(here / "digs")
    (here / "store").mkdir()
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert f"but {root / first} and {root / second} are the same folder" in refused(f"folder:digs{options}")


def test_test_images_that_are_training_images_are_one_line(here: Path) -> None:
    root = two_classes(here / "digs" / "train").parent
    (root / "test").symlink_to("train")
    assert f"but {root / 'train'} and {root / 'test'} are the same folder" in refused("folder:digs")


def test_a_link_to_a_folder_elsewhere_is_followed(here: Path) -> None:
    root = two_classes(here / "digs")
    (root / "class0").rename(here / "elsewhere")
    (root / "class0").symlink_to("../elsewhere")
    _, images, _ = loaded("folder:digs")
    assert len(images.train_images) + len(images.test_images) == 12


def test_links_to_other_folders_are_followed(here: Path) -> None:
    root = two_classes(here / "digs")
    _, images, _ = loaded("folder:digs")
    plain = contents(images.train_images, images.train_labels)
    (here / "pool").mkdir()
    (root / "class0").rename(here / "pool" / "zeros")
    (root / "class0").symlink_to("../pool/zeros")
    (root / "class1" / "more").mkdir()
    for path in list((root / "class1").glob("*.png"))[:3]:
        path.rename(root / "class1" / "more" / path.name)
    (root / "class1" / "more").rename(here / "pool" / "ones")
    (root / "class1" / "more").symlink_to(here / "pool" / "ones")
    (here / "view").symlink_to("digs")
    (root / ".hidden").symlink_to("..")
    for name in ("folder:digs", "folder:view", "folder:digs/../digs", "folder:./view"):
        _, images, _ = loaded(name)
        assert contents(images.train_images, images.train_labels) == plain


def test_a_folder_of_other_things_is_one_line_soon(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = two_classes(here / "digs")
    monkeypatch.setattr(folder, "OTHERS", 50)
    for i in range(55):
        (root / "class0" / f"{i}.txt").touch()
    dataset("folder:digs")  # fewer than ten for each image
    for i in range(20):
        (root / "class0" / f"{i}.xml").touch()
    assert "must hold images for the most part, but " in refused("folder:digs")
    assert "must hold images for the most part, but " in refused("folder:digs,size=8,stream=yes")


def test_a_huge_file_is_skipped_unread(here: Path) -> None:
    root = two_classes(here / "digs")
    with (root / "class0" / "huge.png").open("wb") as file:
        file.truncate(200 * 10**9)
    [note] = dataset("folder:digs").notes
    assert "1 file is skipped: class0/huge.png (it has 200,000,000,000 bytes, and at most 268,435,456 are read)" in note


def test_names_that_are_no_text_are_shown_and_recorded(here: Path) -> None:
    home = digits_folder(here / "digs", classes=2, each=6)
    (home / "class1" / "two\nlines.png").write_bytes(b"broken")
    (home / "class1" / os.fsdecode(b"\xff.png")).write_bytes(b"broken")
    os.rename(home / "class0", home / os.fsdecode(b"z\xfe"))
    data = dataset("folder:digs")
    assert data.class_names == ("class1", "z\N{REPLACEMENT CHARACTER}")
    assert r"'class1/two\nlines.png' (no image)" in data.notes[0]
    assert data.notes[0].startswith("2 files are skipped: ")
    json.dumps(data.facts()).encode()


def test_more_images_than_memory_are_refused_before_they_are_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(here / "digs", classes=2, each=6)
    monkeypatch.setattr(folder, "memory_bytes", lambda: 2 * 12 * 144 - 1)
    assert "but 12 of 12 x 12 pixels need" in refused("folder:digs")
    monkeypatch.setattr(folder, "memory_bytes", lambda: 2 * 12 * 144)
    assert dataset("folder:digs").classes == 2


def limit_memory(monkeypatch: pytest.MonkeyPatch, here: Path, most_bytes: int) -> None:
    """Put this process into a control group with this limit of memory, as a container's or a job's."""
    group = here / "groups" / "job_17"
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{most_bytes}\n")
    (here / "memberships").write_text("0::/job_17\n")
    monkeypatch.setattr(limits, "GROUPS", here / "groups")
    monkeypatch.setattr(limits, "MEMBERSHIPS", here / "memberships")


def test_the_memory_for_images_is_that_of_a_container_or_job(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(here / "digs", classes=2, each=6)
    np.savez(here / "d.npz", **arrays())
    limit_memory(monkeypatch, here, 2 * 12 * 144 - 1)
    assert "half of the memory that may be used (0.0 GB), but 12 of 12 x 12 pixels" in refused("folder:digs")
    assert "must fit in half of the memory that may be used" in refused("npz:d.npz")
    limit_memory(monkeypatch, here, 10**9)
    assert dataset("folder:digs").classes == dataset("npz:d.npz").classes == 2


def test_a_folder_is_streamed_where_a_limit_of_memory_asks_for_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(here / "digs", classes=2, each=6)
    needed = 2 * 12 * 3 * 8 * 8
    limit_memory(monkeypatch, here, needed)
    before = dataset("folder:digs,size=8")
    limit_memory(monkeypatch, here, needed - 1)
    now = dataset("folder:digs,size=8")
    assert (before.streamed, now.streamed) == (False, True)
    assert before.load is not None
    assert isinstance(before.load(NOWHERE, False), Images), "what a run has found is loaded as it was found"
    remedy = "restore them, or give as much memory as there was"
    assert remedy in str(changed(now.name, before.fingerprint, now.fingerprint))
    assert "restore them, or begin" in str(changed("folder:digs,size=8,stream=no", "a", "b"))
    assert "restore them, or begin" in str(changed("npz:d.npz,size=8", "a", "b"))


def delete(path: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / path)


def emptied(path: str) -> Callable[[Path], None]:
    def empty(root: Path) -> None:
        shutil.rmtree(root / path)
        (root / path).mkdir()

    return empty


def unreadable(root: Path) -> None:
    for path in (root / "class1").iterdir():
        path.write_bytes(b"broken")


def few(root: Path) -> None:
    for path in sorted((root / "class1").iterdir())[2:]:
        path.unlink()


def all_alike(root: Path) -> None:
    for path in root.rglob("*.png"):
        Image.fromarray(np.zeros((12, 12), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (emptied("."), "must hold one folder per class, but .* has none; put the images"),
        (emptied("class1"), "must have images that can be read, but class1 has none; add some"),
        (unreadable, "must have images that can be read, but class1 has none"),
        (delete("class1"), r"must have at least two classes, but has one \(class0\); add images of another class"),
        (few, "must have images for training, validation and test, but class1 has none for training .and 2 in all."),
        (all_alike, "must differ in each channel"),
        (lambda root: (root / "train").mkdir(), "beside it may only be val and test, but there is 'class0'"),
    ],
)
def test_a_damaged_folder_is_one_line(here: Path, damage: Callable[[Path], None], message: str) -> None:
    root = digits_folder(here / "digs", classes=2, each=6)
    dataset("folder:digs")
    damage(root)
    with pytest.raises(DataError, match=message):
        dataset("folder:digs")


def test_a_class_that_a_part_lacks_is_one_line(here: Path) -> None:
    digits_folder(here / "digs" / "train")
    digits_folder(here / "digs" / "test", classes=2)
    assert "must have the same classes, but test lacks 'class2'; add the folder" in refused("folder:digs")
    shutil.rmtree(here / "digs" / "train" / "class2")
    digits_folder(here / "digs" / "test", classes=3)
    assert "must have the same classes, but train lacks 'class2'" in refused("folder:digs")


def test_a_share_for_a_part_that_is_there_is_refused(here: Path) -> None:
    digits_folder(here / "digs" / "train")
    digits_folder(here / "digs" / "test")
    assert "but folder:digs,test=0.3 has one of its own; remove test=" in refused("folder:digs,test=0.3")
    _, images, parts = loaded("folder:digs,val=0.5")
    assert (len(parts.val), len(parts.train), len(images.test_images)) == (30, 30, 60)


def test_a_folder_that_changes_is_read_again_and_not_trained_on_as_before(here: Path) -> None:
    root = digits_folder(here / "digs")
    before = dataset("folder:digs")
    path = root / "class0" / "0000.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(DataError, match=r"must stay as they were when the training began .* changed .*another --out"):
        load_images(before, NOWHERE)
    after = dataset("folder:digs")
    assert after.fingerprint != before.fingerprint
    load_images(after, NOWHERE)


def test_the_test_images_decide_nothing(here: Path) -> None:
    digits_folder(here / "digs" / "train")
    root = digits_folder(here / "digs" / "test", each=10)
    before, _, parts = loaded("folder:digs")
    for path in (root / "class1").iterdir():
        Image.fromarray(np.full((12, 12), 77, np.uint8)).save(path)
    after, _, then = loaded("folder:digs")
    assert (after.mean, after.std) == (before.mean, before.std)
    assert torch.equal(then.train, parts.train)
    assert torch.equal(then.val, parts.val)


def test_a_fingerprint_is_of_names_and_contents_alone(here: Path) -> None:
    first = digits_folder(here / "a")
    shutil.copytree(first, here / "b")
    assert dataset("folder:a").fingerprint == dataset("folder:b").fingerprint
    (here / "b" / "class0" / "0000.png").rename(here / "b" / "class1" / "0000.png")
    assert dataset("folder:a").fingerprint != dataset("folder:b").fingerprint


PAIRS = {
    "x and y": {"train": ("x", "y")},
    "Keras": {part: (f"x_{part}", f"y_{part}") for part in ("train", "test")},
    "MedMNIST": {part: (f"{part}_images", f"{part}_labels") for part in ("train", "val", "test")},
}


@pytest.mark.parametrize("layout", PAIRS)
@pytest.mark.parametrize("form", ["gray", "gray with a channel", "colour last", "colour first"])
def test_arrays_under_the_usual_names(here: Path, layout: str, form: str) -> None:
    pixels, labels = enlarged(classes=3, each=30)
    shaped = {
        "gray": pixels,
        "gray with a channel": pixels[..., None],
        "colour last": np.stack([pixels, pixels // 2, 255 - pixels], axis=-1),
        "colour first": np.stack([pixels, pixels // 2, 255 - pixels], axis=1),
    }[form]
    arrays: dict[str, Any] = {}
    expected = {}
    pairs = PAIRS[layout]
    for i, (part, (x, y)) in enumerate(pairs.items()):
        chosen = np.arange(len(labels)) % len(pairs) == i
        arrays[x] = shaped[chosen]
        arrays[y] = labels[chosen][:, None] if layout == "MedMNIST" else labels[chosen]
        expected[part] = contents(torch.from_numpy(pixels[chosen])[:, None], torch.from_numpy(labels[chosen]))
    np.savez(here / "d.npz", **arrays)
    data, images, parts = loaded("npz:d.npz")
    assert data.channels == (3 if "colour" in form else 1)
    assert data.class_names == ("0", "1", "2")
    own = contents(images.train_images[:, :1], images.train_labels)
    test = contents(images.test_images[:, :1], images.test_labels)
    assert test == expected["test"] if "test" in pairs else own + test == expected["train"]
    if "val" in pairs:
        assert contents(images.train_images[parts.val][:, :1], images.train_labels[parts.val]) == expected["val"]
        assert contents(images.train_images[parts.train][:, :1], images.train_labels[parts.train]) == expected["train"]
    if "colour" in form:
        assert torch.equal(images.test_images[:, 2], 255 - images.test_images[:, 0])


def test_labels_may_be_words_and_numbers_with_gaps(here: Path) -> None:
    pixels, labels = enlarged(classes=3, each=10)
    np.savez(here / "words.npz", x=pixels, y=np.array(["cat", "ape", "dog"])[labels])
    np.savez(here / "gaps.npz", x=pixels, y=labels * 10 - 5)
    data, images, _ = loaded("npz:words.npz")
    assert data.class_names == ("ape", "cat", "dog")
    assert contents(images.test_images, images.test_labels) <= contents(
        torch.from_numpy(pixels)[:, None], torch.from_numpy(np.array([1, 0, 2])[labels])
    )
    assert dataset("npz:gaps.npz").class_names == ("-5", "5", "15")


def test_labels_that_are_words_here_and_numbers_there_are_one_line(here: Path) -> None:
    pixels, labels = enlarged(classes=3, each=100)
    numbers = np.arange(len(labels)) % 30  # so many that numpy compares them as words, in the order of words
    for of_train, of_test in ((numbers, numbers.astype(str)), (numbers.astype(str), numbers)):
        np.savez(here / "d.npz", x_train=pixels, y_train=of_train, x_test=pixels, y_test=of_test)
        said = refused("npz:d.npz")
        assert "must be whole numbers in every array, or words in every one, but those of y_test are of type" in said


def test_large_labels_of_other_types_stay_apart(here: Path) -> None:
    pixels, labels = enlarged()
    np.savez(
        here / "d.npz",
        x_train=pixels,
        y_train=labels.astype(np.uint64) + 2**60,
        x_test=pixels,
        y_test=labels.astype(np.int64) + 2**60,
    )
    _, images, _ = loaded("npz:d.npz")
    assert images.train_labels.tolist() == images.test_labels.tolist() == labels.tolist()


def test_words_that_a_terminal_would_obey_are_shown_by_their_codes(here: Path) -> None:
    pixels, labels = enlarged(classes=3)
    np.savez(here / "d.npz", x=pixels, y=np.array(["cat", "two\nlines", "\x1b[31m\u202e"])[labels])
    assert set(dataset("npz:d.npz").class_names) == {"cat", r"'two\nlines'", r"'\x1b[31m\u202e'"}
    shown = rksearch(
        "train", "RKNet-k4-m1-1x1", "--dataset", "npz:d.npz", "--recipe", "short", "--epochs", "1", cwd=here
    )
    assert shown.returncode == 0
    assert r"'\x1b[31m\u202e' " in shown.stdout
    assert "\x1b" not in shown.stdout


def test_arrays_can_be_resized(here: Path) -> None:
    pixels, labels = enlarged(classes=2, each=6)
    np.savez(here / "d.npz", x=np.stack([pixels] * 3, axis=-1), y=labels)
    _, images, _ = loaded("npz:d.npz,size=24")
    assert images.train_images.shape[1:] == (3, 24, 24)


def arrays(**changes: Any) -> dict[str, Any]:
    pixels, labels = enlarged(classes=2, each=6)
    return {"x": pixels, "y": labels, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.random.default_rng(0).random((12, 4, 4))}, "x of npz:d.npz must be whole numbers from 0 to 255, but "
         r"got values of type float64; convert it"),
        ({"x": np.full((12, 4, 4), 256)}, "got values of type int64 up to 256"),
        ({"x": np.zeros((12, 4), np.uint8)}, r"must have the shape \(N, H, W\).*but got \(12, 4\)"),
        ({"x": np.zeros((12, 5, 5, 5), np.uint8)}, r"but got \(12, 5, 5, 5\)"),
        ({"x": np.zeros((0, 5, 5), np.uint8), "y": np.zeros(0, int)}, "must hold images"),
        ({"y": np.zeros((12, 4), int)}, r"one label for each image.*shape \(12, 4\).*several labels"),
        ({"y": np.zeros(12)}, "a whole number or a word, but got an array of shape .12,. and type float64"),
        ({"y": np.zeros(11, int)}, "must be equally many, but got 12 images and 11 labels"),
        ({"y": np.zeros(12, int)}, r"at least two classes, but has one \(0\)"),
        ({"y": np.arange(12)}, "must have images for training, validation and test, but .* has none for"),
        ({"x_train": np.zeros((3, 4, 4), np.uint8)}, None),
    ],
)  # fmt: skip
def test_damaged_arrays_are_one_line(here: Path, changes: dict[str, Any], message: str | None) -> None:
    np.savez(here / "d.npz", **arrays(**changes))
    if message is None:
        dataset("npz:d.npz")  # arrays of other names are not looked at
        return
    with pytest.raises(DataError, match=message):
        dataset("npz:d.npz")


def test_files_that_hold_other_things_are_one_line(here: Path) -> None:
    np.savez(here / "names.npz", images=np.zeros(3))
    assert "must have the arrays x and y, x_train and y_train, or train_images and train_labels" in refused(
        "npz:names.npz"
    )
    np.savez(here / "half.npz", x_train=enlarged()[0], y_train=enlarged()[1], x_test=enlarged()[0])
    assert "come in pairs, but npz:half.npz has no array y_test; add it or remove x_test" in refused("npz:half.npz")
    np.savez(here / "objects.npz", x=np.array([{}, {}], dtype=object), y=np.zeros(2, int))
    assert "without pickled objects" in refused("npz:objects.npz")
    np.save(here / "single.npy", np.zeros(3))
    (here / "single.npy").rename(here / "single.npz")
    assert "must be a file that numpy.savez has written" in refused("npz:single.npz")
    whole = here / "whole.npz"
    np.savez_compressed(whole, x=enlarged()[0], y=enlarged()[1])
    content = whole.read_bytes()
    for i, broken in enumerate((content[:-40], content[:400] + b"\xff" * 60 + content[460:], b"", b"junk")):
        (here / f"broken{i}.npz").write_bytes(broken)
        assert "must be a file that numpy.savez has written" in refused(f"npz:broken{i}.npz")


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [
        (errno.EACCES, 2, "correct its permissions"),
        (errno.ENOMEM, 1, "free some memory, or raise the limit of it (`ulimit -v`)"),
        (errno.EIO, 1, "mend that, then run the same command again"),
    ],
)
def test_arrays_that_cannot_be_read_now_are_not_to_be_written_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, remedy: str
) -> None:
    (here / "arrays").mkdir()
    path = here / "arrays" / "d.npz"
    np.savez(path, **arrays())
    with monkeypatch.context() as patched:
        failing(patched, number, "arrays")
        patched.setattr(io, "open", open)
        done = CliRunner().invoke(cli, ["data", "show", "npz:arrays/d.npz"])
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == code
    why = os.strerror(number)
    assert str(done.exception) == f"a file of arrays must be readable, but {path} is not ({why}); {remedy}"


def test_arrays_for_which_memory_is_short_are_not_to_be_written_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(here / "d.npz", **arrays())

    def short(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError("Unable to allocate 293. MiB for an array with shape (307200000,)")

    monkeypatch.setattr(np, "load", short)
    done = CliRunner().invoke(cli, ["data", "show", "npz:d.npz"])
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == 1
    assert "d.npz is not (Unable to allocate 293. MiB for" in str(done.exception)
    assert str(done.exception).endswith("; free some memory, or raise the limit of it (`ulimit -v`)")


def encrypted(content: bytes) -> bytes:
    """A zip file whose members are marked as encrypted."""
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        before = re.compile(b"(" + header + b".{%d})." % (flags - len(header)), flags=re.DOTALL)
        content = before.sub(lambda found: found[1] + b"\x01", content)
    return content


def test_encrypted_arrays_and_members_that_are_none_are_one_line(here: Path) -> None:
    np.savez(here / "d.npz", **arrays())
    (here / "secret.npz").write_bytes(encrypted((here / "d.npz").read_bytes()))
    with zipfile.ZipFile(here / "junk.npz", "w") as archive:
        for name in ("x.npy", "y"):
            archive.writestr(name, "no array at all")
    with zipfile.ZipFile(here / "small.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.npy", zipfile.ZipFile(here / "d.npz").read(f"{name}.npy"))
    assert dataset("npz:small.npz").classes == 2
    content = bytearray((here / "small.npz").read_bytes())
    content[60:80] = bytes(20)
    (here / "small.npz").write_bytes(content)
    for name, why in (("secret", "File 'x.npy' is encrypted, password required for extraction"), ("junk", "the magic"),
                      ("small", "Corrupt input data")):  # fmt: skip
        rule = f"npz:{name}.npz must be a file that numpy.savez has written, without pickled objects, but "
        text = refused(f"npz:{name}.npz")
        assert text.startswith(rule)
        assert f"{name}.npz is not ({why}" in text
        assert text.endswith("; write it again")


def test_a_damaged_directory_of_a_file_is_damage_and_no_fault_of_the_disk(here: Path) -> None:
    """Its absurd offsets are invalid arguments for the system, as if the disk did not answer."""
    np.savez(here / "d.npz", **arrays())
    content = (here / "d.npz").read_bytes()
    end = content.rindex(b"PK\x05\x06")
    for place in range(end + 12, end + 20):
        (here / "d.npz").write_bytes(content[:place] + b"\x7f" + content[place + 1 :])
        assert refused("npz:d.npz").endswith("; write it again")


@pytest.mark.parametrize("shape", [(4 * 10**12,), (2**40, 2**40), (2**70,)])
def test_an_array_whose_header_claims_more_than_there_is_is_one_line(here: Path, shape: tuple[int, ...]) -> None:
    header = io.BytesIO()
    write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(here / "huge.npz", "w") as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, header.getvalue() + b"abc")
    assert "must be a file that numpy.savez has written" in refused("npz:huge.npz")


def test_a_class_that_only_a_later_part_has_is_one_line(here: Path) -> None:
    pixels, labels = enlarged(classes=3, each=6)
    two = labels < 2
    np.savez(here / "d.npz", x_train=pixels[two], y_train=labels[two], x_test=pixels, y_test=labels)
    assert "must occur among its training images, but y_test has 2" in refused("npz:d.npz")
    np.savez(here / "d.npz", x_train=pixels, y_train=labels, x_test=pixels[two], y_test=labels[two])
    assert "but 2 has none for the test" in refused("npz:d.npz")


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(3, 25), min_size=2, max_size=5),
    val=st.floats(0.05, 0.5),
    test=st.floats(0.05, 0.5),
    distinct=st.sampled_from([2, 10**6]),
    seed=st.integers(0, 2**31),
)
def test_the_parts_of_arrays_never_overlap(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], val: float, test: float, distinct: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(seed)
    # Each image carries its number, so that images with equal pixels elsewhere are still different images.
    pixels = rng.integers(0, distinct, (len(labels), 2, 2)).astype(np.uint8)
    pixels[:, 1, 1] = labels
    if distinct > 2:
        pixels[:, 0, 0] = np.arange(len(labels)) % 251
        pixels[:, 0, 1] = np.arange(len(labels)) // 251
    path = tmp_path_factory.mktemp("npz") / "d.npz"
    np.savez(path, x=pixels, y=labels)
    out = [max(1, round(count * test)) for count in counts]
    held = [max(1, round((count - gone) * val)) for count, gone in zip(counts, out, strict=True)]
    name = f"npz:{path},val={val},test={test}"
    if any(count <= gone + also for count, gone, also in zip(counts, out, held, strict=True)):
        assert "has none for" in refused(name)
        return
    _, images, parts = loaded(name)
    assert not set(parts.train.tolist()) & set(parts.val.tolist())
    assert sorted([*parts.train.tolist(), *parts.val.tolist()]) == list(range(len(images.train_labels)))
    learned = contents(images.train_images[parts.train], images.train_labels[parts.train])
    held_out = contents(images.train_images[parts.val], images.train_labels[parts.val])
    tested = contents(images.test_images, images.test_labels)
    assert learned + held_out + tested == contents(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels))
    if distinct > 2:
        assert not learned & held_out
        assert not (learned + held_out) & tested


def test_space_files_and_commands_take_them(here: Path) -> None:
    digits_folder(here / "digs")
    text = TINY_SPACE.replace("dataset: digits", "dataset: folder:digs/,flip=yes").replace(
        "train_images: 100", "train_images: 12"
    )
    space = parse_space(text, name="own")
    assert space.definition.dataset.name == "folder:digs,flip=yes"
    with pytest.raises(
        SpaceError, match=r"own.yaml:3: dataset: folder:dogs needs a folder at .*dogs, which is missing"
    ):
        parse_space(TINY_SPACE.replace("dataset: digits", "dataset: folder:dogs"), name="own")
    with pytest.raises(
        SpaceError, match=r"dataset: a data set in files has a name such as folder:PATH, but got './digs'"
    ):
        parse_space(TINY_SPACE.replace("dataset: digits", "dataset: ./digs"), name="own")
    done = CliRunner().invoke(cli, ["describe", "ResNet-8", "--dataset", "folder:digs", "--json"])
    assert json.loads(done.output)["dataset"] == "folder:digs"


def test_a_path_in_a_space_file_starts_at_its_directory(here: Path) -> None:
    digits_folder(here / "spaces" / "digs")
    text = TINY_SPACE.replace("dataset: digits", "dataset: folder:digs").replace("train_images: 100\n", "")
    (here / "spaces" / "own.yaml").write_text(text, encoding="utf-8")
    space = load_space("spaces/own.yaml")
    assert (space.definition.dataset.name, space.definition.dataset.classes) == ("folder:digs", 3)
    assert "which is missing" in refused("folder:digs")


@pytest.mark.slow
def test_a_training_is_not_resumed_on_other_images(here: Path) -> None:
    root = digits_folder(here / "digs")
    (root / "class0" / "broken.png").write_bytes(b"broken")
    arguments = [
        "train",
        "ResNet-8",
        "--dataset",
        "folder:digs",
        "--recipe",
        "short",
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    done = rksearch(*arguments, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "rksearch: folder:digs: 1 file is skipped: class0/broken.png (no image)\n"
    (root / "class0" / "broken.png").unlink()
    done = rksearch(*arguments, "--out", "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the images of folder:digs must stay as they were when the training began" in done.stderr
    assert rksearch(*arguments, "--out", "other").returncode == 0


def test_what_another_process_has_found_is_taken_as_it_is(here: Path) -> None:
    digits_folder(here / "digs")
    data = dataset("folder:digs")
    assert data in datasets.added()
    other = type(datasets)()
    other.adopt(datasets.added())
    shutil.rmtree(here / "digs")
    assert other.get("folder:digs") == data
    with pytest.raises(DataError, match="which is missing"):
        load_images(other.get("folder:digs"), NOWHERE)


def test_relative_paths_can_lie_beneath_another_directory(here: Path) -> None:
    digits_folder(here / "below" / "digs")
    assert "which is missing" in refused("folder:digs")
    with datasets.beneath(here / "below"):
        assert dataset("folder:digs").classes == 3
    assert "which is missing" in refused("folder:digs")
