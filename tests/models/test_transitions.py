"""Transitions pool before they convolve: the same function with a quarter of the convolution's work."""

import pytest
import torch
from torch.nn import functional as F

from rksearch.arch import parse
from rksearch.arch.cost import row_cost
from rksearch.arch.image import image_shape
from rksearch.arch.layout import layout
from rksearch.models import build

DATA = image_shape(channels=3, size=16, classes=7)
TRANSITION = parse("DenseNet-BC-16-k4")


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (2, 3)])
def test_a_transition_may_pool_first(size):
    transition = build(TRANSITION, DATA).get_submodule("transition1").double()
    weight = transition.get_parameter("conv.weight")
    x = torch.randn(3, weight.shape[1], *size, dtype=torch.float64)
    activated = F.batch_norm(x, None, None, training=True).clamp(min=0)
    expected = F.avg_pool2d(F.conv2d(activated, weight), 2)
    for given_x in (x, x.contiguous(memory_format=torch.channels_last)):
        assert torch.allclose(transition(given_x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["DenseNet-BC-16-k4", "RKNet-k4-m1_2-2x1_1x2s", "CliqueNet-k4-T6"])
def test_the_layout_knows_what_is_done_as_well_as_what_is_defined(name):
    defined = layout(parse(name), DATA)
    trained = defined.as_trained()
    assert {row.path for row in trained.rows} == {row.path for row in defined.rows}
    before, after = ({row.path: row_cost(row) for row in net.rows} for net in (defined, trained))
    for path, counts in before.items():
        quarter = path.startswith("transition") and path.endswith(".conv")
        assert after[path] == (
            counts._replace(macs=counts.macs // 4, fvcore_flops=counts.macs // 4) if quarter else counts
        )


def test_transitions_with_dropout_are_done_as_defined():
    net = layout(parse("RKCNN-I-k8-3x2_2x1-drop30-att-ms"), DATA)
    assert net.as_trained() == net
