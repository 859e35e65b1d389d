"""Packs: the folder's split and pixels in one file, and every way in which it can be damaged."""

import errno
import hashlib
import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rksearch.cli.main import cli
from rksearch.data import pack, packing
from rksearch.data.augmentation import Augmentation
from rksearch.data.dataset import Dataset
from rksearch.data.facts import dataset
from rksearch.data.images import load_data, split
from rksearch.data.pack import END, TRAILER, open_pack
from rksearch.data.packing import write_pack
from rksearch.data.pictures import FilePictures, Stored
from rksearch.data.views import Views
from rksearch.errors import DataError, PackError
from tests.helpers.pictures import photos_folder

SIDE = 32
"""256/224 of 28: at this side evaluation resizes nothing."""


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return f"folder:{photos_folder(tmp_path / 'photos')},size=28,stream=yes"


@pytest.fixture
def packed(tmp_path: Path, photos: str) -> Path:
    data, images = opened(photos)
    return write_pack(data, images, tmp_path / "photos.rkpack", side=SIDE, threads=2).path


def opened(name: str) -> tuple[Dataset, Stored]:
    data = dataset(name)
    images = load_data(data, Path("nowhere"), download=False)
    assert isinstance(images, Stored)
    return data, images


def test_pack_and_folder_have_equal_splits_and_evaluated_pixels(photos: str, packed: Path) -> None:
    (data, images), (facts, stored) = opened(photos), opened(f"pack:{packed}")
    assert split(data, images).digest == split(facts, stored).digest
    assert (facts.mean, facts.std, facts.class_names) == (data.mean, data.std, data.class_names)
    assert facts.streamed
    for mine, theirs in ((images.train, stored.train), (images.test, stored.test)):
        assert list(mine.keys) == list(theirs.keys)
        assert mine.labels.tolist() == theirs.labels.tolist()
        views = Views(Augmentation(kind="scale_aspect"), data, augment=True)
        for place in range(len(mine)):
            assert min(theirs.read(place).shape[:2]) == SIDE
            assert torch.equal(views.evaluate(mine.read(place)), views.evaluate(theirs.read(place)))


def test_a_pack_that_is_large_enough_holds_the_very_pixels(tmp_path: Path, photos: str) -> None:
    data, images = opened(photos)
    found = open_pack(write_pack(data, images, tmp_path / "x.rkpack", side=100).path).images
    for place in range(len(images.train)):
        assert np.array_equal(found.train.read(place), images.train.read(place))


def test_images_that_the_folder_holds_out_stay_held_out(tmp_path: Path) -> None:
    for part, each in (("train", 8), ("val", 3), ("test", 2)):
        photos_folder(tmp_path / "sets" / part, each=each)
    data, images = opened(f"folder:{tmp_path / 'sets'},size=28,stream=yes")
    assert isinstance(images.train, FilePictures)
    (images.train.root / images.train.keys[1].decode()).write_bytes(b"broken")
    written = write_pack(data, images, tmp_path / "x.rkpack", side=SIDE)
    assert written.skipped == (f"{images.train.keys[1].decode()} (no image)",)
    facts, stored = opened(f"pack:{tmp_path / 'x.rkpack'}")
    assert facts.notes == (f"1 file was skipped when it was packed: {written.skipped[0]}",)
    parts = split(facts, stored)
    assert (len(parts.train), len(parts.val), len(stored.test)) == (23, 9, 6)
    assert all(stored.train.keys[place].startswith(b"val/") for place in parts.val.tolist())


def test_a_pack_is_sent_to_workers_as_its_path(packed: Path) -> None:
    pictures = open_pack(packed).images.test
    sent = pickle.dumps(pictures)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).read(2), pictures.read(2))


def test_the_size_of_the_views_is_an_option(packed: Path) -> None:
    facts = dataset(f"pack:{packed},size=16x20")
    assert (facts.height, facts.width) == (16, 20)


@pytest.mark.parametrize("size", ["4", "16", "28", "30x20", "33", "60", "224"])
def test_a_pack_at_another_size_has_the_padding_of_the_folder_at_that_size(
    tmp_path: Path, packed: Path, size: str
) -> None:
    expected = dataset(f"folder:{tmp_path / 'photos'},size={size},stream=yes").crop_padding
    assert dataset(f"pack:{packed},size={size}").crop_padding == expected


@pytest.mark.parametrize(
    ("crop", "size", "padding"),
    [(0, 16, 0), (7, 28, 7), (7, 16, 4), (14, 60, 30), (27, 28, 27), (27, 8, 7), (27, 1, 0)],
)
def test_a_padding_of_the_user_s_keeps_its_share_of_the_side(
    tmp_path: Path, photos: str, crop: int, size: int, padding: int
) -> None:
    data, images = opened(f"{photos.removesuffix(',stream=yes')},crop={crop},stream=yes")
    path = write_pack(data, images, tmp_path / "x.rkpack", side=SIDE).path
    assert dataset(f"pack:{path}").crop_padding == crop
    assert dataset(f"pack:{path},size={size}").crop_padding == padding


def test_the_padding_of_a_pack_is_an_option(packed: Path) -> None:
    assert dataset(f"pack:{packed},crop=2").crop_padding == 2
    assert dataset(f"pack:{packed},size=16,crop=0").crop_padding == 0
    with pytest.raises(DataError, match=r"less than the shorter side of the images, 16, .* but got 16; correct it"):
        dataset(f"pack:{packed},size=16,crop=16")


def read_all(path: Path) -> None:
    _, images = opened(f"pack:{path}")
    for pictures in (images.train, images.test):
        for place in range(len(pictures)):
            pictures.read(place)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.98])
def test_every_damage_is_one_line(packed: Path, share: float) -> None:
    content = bytearray(packed.read_bytes())
    place = min(int(share * len(content)), len(content) - 1)
    content[place] ^= 0xFF
    packed.write_bytes(content)
    assert "damaged" in refused(packed) or "begins with 'rkpack 1'" in refused(packed)


@pytest.mark.parametrize("left", [0, 5, 30, 1000, -1])
def test_every_cut_is_one_line(packed: Path, left: int) -> None:
    packed.write_bytes(packed.read_bytes()[:left])
    assert "damaged (it" in refused(packed) or "begins with" in refused(packed)


def test_other_files_are_no_packs(tmp_path: Path) -> None:
    (tmp_path / "x.rkpack").write_text("no pack at all, though it is long enough to be one, by far")
    assert "begins with 'rkpack 1'" in refused(tmp_path / "x.rkpack")
    assert "is missing" in refused(tmp_path / "y.rkpack")
    assert "is a folder" in refused(tmp_path)


REMEDIES = [
    (errno.EACCES, 2, "correct its permissions"),
    (errno.ENOMEM, 1, "free some memory, or raise the limit of it (`ulimit -v`)"),
    (errno.EIO, 1, "mend that, then run the same command again"),
    (errno.ESTALE, 1, "mend that, then run the same command again"),
]
"""Errors of the system, with exit code and remedy: to pack the images again would help with none of them."""


@pytest.mark.parametrize(("number", "code", "remedy"), REMEDIES)
def test_a_pack_that_cannot_be_read_now_is_not_called_damaged(
    packed: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, remedy: str
) -> None:
    expected = f"a pack must be readable, but {packed} is not ({os.strerror(number)}); {remedy}"
    images = open_pack(packed).images
    pack._opened_pack.cache_clear()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(np, "memmap", refuse)
        with pytest.raises(DataError) as caught:
            images.train.read(0)
        assert (str(caught.value), caught.value.exit_code) == (expected, code)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        for args in (["data", "show", f"pack:{packed}"], ["data", "verify", str(packed)]):
            error = CliRunner().invoke(cli, args).exception
            assert isinstance(error, DataError)
            assert (str(error), error.exit_code) == (expected, code)
    read_all(packed)


def with_header(path: Path, text: bytes) -> None:
    """Write another header, with its right checksum, at the end of a pack."""
    content = path.read_bytes()
    length = TRAILER.unpack(content[-TRAILER.size :])[0]
    trailer = TRAILER.pack(len(text), hashlib.sha256(text).digest(), END)
    path.write_bytes(content[: -TRAILER.size - length] + text + trailer)


ODD: dict[str, Callable[[dict[str, Any]], object]] = {
    "empty": lambda header: {},
    "list": lambda header: [],
    "number": lambda header: 3,
    "no parts": lambda header: {**header, "parts": None},
    "parts of numbers": lambda header: {**header, "parts": {"train.labels": 3}},
    "no pixels": lambda header: {
        **header,
        "parts": {name: part for name, part in header["parts"].items() if name != "test.pixels"},
    },
    "no facts": lambda header: {**header, "facts": []},
    "a fact of another type": lambda header: {**header, "facts": {**header["facts"], "mean": 3}},
    "side": lambda header: {**header, "side": {}},
    "skipped": lambda header: {**header, "skipped": 1},
    "infinite": lambda header: {**header, "side": float("inf")},
    **{
        f"{field} {value}": lambda header, field=field, value=value: {  # type: ignore[misc]
            **header,
            "parts": {**header["parts"], "train.labels": {**header["parts"]["train.labels"], field: value}},
        }
        for field, value in (("bytes", 10**15), ("bytes", 10**30), ("bytes", -1), ("bytes", 8), ("offset", -5),
                             ("offset", "x"), ("offset", float("inf")), ("sha256", None))
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_header_with_a_right_checksum_is_one_line(packed: Path, kind: str) -> None:
    content = packed.read_bytes()
    length = TRAILER.unpack(content[-TRAILER.size :])[0]
    header = json.loads(content[-TRAILER.size - length : -TRAILER.size])
    with_header(packed, json.dumps(ODD[kind](header)).encode())
    assert "damaged" in refused(packed)


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"version": "\xff"}'])
def test_a_header_that_is_no_json_is_one_line(packed: Path, text: bytes) -> None:
    with_header(packed, text)
    assert "damaged" in refused(packed)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.rkpack")
    assert "is a pipe or a device" in refused(tmp_path / "x.rkpack")


def test_verify_finds_what_reading_an_image_would(packed: Path) -> None:
    found = open_pack(packed)
    found.verify()
    content = bytearray(packed.read_bytes())
    content[found.parts["test.pixels"]["offset"] + 3] ^= 1
    packed.write_bytes(content)
    with pytest.raises(DataError, match=r"the SHA-256 of test\.pixels differs"):
        open_pack(packed).verify()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, images = opened(photos)
    home = tmp_path / "full"
    home.mkdir()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing.os, "fsync", full)
    with pytest.raises(PackError, match="No space left on device") as caught:
        write_pack(data, images, home / "x.rkpack", side=SIDE)
    assert caught.value.exit_code == 1
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_a_pack_has_the_permissions_of_the_user_s_other_files(tmp_path: Path, photos: str, mask: int) -> None:
    data, images = opened(photos)
    before = os.umask(mask)
    try:
        written = write_pack(data, images, tmp_path / "x.rkpack", side=SIDE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o666 & ~mask


def test_a_file_system_that_cannot_be_forced_holds_packs(
    tmp_path: Path, photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    data, images = opened(photos)
    assert write_pack(data, images, tmp_path / "x.rkpack", side=SIDE).path.is_file()


def test_the_command_packs_and_verifies(tmp_path: Path, photos: str) -> None:
    path = tmp_path / "x.rkpack"
    done = CliRunner().invoke(cli, ["data", "pack", photos, "--to", str(path), "--side", str(SIDE), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 36
    done = CliRunner().invoke(cli, ["data", "verify", str(path)])
    assert done.output.endswith("is as it was written: 36 images\n")
    done = CliRunner().invoke(
        cli, ["data", "show", f"pack:{path}", "--contact-sheet", str(tmp_path / "sheet.png"), "--json"]
    )
    assert done.exit_code == 0, done.output
    measured = json.loads(done.stdout)["measured"]
    assert [sum(measured["counts"][part]) for part in ("train", "val", "test")] == [24, 6, 6]
    assert (tmp_path / "sheet.png").is_file()


def test_images_in_memory_are_not_packed(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["data", "pack", "digits", "--to", str(tmp_path / "x.rkpack")])
    assert isinstance(done.exception, DataError) or "held in memory" in done.output
    assert not (tmp_path / "x.rkpack").exists()
