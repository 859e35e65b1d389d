"""The batch norm: torch's own, and in compiled code the definition in double precision."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rksearch.arch import parse
from rksearch.data.facts import dataset
from rksearch.models import build
from rksearch.models.parts import BatchNorm
from rksearch.models.recompute import recompute
from rksearch.training.memory import activation_bytes
from tests.helpers.measured import measure_step
from tests.helpers.trainings import needs_compiler

CIFAR10 = dataset("cifar10")
NETWORKS = ["RKNet-k12-m1_2-2x2_1x1", "RKNet-k12-m1_2-4x2s_1x1", "RKNet-BC-k12-m2_1-2x1_1x1", "DenseNet-13-k12"]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def norm(channels: int) -> BatchNorm:
    generator = torch.Generator().manual_seed(0)
    module = BatchNorm(channels)
    with torch.no_grad():
        module.weight.copy_(torch.rand(channels, generator=generator) * 2 - 0.5)
        module.bias.copy_(torch.randn(channels, generator=generator))
    return module


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("channels", "dtype"), [(16, torch.bfloat16), (12, torch.bfloat16), (16, torch.float32)])
def test_compiled_it_is_the_batch_norm_of_the_definition(channels, dtype):
    """Torch's own keeps the mean of bfloat16 images in bfloat16, which the tolerance of the weight's gradient sees."""
    module = norm(channels)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_otherwise_it_is_torchs_own_bit_for_bit(dtype, training):
    ours, theirs = norm(12), nn.BatchNorm2d(12)
    theirs.load_state_dict(ours.state_dict())
    x = channels_last(torch.randn(16, 12, 32, 32)).to(dtype)
    found = []
    for module in (ours.train(training), theirs.train(training)):
        leaf = x.clone().requires_grad_()
        F.relu_(module(leaf)).float().square().sum().backward()
        found.append([leaf.grad, module.weight.grad, module.bias.grad, *module.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


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


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(parse(name), CIFAR10).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputation_repeats_it_bit_for_bit_and_counts_each_batch_once(name):
    model = network(name)
    again = recompute(copy.deepcopy(model))
    assert losses(again, 2) == losses(model, 2)
    for path, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[path], value), path


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_large_batch_keeps_what_is_predicted(name, again, precision):
    model = network(name)
    found = measure_step(recompute(model) if again else model, CIFAR10, 16, precision)
    assert found.kept == activation_bytes(parse(name), CIFAR10, 16, precision, recompute=again)
