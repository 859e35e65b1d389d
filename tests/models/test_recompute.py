from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from rksearch.arch import ArchSpec, parse
from rksearch.arch.image import image_shape
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.training.engine.device import has_native_bf16
from tests.helpers.strategies import archs

DATA = image_shape(channels=3, size=16, classes=7)


def train(spec: ArchSpec, again: bool, precision: str = "fp32", steps: int = 2) -> tuple[list[float], dict[str, Any]]:
    """Losses of a few steps, and the state after them: weights, running statistics, counts of batches."""
    torch.manual_seed(0)
    model = build(spec, DATA).to(memory_format=torch.channels_last)
    if again:
        assert recompute(model) is model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    losses = []
    for _ in range(steps):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), torch.tensor([0, 3, 6, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def assert_equal(found: tuple[list[float], dict[str, Any]], expected: tuple[list[float], dict[str, Any]]) -> None:
    assert found[0] == expected[0]
    assert list(found[1]) == list(expected[1])
    for name, value in expected[1].items():
        assert torch.equal(found[1][name], value), name


@settings(max_examples=25, deadline=None)
@given(archs(most=3), st.sampled_from(["fp32", "bf16"]))
@example(parse("RKNet-k1-m1-2x1"), "fp32")
def test_training_with_recomputation_is_the_same_bit_for_bit(spec, precision):
    if precision == "bf16" and not has_native_bf16(torch.device("cpu")):
        precision = "fp32"
    assert_equal(train(spec, True, precision), train(spec, False, precision))


def test_dropout_is_drawn_once():
    spec = parse("RKCNN-I-k8-3x2_2x1-drop30-att-ms")
    assert_equal(train(spec, True), train(spec, False))


@pytest.mark.parametrize("name", ["ResNet-8", "DenseNet-BC-16-k4", "RKNet-k4-m2_2-2x2s_1x1"])
def test_running_statistics_take_each_batch_once(name):
    _, state = train(parse(name), True, steps=3)
    counts = [value.item() for key, value in state.items() if key.endswith("num_batches_tracked")]
    assert counts
    assert set(counts) == {3}


def test_evaluation_needs_no_backward_pass_and_is_the_same():
    spec = parse("RKNet-BC-k4-m2_3-2x2_1x1")
    torch.manual_seed(0)
    model = build(spec, DATA).eval()
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        expected = model(images)
        assert torch.equal(recompute(model)(images), expected)
