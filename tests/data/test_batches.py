from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.data.batches import DeviceImages, TrainBatches, batch_bounds
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import DataError

CPU = torch.device("cpu")
TINY = replace(dataset("cifar10"), height=5, width=7, mean=(100.0, 120.5, 7.0), std=(50.0, 61.0, 3.0), crop_padding=2)


def pictures(count: int, data: Dataset, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, data.channels, data.height, data.width)
    pixels = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    return pixels, torch.arange(count) % data.classes


def batches(count: int, data: Dataset, *, batch_size: int = 4, augment: bool = True, seed: int = 0) -> TrainBatches:
    images = DeviceImages(*pictures(count, data), data, CPU)
    return TrainBatches(images, data, batch_size=batch_size, augment=augment, seed=seed)


def naive(image: torch.Tensor, data: Dataset, dy: int, dx: int, flip: bool) -> torch.Tensor:
    """One image (C, H, W), pixel by pixel: normalise, zero-pad, crop at (dy, dx), mirror."""
    out = torch.zeros(image.shape)
    for c in range(data.channels):
        for y in range(data.height):
            for x in range(data.width):
                source_y = y + dy - data.crop_padding
                source_x = (data.width - 1 - x if flip else x) + dx - data.crop_padding
                if 0 <= source_y < data.height and 0 <= source_x < data.width:
                    pixel = torch.tensor(float(image[c, source_y, source_x]))
                    out[c, y, x] = (pixel - data.mean[c]) / data.std[c]
    return out


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(2, 12),
    padding=st.integers(0, 3),
    flip=st.booleans(),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_batches_equal_a_naive_augmentation_of_each_image(
    count: int, padding: int, flip: bool, channels: int, seed: int
) -> None:
    data = replace(
        TINY, crop_padding=padding, flip=flip, channels=channels, mean=TINY.mean[:channels], std=TINY.std[:channels]
    )
    pixels, labels = pictures(count, data)
    source = batches(count, data, seed=seed)
    draws = source.draw()
    assert sorted(draws.order.tolist()) == list(range(count))
    assert draws.dy.max() <= 2 * padding
    assert draws.dx.max() <= 2 * padding
    assert flip or not draws.flip.any()
    at = 0
    for images, targets in source.apply(draws):
        assert images.is_contiguous(memory_format=torch.channels_last)
        for image, target in zip(images, targets, strict=True):
            index = int(draws.order[at])
            expected = naive(pixels[index], data, int(draws.dy[at]), int(draws.dx[at]), bool(draws.flip[at]))
            assert torch.equal(image, expected)
            assert target == labels[index]
            at += 1
    assert at == count


def test_all_shifts_and_both_sides_occur_equally_often() -> None:
    draws = batches(20_000, replace(TINY, height=3, width=3)).draw()
    for shift in (draws.dy, draws.dx):
        assert torch.bincount(shift, minlength=5).tolist() == pytest.approx([4000] * 5, rel=0.08)
    assert draws.flip.float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_without_augmentation_images_are_only_shuffled_and_normalised() -> None:
    source = batches(9, TINY, augment=False)
    draws = source.draw()
    pixels, _ = pictures(9, TINY)
    mean, std = (torch.tensor(v)[:, None, None] for v in (TINY.mean, TINY.std))
    assert torch.equal(torch.cat([x for x, _ in source.apply(draws)]), ((pixels.float() - mean) / std)[draws.order])


def test_an_epoch_is_a_function_of_the_generators_state() -> None:
    first, second = batches(10, TINY, seed=3), batches(10, TINY, seed=3)
    for _ in range(2):
        state = first.generator.get_state()
        epoch = [x for x, _ in first.epoch()]
        assert all(torch.equal(a, b) for a, (b, _) in zip(epoch, second.epoch(), strict=True))
    other = batches(10, TINY, seed=99)
    other.generator.set_state(state)
    assert all(torch.equal(a, b) for a, (b, _) in zip(epoch, other.epoch(), strict=True))
    assert not torch.equal(batches(10, TINY, seed=4).draw().order, batches(10, TINY, seed=3).draw().order)


def test_evaluation_batches_keep_the_order() -> None:
    pixels, labels = pictures(7, TINY)
    found = list(DeviceImages(pixels, labels, TINY, CPU).batches(3))
    assert [len(y) for _, y in found] == [3, 3, 1]
    mean, std = (torch.tensor(v)[:, None, None] for v in (TINY.mean, TINY.std))
    assert torch.equal(torch.cat([x for x, _ in found]), (pixels.float() - mean) / std)
    assert torch.equal(torch.cat([y for _, y in found]), labels)


@given(images=st.integers(2, 400), batch_size=st.integers(2, 70))
def test_every_image_is_in_one_batch_and_no_batch_holds_a_single_one(images: int, batch_size: int) -> None:
    bounds = batch_bounds(images, batch_size)
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(images))
    sizes = [stop - start for start, stop in bounds]
    assert all(size == batch_size for size in sizes[:-1])
    assert 2 <= sizes[-1] <= batch_size + 1


def test_one_image_is_too_few() -> None:
    with pytest.raises(DataError, match="at least 2 images"):
        batch_bounds(1, 64)
