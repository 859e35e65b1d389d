"""What keeps channels side by side through a step: the same numbers as torch's own operations, in that layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rksearch.arch import ArchSpec, parse
from rksearch.arch.cost import row_cost
from rksearch.arch.image import image_shape
from rksearch.arch.layout import layout
from rksearch.models import build
from rksearch.models.kernels.channels_last import every_second_pixel, last_channels, mean_of_pixels, side_by_side
from rksearch.models.recompute import recompute
from tests.helpers.strategies import archs

DATA = image_shape(channels=3, size=16, classes=7)
CHANNELS_LAST = torch.channels_last


class OtherLayouts(TorchDispatchMode):
    """Collects the operations that make a map whose channels do not lie side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            is_map = isinstance(x, torch.Tensor) and x.dim() == 4 and x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1
            # An expanded pixel, which is all views of one, is laid out when it is copied.
            if is_map and x.stride(1) != 1 and 0 not in x.stride():
                self.found.append(f"{op}: {tuple(x.shape)} {x.stride()}")
        return out


def other_layouts(spec: ArchSpec, precision: str, again: bool) -> list[str]:
    """Of a step of training, forward and backward."""
    model = build(spec, DATA).to(memory_format=CHANNELS_LAST)
    if again:
        recompute(model)
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=CHANNELS_LAST)
    with OtherLayouts() as layouts, torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        model(images).float().square().sum().backward()
    return layouts.found


@settings(max_examples=40, deadline=None)
@given(archs(most=3), st.sampled_from(["fp32", "bf16"]), st.booleans())
def test_no_step_of_training_meets_maps_of_another_layout(spec, precision, again):
    # A map of one channel is of both layouts, and torch takes it for the other.
    assume(all(row.out_channels > 1 for row in layout(spec, DATA).rows))
    assert other_layouts(spec, precision, again) == []


@pytest.mark.parametrize("name", ["ResNet-20", "PreActResNet-20", "DenseNet-BC-22-k8"])
def test_nor_does_one_of_the_baselines(name):
    assert other_layouts(parse(name), "bf16", False) == []


TRANSITION = parse("DenseNet-BC-16-k4")


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (2, 3)])
def test_a_transition_may_pool_first(size):
    transition = build(TRANSITION, DATA).get_submodule("transition1").double()
    weight = transition.get_parameter("conv.weight")
    x = torch.randn(3, weight.shape[1], *size, dtype=torch.float64)
    activated = F.batch_norm(x, None, None, training=True).clamp(min=0)
    expected = F.avg_pool2d(F.conv2d(activated, weight), 2)
    for given_x in (x, x.contiguous(memory_format=CHANNELS_LAST)):
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


def gradients(out: torch.Tensor, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """By a gradient that differs from value to value."""
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out.dtype)
    return torch.autograd.grad(out, inputs, weights.contiguous(memory_format=CHANNELS_LAST))


def maps(widths: list[int], dtype: torch.dtype, size: tuple[int, int] = (4, 4)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = (torch.randn(2, width, *size, generator=generator).to(dtype) for width in widths)
    return [x.contiguous(memory_format=CHANNELS_LAST).requires_grad_() for x in drawn]


DTYPES = st.sampled_from([torch.bfloat16, torch.float32])


@given(st.lists(st.integers(1, 70), min_size=1, max_size=4), DTYPES)
def test_a_concatenation_is_torchs_bit_for_bit(widths, dtype):
    found, expected = maps(widths, dtype), maps(widths, dtype)
    ours, theirs = side_by_side(found), torch.cat(expected, 1)
    assert torch.equal(ours, theirs)
    for a, b in zip(gradients(ours, found), gradients(theirs, expected), strict=True):
        assert torch.equal(a, b)


def test_parts_are_copied_where_sums_with_views_are_slow():
    found = maps([24, 12, 64, 260], torch.bfloat16)
    parts = gradients(side_by_side(found), found)
    assert [p._is_view() for p in parts] == [False, False, True, True]
    single = maps([24, 12], torch.float32)
    assert all(p._is_view() for p in gradients(side_by_side(single), single))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), DTYPES)
def test_means_and_slices_are_torchs_bit_for_bit(channels, height, width, dtype):
    for ours, theirs in (
        (mean_of_pixels, lambda x: F.adaptive_avg_pool2d(x, 1)),
        (every_second_pixel, lambda x: x[:, :, ::2, ::2]),
        (lambda x: last_channels(x, (channels + 1) // 2), lambda x: x[:, channels // 2 :]),
    ):
        x, y = (maps([channels], dtype, (height, width))[0] for _ in range(2))
        a, b = ours(x), theirs(y)
        assert torch.equal(a, b)
        (by_x,), (by_y,) = gradients(a, [x]), gradients(b, [y])
        assert torch.equal(by_x, by_y)
        assert by_x.is_contiguous(memory_format=CHANNELS_LAST)


def test_torchs_own_gradients_would_be_laid_out_otherwise():
    (x,) = maps([8], torch.float32)
    for out in (F.adaptive_avg_pool2d(x, 1), x[:, :, ::2, ::2], x[:, 3:]):
        assert not gradients(out, [x])[0].is_contiguous(memory_format=CHANNELS_LAST)
