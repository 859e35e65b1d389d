import pytest
import torch
from hypothesis import given, settings
from torch import nn

import rksearch
from rksearch.datasets import image_shape
from rksearch.errors import DataError, SpecError
from rksearch.models import build
from rksearch.spec import DenseNet, ResNet, RKNet
from tests import naive
from tests.strategies import archs

DATA = image_shape(channels=3, size=16, classes=5)


def reference(spec, model, x, training):
    """Logits and new running statistics of the independent implementation, on the model's own weights."""
    w = naive.Weights(model, training)
    match spec:
        case RKNet():
            periods = [(p.m, p.s, p.r, p.share) for p in spec.periods]
            logits = naive.rknet(x, w, spec.growth_rate, periods, spec.bottleneck)
        case DenseNet():
            logits = naive.densenet(x, w, spec.layers_per_block, spec.bottleneck)
        case ResNet():
            logits = naive.resnet(x, w, spec.blocks_per_group)
    w.assert_exhausted()
    return logits, w.running


def shaken(spec):
    """A model in double precision whose norms have left their initial values, so that every one of them matters."""
    torch.manual_seed(0)
    model = build(spec, DATA).double()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.5, 0.5)
            assert m.running_mean is not None
            assert m.running_var is not None
            m.running_mean.uniform_(-0.3, 0.3)
            m.running_var.uniform_(0.5, 1.5)
    return model


@settings(max_examples=20, deadline=None)
@given(archs(most=3))
def test_outputs_gradients_and_running_statistics_equal_the_naive_reference(spec):
    model = shaken(spec)
    x = torch.randn(3, 3, 16, 16, dtype=torch.double)
    params = list(model.parameters())

    expected, running = reference(spec, model, x, training=True)
    expected_grads = torch.autograd.grad(expected.square().sum(), params)
    logits = model.train()(x)
    grads = torch.autograd.grad(logits.square().sum(), params)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for m, (mean, var) in zip(norms, running, strict=True):
        torch.testing.assert_close(m.running_mean, mean)
        torch.testing.assert_close(m.running_var, var)

    expected, _ = reference(spec, model, x, training=False)
    torch.testing.assert_close(model.eval()(x), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(archs(most=2))
def test_every_parameter_gets_a_finite_gradient(spec):
    model = build(spec, DATA)
    model(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name


def test_share_means_one_storage_per_period_and_own_norms():
    model = rksearch.create("RKNet-BC-k4-m2_3_2-2x3s_1x2_1x4s")
    modules = dict(model.named_modules(remove_duplicate=False))
    for period, r, share in ((1, 3, True), (2, 2, False), (3, 4, True)):
        for conv in ("conv1", "conv2"):
            owners = {id(modules[f"period{period}.step{t}.layer1.{conv}"].weight) for t in range(1, r + 1)}
            assert len(owners) == (1 if share else r)
        for norm in ("norm1", "norm2"):
            assert len({id(modules[f"period{period}.step{t}.layer1.{norm}"]) for t in range(1, r + 1)}) == r


def test_convolutions_start_with_the_deviation_of_the_recipe():
    torch.manual_seed(0)
    model = rksearch.create("DenseNet-40-k48")
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 50_000]
    assert len(convs) > 30
    for conv in convs:
        expected = (2 / (conv.kernel_size[0] ** 2 * conv.out_channels)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.03)
        assert conv.bias is None
    (linear,) = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear.bias.abs().max() == 0


def test_same_seed_same_weights():
    torch.manual_seed(7)
    a = rksearch.create("ResNet-8").state_dict()
    torch.manual_seed(7)
    b = rksearch.create("ResNet-8").state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_create_takes_classes_channels_and_size():
    model = rksearch.create("RKNet-k4-m2_2-1x2_2x1", num_classes=13, in_channels=1, image_size=9)
    assert model(torch.zeros(2, 1, 9, 9)).shape == (2, 13)
    with pytest.raises(SpecError, match="cannot halve"):
        rksearch.create("RKNet-k4-m2_2-1x2_2x1", image_size=1)
    with pytest.raises(DataError, match="num_classes must be at least 1"):
        rksearch.create("ResNet-8", num_classes=0)
