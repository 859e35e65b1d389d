"""Streamed images: reading by workers, views, batches and the split."""

import io
import math
import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rksearch.data import folder
from rksearch.data.augmentation import Augmentation
from rksearch.data.batches import Batch, DeviceImages, TrainBatches
from rksearch.data.dataset import Dataset
from rksearch.data.facts import dataset
from rksearch.data.images import Split, load_data, load_images, split
from rksearch.data.inspection import contact_sheet, inspect
from rksearch.data.lighting import DEVIATION, EIGENVALUES, EIGENVECTORS, lighting
from rksearch.data.packing import write_pack
from rksearch.data.pictures import FilePictures, Stored
from rksearch.data.streaming import EVALUATION, PictureReader, StreamedImages, as_in_worker, view_seed, worker_count
from rksearch.data.views import Views
from rksearch.errors import DataError
from tests.helpers.pictures import photos_folder

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SCALE_ASPECT = Augmentation(kind="scale_aspect")
CROP = Augmentation()


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return f"folder:{photos_folder(tmp_path / 'photos')},size=28,stream=yes,flip=yes"


def opened(name: str) -> tuple[Dataset, Stored, Split]:
    data = dataset(name)
    images = load_data(data, Path("nowhere"), download=False)
    assert isinstance(images, Stored)
    return data, images, split(data, images)


def batches_of(
    name: str, augmentation: Augmentation, *, workers: int = 0, augment: bool = True, batch_size: int = 8
) -> tuple[TrainBatches, PictureReader]:
    data, images, parts = opened(name)
    reader = PictureReader(images.train, Views(augmentation, data, augment=augment), workers=workers, pinned=False)
    train = StreamedImages(reader, parts.train, data, CPU, batch_size=batch_size + 1)
    found = TrainBatches(train, data, batch_size=batch_size, augment=augment, seed=5, augmentation=augmentation)
    return found, reader


def epochs(name: str, augmentation: Augmentation, count: int, workers: int = 0) -> list[Batch]:
    batches, reader = batches_of(name, augmentation, workers=workers)
    try:
        return [batch for _ in range(count) for batch in batches.epoch()]
    finally:
        reader.close()


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for (pixels, labels), (same, theirs) in zip(one, other, strict=True):
        assert torch.equal(pixels, same)
        assert torch.equal(labels, theirs)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("augmentation", [SCALE_ASPECT, replace(SCALE_ASPECT, randaugment=2)])
def test_batches_are_the_same_whatever_the_number_of_workers(photos: str, augmentation: Augmentation) -> None:
    alone = epochs(photos, augmentation, 2)
    assert_equal(epochs(photos, augmentation, 2, workers=2), alone)
    assert multiprocessing.active_children() == []
    assert_equal(epochs(photos, augmentation, 2, workers=1), alone)


def test_an_epoch_follows_from_the_state_before_it(photos: str) -> None:
    batches, _ = batches_of(photos, SCALE_ASPECT)
    first = list(batches.epoch())
    state = {key: value.clone() for key, value in batches.state_dict().items()}
    second = list(batches.epoch())
    assert not torch.equal(first[0][0], second[0][0])
    again, _ = batches_of(photos, SCALE_ASPECT)
    again.load_state_dict(state)
    assert_equal(list(again.epoch()), second)


def test_reading_leaves_the_global_generator_and_threads_as_they_were(photos: str) -> None:
    batches, _ = batches_of(photos, SCALE_ASPECT)
    before = torch.get_rng_state()
    list(batches.epoch())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 1


def test_an_epoch_shows_each_image_once(photos: str) -> None:
    batches, _ = batches_of(photos, SCALE_ASPECT, augment=False)
    shown = sorted(pixels.numpy().tobytes() for batch, _ in batches.epoch() for pixels in batch)
    data, images, parts = opened(photos)
    reader = PictureReader(images.train, Views(SCALE_ASPECT, data, augment=False), workers=0, pinned=False)
    there = StreamedImages(reader, parts.train, data, CPU)
    assert shown == sorted(pixels.numpy().tobytes() for batch, _ in there.batches(7) for pixels in batch)
    labels = torch.cat([labels for _, labels in there.batches(7)])
    assert labels.tolist() == images.train.labels[parts.train.numpy()].tolist()


def test_a_streamed_folder_has_the_pixels_of_the_folder_in_memory(tmp_path: Path, photos: str) -> None:
    """Without random views, streaming is the same arithmetic: crop, flip and cutout on the device."""
    data, images, parts = opened(photos)
    reader = PictureReader(images.train, Views(CROP, data, augment=True), workers=0, pinned=False)
    streamed = StreamedImages(reader, parts.train, data, CPU, batch_size=9)
    held = load_images(dataset(photos.replace("stream=yes", "stream=no")), tmp_path)
    everything = {pixels.numpy().tobytes() for part in (held.train_images, held.test_images) for pixels in part}
    seen = [
        p for batch in reader.batches([[(place, EVALUATION)] for place in parts.train.tolist()]) for p in batch.pixels
    ]
    assert {p.permute(2, 0, 1).contiguous().numpy().tobytes() for p in seen} <= everything

    resident = DeviceImages(torch.stack(seen).permute(0, 3, 1, 2), streamed.labels(torch.arange(len(seen))), data, CPU)
    terms = Augmentation(cutout=5, alternating_flip=True)
    one, other = (
        TrainBatches(source, data, batch_size=8, augment=True, seed=3, augmentation=terms)
        for source in (streamed, resident)
    )
    for _ in range(2):
        assert_equal(list(one.epoch()), list(other.epoch()))


def test_the_evaluation_crop_is_256_of_224(tmp_path: Path) -> None:
    """Against Pillow's arithmetic: shorter side to 256, centre of 224 x 224."""
    photos = photos_folder(tmp_path / "photos", classes=2, each=5, side=300)
    data, images, _ = opened(f"folder:{photos},size=224,stream=yes")
    views = Views(SCALE_ASPECT, data, augment=True)
    assert isinstance(images.train, FilePictures)
    for place, key in enumerate(images.train.keys):
        with Image.open(photos / key.decode()) as image:
            width, height = image.size
            if width < height:
                whole = image.resize((256, round(height * 256 / width)), Image.Resampling.BILINEAR)
            else:
                whole = image.resize((round(width * 256 / height), 256), Image.Resampling.BILINEAR)
            left, top = (whole.width - 224) // 2, (whole.height - 224) // 2
            expected = np.asarray(whole)[top : top + 224, left : left + 224]
        assert np.array_equal(views.evaluate(images.train.read(place)).numpy(), expected)


def test_random_views_have_the_size_and_differ_by_seed(photos: str) -> None:
    data, images, _ = opened(photos)
    views, picture = Views(SCALE_ASPECT, data, augment=True), images.train.read(0)
    shown = [views.train(picture, view_seed(epoch, 0)) for epoch in (1, 1, 2)]
    assert [(view.shape, view.dtype) for view in shown] == [((28, 28, 3), torch.uint8)] * 3
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[0], shown[2])
    assert len({view_seed(epoch, place) for epoch in range(20) for place in range(20)}) == 400


def test_lighting_is_alexnets_formula() -> None:
    std = (50.0, 60.0, 70.0)
    found = lighting(4, std, torch.Generator().manual_seed(3))
    normal = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    for i in range(4):
        for channel in range(3):
            shift = math.fsum(
                EIGENVECTORS[channel][k] * float(normal[i, k]) * DEVIATION * EIGENVALUES[k] for k in range(3)
            )
            assert float(found[i, channel]) == pytest.approx(255 * shift / std[channel], rel=1e-5, abs=1e-5)
    vectors = np.array(EIGENVECTORS)
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)


def test_lighting_shifts_all_pixels_of_a_channel_alike(photos: str) -> None:
    batches, _ = batches_of(photos, SCALE_ASPECT)
    draws = batches.draw()
    assert draws.light is not None
    plain = replace(draws, light=torch.zeros_like(draws.light))
    batches.begin(draws)
    with_light = list(batches.apply(draws))
    batches.begin(plain)
    start = 0
    for (lit, _), (dark, _) in zip(with_light, batches.apply(plain), strict=True):
        shift = draws.light[start : start + len(lit), :, None, None]
        assert torch.allclose(lit - dark, shift.expand_as(lit), atol=1e-5)
        start += len(lit)


# -- folders


def test_a_streamed_folder_is_split_by_its_names(tmp_path: Path, photos: str) -> None:
    data, images, parts = opened(photos)
    assert (data.channels, data.height, data.streamed) == (3, 28, True)
    trained = [images.train.keys[place] for place in parts.train.tolist()]
    held = [images.train.keys[place] for place in parts.val.tolist()]
    every = [*trained, *held, *images.test.keys]
    files = [path.relative_to(tmp_path / "photos").as_posix().encode() for path in (tmp_path / "photos").rglob("*.jpg")]
    assert sorted(every) == sorted(files)
    assert all(len([k for k in part if k.startswith(f"class{c}/".encode())]) > 0 for c in range(3)
               for part in (trained, held, images.test.keys))  # fmt: skip


def test_parts_of_a_streamed_folder_are_the_users(tmp_path: Path) -> None:
    for part, each in (("train", 8), ("val", 3), ("test", 2)):
        photos_folder(tmp_path / "sets" / part, each=each)
    _, images, parts = opened(f"folder:{tmp_path / 'sets'},size=28,stream=yes")
    assert (len(parts.train), len(parts.val), len(images.test)) == (24, 9, 6)
    assert all(images.train.keys[place].startswith(b"val/") for place in parts.val.tolist())


def test_images_that_do_not_fit_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = photos_folder(tmp_path / "photos")
    needed = 2 * 36 * 3 * 28 * 28
    monkeypatch.setattr(folder, "memory_bytes", lambda: needed)
    assert not dataset(f"folder:{home},size=28").streamed
    monkeypatch.setattr(folder, "memory_bytes", lambda: needed - 1)
    assert dataset(f"folder:{home},size=28").streamed
    with pytest.raises(DataError, match=r"must fit in half of the memory .*stream them"):
        dataset(f"folder:{home},size=28,stream=no")


def test_streamed_gray_images_have_one_channel(tmp_path: Path) -> None:
    home = photos_folder(tmp_path / "photos")
    for path in home.rglob("*.jpg"):
        Image.open(path).convert("L").save(path)
    data, images, _ = opened(f"folder:{home},size=28,stream=yes")
    assert data.channels == 1
    assert images.train.read(0).shape[2] == 1


def test_what_streamed_images_cannot_have_is_refused(tmp_path: Path, photos: str) -> None:
    with pytest.raises(DataError, match=r"needs a size too; add one, as in folder:.*,stream=yes,size=224"):
        dataset(f"folder:{tmp_path / 'photos'},stream=yes")
    with pytest.raises(DataError, match=r"has its own crop, but the recipe has translation 2"):
        batches_of(photos, replace(SCALE_ASPECT, translation=2))
    with pytest.raises(DataError, match=r"needs images that lie in memory, but those of folder:.* are streamed"):
        load_images(dataset(photos), tmp_path)


def test_images_that_change_are_refused(tmp_path: Path, photos: str) -> None:
    data = dataset(photos)
    (tmp_path / "photos" / "class0" / "0000.jpg").unlink()
    with pytest.raises(DataError, match="must stay as they were"):
        load_data(data, tmp_path)


def damage(root: Path, keys: Sequence[bytes]) -> set[str]:
    """Cut the files short; returns their names."""
    for key in keys:
        path = root / key.decode()
        path.write_bytes(path.read_bytes()[:-200])
    return {key.decode() for key in keys}


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=[pytest.mark.slow])])
def test_the_next_image_of_its_class_stands_in_for_one_that_is_damaged(
    tmp_path: Path, photos: str, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    data, images, parts = opened(photos)
    batches, reader = batches_of(photos, SCALE_ASPECT, workers=workers)
    places = parts.train.tolist()
    alike = [place for place in places if images.train.labels[place] == 1]
    lost = [alike[2], alike[3], alike[-1]]
    names = damage(tmp_path / "photos", [images.train.keys[place] for place in lost])
    stand_ins = {alike[2]: alike[4], alike[3]: alike[4], alike[-1]: alike[0]}
    views = Views(SCALE_ASPECT, data, augment=True)
    for _ in range(2):
        draws = batches.draw()
        assert draws.seed is not None
        dark = replace(draws, light=None)
        batches.begin(dark)
        shown = [(pixels, label) for batch, labels in batches.apply(dark)
                 for pixels, label in zip(batch, labels.tolist(), strict=True)]  # fmt: skip
        assert len(shown) == len(places)
        for (pixels, label), place, flip in zip(shown, parts.train[draws.order].tolist(), draws.flip, strict=True):
            picture = images.train.read(stand_ins.get(place, place))
            with as_in_worker():
                view = views.train(picture, view_seed(int(draws.seed), place))
            expected = (view.float() - torch.tensor(data.mean)) / torch.tensor(data.std)
            expected = expected.flip(1) if flip else expected
            assert torch.allclose(pixels.permute(1, 2, 0), expected, atol=1e-5)
            assert label == images.train.labels[place]
    assert {line.partition(" (")[0] for line in batches.images.unreadable} == names
    assert sum("left out, since it cannot be read" in said for said in caplog.messages) == 3
    reader.close()


def test_an_evaluation_leaves_damaged_images_out(tmp_path: Path, photos: str) -> None:
    data, images, parts = opened(photos)
    reader = PictureReader(images.train, Views(CROP, data, augment=False), workers=0, pinned=False)
    there = StreamedImages(reader, parts.val, data, CPU)
    whole = list(there.batches(2))
    assert list(there.unreadable) == []
    lost = parts.val.tolist()[:3]  # one batch, and half of the next
    names = damage(tmp_path / "photos", [images.train.keys[place] for place in lost])
    for _ in range(2):
        left = list(there.batches(2))
        assert torch.equal(torch.cat([batch for batch, _ in left]), torch.cat([batch for batch, _ in whole])[3:])
        assert torch.equal(torch.cat([labels for _, labels in left]), torch.cat([labels for _, labels in whole])[3:])
    assert {line.partition(" (")[0] for line in there.unreadable} == names
    damage(tmp_path / "photos", [images.train.keys[place] for place in parts.val.tolist()[3:]])
    with pytest.raises(DataError, match=r"images to evaluate on must be readable, but none of 6 .* is"):
        list(there.batches(2))


def test_a_class_without_a_readable_image_is_one_line(tmp_path: Path, photos: str) -> None:
    batches, _ = batches_of(photos, SCALE_ASPECT)
    for path in (tmp_path / "photos" / "class1").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"none of the 8 of that of class1/\d+\.jpg \(no image\) can") as caught:
        list(batches.epoch())
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"must have images that can be read, but class1 has none"):
        dataset(photos)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_has_gone_ends_the_epoch(tmp_path: Path, photos: str, workers: int) -> None:
    batches, reader = batches_of(photos, SCALE_ASPECT, workers=workers)
    shutil.rmtree(tmp_path / "photos" / "class2")
    gone = r"class2/\d+\.jpg is not \(No such file or directory\); bring it back, then run the same command again$"
    with pytest.raises(DataError, match=gone) as caught:
        list(batches.epoch())
    assert caught.value.exit_code == 1
    reader.close()


def test_images_that_a_size_makes_too_large_are_left_out(tmp_path: Path) -> None:
    """A pack of a smaller size holds them; at the size of a training they would take all memory."""
    home = photos_folder(tmp_path / "photos")
    for part in range(9):
        Image.fromarray(np.zeros((1, 300_000, 3), np.uint8)).save(home / "class0" / f"line{part}.png")
    data, images, _ = opened(f"folder:{home},size=1,stream=yes")
    assert write_pack(data, images, tmp_path / "x.rkpack").skipped == ()
    name = f"pack:{tmp_path / 'x.rkpack'},size=28"
    batches, reader = batches_of(name, SCALE_ASPECT)
    assert all(pixels.shape[2:] == (28, 28) for pixels, _ in batches.epoch())
    assert all(line.startswith("class0/line") for line in batches.images.unreadable)
    _, _, parts = opened(name)
    there = StreamedImages(reader, parts.val, data, CPU)
    seen = sum(len(labels) for _, labels in there.batches())
    assert seen == len(parts.val) - len(there.unreadable)
    assert len(batches.images.unreadable) + len(there.unreadable) > 3
    assert "more than 178,956,970 in all" in batches.images.unreadable[0]


def test_damaged_images_of_a_streamed_folder_are_listed_before_it_trains(tmp_path: Path, photos: str) -> None:
    _, images, parts = opened(photos)
    (name,) = damage(tmp_path / "photos", [images.train.keys[int(parts.train[5])]])
    data, images, parts = opened(photos)
    (note,) = data.notes
    assert note.startswith(f"1 file cannot be read, and trainings leave it out: {name} (")
    assert f"measured on {len(parts.train) - 1} of the images to train on" in data.normalisation
    assert inspect(data, images, parts).notes == data.notes
    write_pack(data, images, tmp_path / "x.rkpack")
    (packed,) = dataset(f"pack:{tmp_path / 'x.rkpack'}").notes
    assert packed.startswith(f"1 file was skipped when it was packed: {name} (")
    with Image.open(io.BytesIO(contact_sheet(data, images))) as picture:
        assert picture.size == (10 * 29 - 1, 3 * 29 - 1)


def test_the_number_of_workers_follows_from_the_cpus() -> None:
    assert [worker_count(n, CPU) for n in (1, 2, 8)] == [0, 1, 7]
    assert [worker_count(n, torch.device("cuda")) for n in (1, 8)] == [1, 8]
