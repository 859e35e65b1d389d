"""DenseNets for ImageNet against torchvision's, weights copied module by module."""

import pytest
import torch
import torchvision.models
from torch import nn

from rksearch.arch import parse
from rksearch.arch.image import image_shape
from rksearch.models import build
from rksearch.models.witness import count_params

# Small images keep the test cheap; the stem is the one of 224 pixels.
DATA = image_shape(channels=3, size=128, classes=1000)


@pytest.mark.parametrize("depth", [121, *(pytest.param(d, marks=pytest.mark.slow) for d in (169, 201, 161))])
def test_counts_and_outputs_are_torchvisions(depth):
    torch.manual_seed(depth)
    ours = build(parse(f"DenseNet-{depth}"), DATA).eval()
    theirs = getattr(torchvision.models, f"densenet{depth}")(weights=None).eval()
    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        pairs = zip(*([m for m in net.modules() if isinstance(m, kind)] for net in (ours, theirs)), strict=True)
        for mine, source in pairs:
            if kind is nn.BatchNorm2d:
                source.running_mean.uniform_(-0.1, 0.1)
                source.running_var.uniform_(0.8, 1.2)
                nn.init.uniform_(source.weight, 0.8, 1.2)
            mine.load_state_dict(source.state_dict())
    assert count_params(ours) == count_params(theirs)
    x = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)
