"""The batch norm that takes pixels together and shares statistics, against the definition in double precision."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rksearch.arch import parse
from rksearch.data.facts import dataset
from rksearch.models import build
from rksearch.models.blocks import DenseLayer
from rksearch.models.densenet import DenseBlock
from rksearch.models.kernels.norm import BatchNorm, joined, statistics_of
from rksearch.models.recompute import recompute
from rksearch.models.rknet import TimeStep
from rksearch.training.memory import activation_bytes
from tests.helpers.measured import measure_step
from tests.helpers.trainings import needs_compiler

CIFAR10 = dataset("cifar10")
NARROW = "RKNet-k12-m1_2-2x2_1x1"
SHARING = ["RKNet-k12-m1_2-4x2s_1x1", "RKNet-BC-k12-m2_1-2x1_1x1", "DenseNet-13-k12"]
"""Whose first periods have enough layers for sharing statistics."""


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def is_grouped(y: torch.Tensor) -> bool:
    return type(y.grad_fn).__name__ == "_NormalisedBackward"


def shares(y: torch.Tensor) -> bool:
    return type(y.grad_fn).__name__ == "_NormalisedByBackward"


def norm(channels: int, generator: torch.Generator) -> BatchNorm:
    module = BatchNorm(channels)
    with torch.no_grad():
        module.weight.copy_(torch.rand(channels, generator=generator) * 2 - 0.5)
        module.bias.copy_(torch.randn(channels, generator=generator))
    return module


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, 128).filter(lambda c: c % 16),
    st.sampled_from([(16, 32, 32), (64, 16, 16)]),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.integers(0, 99),
)
def test_it_is_the_batch_norm_of_the_definition(channels, shape, dtype, seed):
    y = assert_it_is_the_definition(norm(channels, torch.Generator().manual_seed(seed)), shape, dtype, seed)
    if channels > 1:
        assert is_grouped(y)


@needs_compiler
@pytest.mark.parametrize(("channels", "dtype"), [(16, torch.bfloat16), (12, torch.bfloat16), (16, torch.float32)])
def test_compiled_it_is_the_batch_norm_of_the_definition(channels, dtype):
    """Torch's own keeps the mean of bfloat16 images in bfloat16, which the tolerance of the weight's gradient sees."""
    module = norm(channels, torch.Generator().manual_seed(0))
    torch.compiler.reset()
    module.compile(dynamic=False, fullgraph=True)
    y = assert_it_is_the_definition(module, (16, 32, 32), dtype, seed=0)
    assert type(y.grad_fn).__name__ == "CompiledFunctionBackward"


def assert_it_is_the_definition(
    module: BatchNorm, shape: tuple[int, int, int], dtype: torch.dtype, seed: int
) -> torch.Tensor:
    """Output, gradients and running statistics of one training batch; returns the output."""
    channels = module.num_features
    generator = torch.Generator().manual_seed(seed)
    count, height, width = shape
    offset = torch.randn(channels, 1, 1, generator=generator) * 3
    x = torch.randn(count, channels, height, width, generator=generator) * 2 + offset
    x = channels_last(x.to(dtype)).requires_grad_()
    up = channels_last(torch.randn(x.shape, generator=generator).to(dtype))
    y = module(x)
    assert isinstance(y, torch.Tensor)
    y.backward(up)
    assert x.grad is not None
    assert module.weight.grad is not None
    assert module.bias.grad is not None
    assert module.running_mean is not None
    assert module.running_var is not None
    assert module.num_batches_tracked is not None

    z = x.detach().double()
    dims = (0, 2, 3)
    pixels = z.numel() // channels
    mean = z.sum(dims, keepdim=True) / pixels
    variance = ((z - mean) ** 2).sum(dims, keepdim=True) / pixels
    inverse = (variance + module.eps) ** -0.5
    standard = (z - mean) * inverse
    weight, bias = (p.detach().double()[:, None, None] for p in (module.weight, module.bias))
    g = up.double()
    by_weight, by_bias = (g * standard).sum(dims), g.sum(dims)
    by_input = weight * inverse * (g - g.mean(dims, keepdim=True) - standard * (g * standard).mean(dims, keepdim=True))

    # One rounding to the type for the output, three for the gradient: of both of its terms, and of their sum.
    unit = torch.finfo(dtype).eps
    scale = float((weight * inverse).abs().max() * g.abs().max())
    torch.testing.assert_close(y.double(), standard * weight + bias, rtol=unit, atol=1e-5)
    torch.testing.assert_close(
        x.grad.double(), by_input, rtol=2 * unit, atol=(2 * unit if unit > 1e-3 else 4e-6) * scale
    )
    torch.testing.assert_close(module.weight.grad.double(), by_weight, rtol=1e-3, atol=2e-4 * pixels**0.5)
    torch.testing.assert_close(module.bias.grad.double(), by_bias, rtol=1e-3, atol=2e-4 * pixels**0.5)
    torch.testing.assert_close(module.running_mean.double(), 0.1 * mean.flatten(), rtol=1e-4, atol=1e-5)
    expected = 0.9 + 0.1 * variance.flatten() * pixels / (pixels - 1)
    torch.testing.assert_close(module.running_var.double(), expected, rtol=1e-4, atol=1e-5)
    assert module.num_batches_tracked.item() == 1
    return y


def plain_input(channels=12, count=16, size=32):
    return torch.randn(count, channels, size, size, requires_grad=True)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(plain_input(), id="channels first"),
        pytest.param(channels_last(plain_input(channels=32)), id="a multiple of the vector"),
        pytest.param(channels_last(plain_input(channels=132)), id="many channels"),
        pytest.param(channels_last(plain_input(count=15)), id="few pixels"),
        pytest.param(channels_last(plain_input(channels=1)), id="one channel"),
    ],
)
def test_elsewhere_it_is_torchs_own(x):
    ours, theirs = BatchNorm(x.shape[1]), nn.BatchNorm2d(x.shape[1])
    y = ours(x)
    assert not is_grouped(y)
    assert torch.equal(y, theirs(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))


def test_its_output_may_be_overwritten():
    module = norm(12, torch.Generator().manual_seed(0))
    x = channels_last(plain_input())
    gradients = []
    for inplace in (False, True):
        leaf = x.detach().clone().requires_grad_()
        y = module(leaf)
        assert is_grouped(y)
        F.relu(y, inplace=inplace).square().sum().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], gradients[1])


def test_evaluation_uses_running_statistics():
    module = norm(12, torch.Generator().manual_seed(0))
    x = channels_last(plain_input())
    module(x)
    module.eval()
    y = module(x)
    assert not is_grouped(y)
    expected = F.batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias)
    assert torch.equal(y, expected)


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    """The same weights with our batch norms and with torch's."""
    torch.manual_seed(0)
    ours = build(parse(name), CIFAR10).to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    for module in theirs.modules():
        if isinstance(module, BatchNorm):
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
    return ours, theirs


def layer_input_channels(layer: nn.Module) -> int:
    assert isinstance(layer, DenseLayer)
    assert isinstance(layer.norm1, BatchNorm)
    return layer.norm1.num_features


def losses(model: nn.Module, steps: int) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = []
    for _ in range(steps):
        images = channels_last(torch.randn(16, 3, 32, 32, generator=generator))
        labels = torch.randint(0, 10, (16,), generator=generator)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(("name", "ours_is"), [(NARROW, is_grouped), *((name, shares) for name in SHARING)])
def test_a_network_trains_as_with_torchs_norms(name, ours_is):
    ours, theirs = networks(name)
    seen = []
    handles = [
        m.register_forward_hook(lambda _, __, y: seen.append(ours_is(y)))
        for m in ours.modules()
        if isinstance(m, BatchNorm)
    ]
    expected, found = losses(theirs, 3), losses(ours, 3)
    for handle in handles:
        handle.remove()
    assert any(seen)
    assert found == pytest.approx(expected, rel=1e-4)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", [NARROW, *SHARING])
def test_recomputation_repeats_it_bit_for_bit_and_counts_each_batch_once(name):
    ours, _ = networks(name)
    again = recompute(copy.deepcopy(ours))
    assert losses(again, 2) == losses(ours, 2)
    for name, value in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("name", [NARROW, *SHARING])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_keeps_what_torchs_keeps(name, again, precision):
    ours, _ = networks(name)
    shared = 0
    if again and name in SHARING:
        # Statistics are kept, float32 means and variances, of what a block or time-step at full resolution begins with
        # and of each growth that another of its layers reads: together, of all that its last layer reads.
        first = [m for path, m in ours.named_modules() if path.startswith(("block1", "period1"))]
        shared = sum(8 * layer_input_channels(m[-1]) for m in first if isinstance(m, DenseBlock | TimeStep))
    found = measure_step(recompute(ours) if again else ours, CIFAR10, 16, precision)
    assert found.kept == activation_bytes(parse(name), CIFAR10, 16, precision, recompute=again) + shared


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2, 40),
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.integers(0, 99),
)
def test_shared_statistics_give_each_reader_its_norm_and_each_feature_its_gradient(width, growths, dtype, seed):
    generator = torch.Generator().manual_seed(seed)

    def images(channels):
        x = torch.randn(16, channels, 32, 32, generator=generator) * 2 + 1
        return channels_last(x.to(dtype)).requires_grad_()

    features = [images(channels) for channels in (width, *growths)]
    norms = [norm(width + sum(growths[:i]), generator) for i in range(len(growths) + 1)]
    ups = [channels_last(torch.randn(16, n.num_features, 32, 32, generator=generator).to(dtype)) for n in norms]

    seen, statistics = features[0], statistics_of(features[0])
    outputs = [norms[0](seen, statistics)]
    for module, feature in zip(norms[1:], features[1:], strict=True):
        seen, statistics = joined(seen, statistics, feature)
        outputs.append(module(seen, statistics))
    assert all(shares(y) for y in outputs)
    torch.autograd.backward(outputs, ups)

    doubles = [feature.detach().double().requires_grad_() for feature in features]
    references = [nn.BatchNorm2d(module.num_features).double() for module in norms]
    with torch.no_grad():
        for reference, mine in zip(references, norms, strict=True):
            reference.weight.copy_(mine.weight)
            reference.bias.copy_(mine.bias)
    expected = [reference(torch.cat(doubles[: i + 1], 1)) for i, reference in enumerate(references)]
    torch.autograd.backward(expected, [up.double() for up in ups])

    # Every reader's gradient and every partial sum is rounded to the type.
    unit = torch.finfo(dtype).eps
    for y, exact in zip(outputs, expected, strict=True):
        torch.testing.assert_close(y.double(), exact, rtol=unit, atol=1e-4)
    for feature, double in zip(features, doubles, strict=True):
        scale = float(double.grad.abs().max())
        tolerance = 4 * unit * len(norms) if dtype == torch.bfloat16 else 1e-5
        assert feature.grad is not None
        torch.testing.assert_close(feature.grad.double(), double.grad, rtol=0, atol=tolerance * scale)
    for module, reference in zip(norms, references, strict=True):
        for parameter, exact in zip(module.parameters(), reference.parameters(), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad.double(), exact.grad, rtol=1e-3, atol=0.05)
        for tracked, expected_value in zip(module.buffers(), reference.buffers(), strict=True):
            torch.testing.assert_close(tracked.double(), expected_value.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        pytest.param("DenseNet-13-k12", 15, id="few pixels"),
        pytest.param("RKNet-k12-m1_2-2x2_1x1", 16, id="few readers"),
    ],
)
def test_where_sharing_does_not_pay_norms_take_their_own_statistics(name, images):
    model, _ = networks(name)
    seen = []
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.register_forward_hook(lambda _, __, y: seen.append(shares(y)))
    model(channels_last(torch.randn(images, 3, 32, 32)))
    assert seen
    assert not any(seen)


def test_a_norm_in_evaluation_mode_among_training_ones_uses_its_running_statistics():
    module = norm(12, torch.Generator().manual_seed(0)).eval()
    x = channels_last(plain_input())
    assert torch.equal(module(x, statistics_of(x)), module(x))


def test_evaluation_shares_nothing():
    ours, theirs = networks(SHARING[-1])
    images = channels_last(torch.randn(16, 3, 32, 32))
    assert torch.equal(ours.eval()(images), theirs.eval()(images))
