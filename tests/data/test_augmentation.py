"""Terms of the augmentation against naive loops over single images."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from rksearch.data.augmentation import RANDAUGMENT_GROUP, Augmentation, cut_out, rand_augmented, shifted
from rksearch.data.batches import DeviceImages, EpochDraws, TrainBatches
from rksearch.data.facts import dataset

CPU = torch.device("cpu")
DATA = replace(dataset("cifar10"), height=7, width=9)
COUNT = 50


def pixels(count: int = COUNT) -> Tensor:
    shape = (count, DATA.channels, DATA.height, DATA.width)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def source(seed: int = 3, *, augment: bool = True, **terms: Any) -> TrainBatches:
    images = DeviceImages(pixels(), torch.arange(COUNT) % 10, DATA, CPU)
    return TrainBatches(images, DATA, batch_size=8, augment=augment, seed=seed, augmentation=Augmentation(**terms))


def normal(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (DATA.mean, DATA.std))
    return (image.float() - mean) / std


def of_epoch(batches: TrainBatches, draws: EpochDraws) -> Tensor:
    batches.begin(draws)
    return torch.cat([images for images, _ in batches.apply(draws)])


@pytest.mark.parametrize("side", [1, 4, 5, 30])
def test_cutout_of_each_image_is_a_square_of_the_mean(side: int) -> None:
    batches = source(cutout=side)
    draws = batches.draw()
    found = of_epoch(batches, draws)
    plain = source()
    expected = of_epoch(plain, plain.draw())  # the same crops: further numbers are drawn after them
    assert draws.cut_y is not None
    assert draws.cut_x is not None
    for i in range(COUNT):
        for y in range(DATA.height):
            for x in range(DATA.width):
                top, left = int(draws.cut_y[i]) - side // 2, int(draws.cut_x[i]) - side // 2
                if top <= y < top + side and left <= x < left + side:
                    expected[i, :, y, x] = 0
    assert torch.equal(found, expected)
    assert {int(y) for y in draws.cut_y} == set(range(DATA.height))


def test_a_square_may_lie_outside_in_part() -> None:
    found = cut_out(torch.ones(1, 4, 4, 1), torch.tensor([0]), torch.tensor([3]), 4)
    assert found[0, :, :, 0].tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_translation_is_a_crop_from_the_mirrored_border() -> None:
    batches = source(translation=3)
    draws = batches.draw()
    found = of_epoch(batches, draws)
    images = pixels()
    for i in range(COUNT):
        dy, dx = int(draws.dy[i]), int(draws.dx[i])
        padded = F.pad(normal(images[draws.order[i]])[None], (3, 3, 3, 3), mode="reflect")[0]
        expected = padded[:, dy : dy + DATA.height, dx : dx + DATA.width]
        expected = expected.flip(2) if draws.flip[i] else expected
        assert torch.allclose(found[i], expected, atol=1e-5)
    assert set(draws.dy.tolist()) == set(range(7))


def test_the_largest_shift_mirrors_all_but_one_row() -> None:
    rows = torch.arange(5.0).view(1, 5, 1, 1).expand(1, 5, 5, 1)
    zero, still, no = torch.tensor([0]), torch.tensor([4]), torch.tensor([False])
    assert shifted(rows, zero, zero, no, 4)[0, :, 2, 0].tolist() == [4, 3, 2, 1, 0]
    assert shifted(rows, still, zero, no, 4)[0, :, 2, 0].tolist() == [0, 1, 2, 3, 4]


def mirrored(batches: TrainBatches) -> list[bool]:
    """Whether each image, in the order of the data set, is mirrored in the next epoch."""
    draws = batches.draw()
    found = torch.empty(COUNT, dtype=torch.bool)
    found[draws.order] = draws.flip
    return [bool(value) for value in found]


def test_alternating_flips_show_each_image_both_ways_in_any_two_epochs() -> None:
    batches = source(alternating_flip=True)
    epochs = [mirrored(batches) for _ in range(4)]
    assert epochs[0] == epochs[2] != epochs[1] == epochs[3]
    assert all(one != other for one, other in zip(epochs[0], epochs[1], strict=True))
    assert 10 < sum(epochs[0]) < 40
    assert mirrored(source(seed=4, alternating_flip=True)) != epochs[0]
    still = TrainBatches(
        DeviceImages(pixels(), torch.arange(COUNT), DATA, CPU),
        replace(DATA, flip=False),
        batch_size=8,
        augment=True,
        seed=3,
        augmentation=Augmentation(alternating_flip=True),
    )
    assert not still.draw().flip.any(), "a mirrored image is another label there"


def test_terms_that_are_off_leave_the_random_numbers_as_they_were() -> None:
    plain, more = source().draw(), source(cutout=2, mixup=1.0, randaugment=1).draw()
    assert plain.tensors().keys() == {"order", "dy", "dx", "flip"}
    assert more.tensors().keys() == {"order", "dy", "dx", "flip", "cut_y", "cut_x", "share", "seed"}
    for name, value in plain.tensors().items():
        assert torch.equal(value, more.tensors()[name]), name
    assert source(augment=False, cutout=2, mixup=1.0).draw().tensors().keys() == {*plain.tensors(), "share"}


def test_randaugment_is_torchvisions_on_random_groups() -> None:
    images = pixels().permute(0, 2, 3, 1)
    terms = Augmentation(randaugment=2, randaugment_magnitude=15)
    torch.manual_seed(12)
    before = torch.get_rng_state()
    found = rand_augmented(images, 7, terms, (10.0, 20.0, 30.0))
    assert torch.equal(torch.get_rng_state(), before), "a network with dropout draws on from there"
    torch.manual_seed(7)
    order = torch.randperm(COUNT)
    transform = v2.RandAugment(2, 15, fill=[10, 20, 30])
    for start in range(0, COUNT, RANDAUGMENT_GROUP):
        part = order[start : start + RANDAUGMENT_GROUP]
        assert torch.equal(found[part], transform(images[part].permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    assert torch.equal(rand_augmented(images, 7, terms, (10.0, 20.0, 30.0)), found)
    assert not torch.equal(rand_augmented(images, 8, terms, (10.0, 20.0, 30.0)), found)


def test_batches_of_randaugment_are_of_the_changed_pixels_of_their_epoch() -> None:
    batches = source(randaugment=2)
    draws = batches.draw()
    assert draws.seed is not None
    found = of_epoch(batches, draws)
    images = pixels().permute(0, 2, 3, 1)
    changed = rand_augmented(images, int(draws.seed), Augmentation(randaugment=2), DATA.mean).permute(0, 3, 1, 2)
    plain = TrainBatches(
        DeviceImages(changed, torch.arange(COUNT) % 10, DATA, CPU), DATA, batch_size=8, augment=True, seed=3
    )
    assert torch.equal(found, of_epoch(plain, plain.draw()))
    assert not torch.equal(changed, pixels())
