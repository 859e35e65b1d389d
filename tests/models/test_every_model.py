"""Every listed model: builds, counts, takes a training step, and evaluates each image for itself."""

import re

import pytest
import torch
from torch.nn import functional as F

import rksearch
from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.arch.image import ImageShape, image_shape
from rksearch.models import build
from rksearch.models.witness import count_params

IMAGENET_SIZE = 128
"""The smallest images that get ImageNet's stem."""

SMALL = 300_000
"""Parameters of what the fast tests can afford."""


def size(name: str) -> int:
    """Pixels in height and width: networks of four periods or blocks are ImageNet's."""
    four = name.count("_") >= 6 or re.fullmatch(r"DenseNet-[0-9]+", name)
    return IMAGENET_SIZE if four else 32


def data_of(name: str) -> ImageShape:
    return image_shape(channels=3, size=size(name), classes=10)


def params(name: str) -> int:
    return cost(parse(name), data_of(name)).params


def check(name: str) -> None:
    spec = parse(name)
    assert str(spec) == name
    data = data_of(name)
    torch.manual_seed(0)
    model = build(spec, data)
    assert count_params(model) == cost(spec, data).params
    images = torch.randn(2, 3, data.height, data.width)
    labels = torch.tensor([1, 7])

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    logits = model.train()(images)
    assert torch.isfinite(logits).all()
    F.cross_entropy(logits, labels).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert torch.isfinite(p.grad).all(), key
    optimizer.step()
    assert any(not torch.equal(before[key], p) for key, p in model.named_parameters())

    with torch.no_grad():
        together = model.eval()(images)
        alone = torch.cat([model(images[:1]), model(images[1:])])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in rksearch.list_models() if params(n) < SMALL])
def test_every_small_listed_model(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in rksearch.list_models() if params(n) >= SMALL])
def test_every_large_listed_model(name):
    check(name)
