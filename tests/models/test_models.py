import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import rksearch
from rksearch.arch import (
    RKCNN,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    PreActResNet,
    ResidualRKNet,
    ResNet,
    RKNet,
    parse,
)
from rksearch.arch.image import image_shape
from rksearch.arch.tableaux import TABLEAUX
from rksearch.errors import DataError, RunError, SpecError
from rksearch.models import build
from rksearch.models.methods import Coefficients
from tests.helpers import naive
from tests.helpers.strategies import archs, by_family

DATA = image_shape(channels=3, size=16, classes=5)


def naive_steps(p):
    if p.solver is None:
        return naive.Steps(p.s, p.r, p.share, None)
    t = TABLEAUX[p.solver.tableau]
    # An error estimate's stage serves no network: its weight is zero, and no other stage reads it.
    a, b = [[float(x) for x in row[: p.s]] for row in t.a[: p.s]], [float(x) for x in t.b[: p.s]]
    return naive.Steps(p.s, p.r, p.share, naive.Solver(a, b, p.solver.h, p.solver.sweeps, p.solver.tie))


def reference(spec, model, x, training):
    """Logits and new running statistics of the independent implementation, on the model's own weights."""
    w = naive.Weights(model, training)
    match spec:
        case RKNet():
            periods = [(p.m, naive_steps(p)) for p in spec.periods]
            logits = naive.rknet(x, w, spec.growth_rate, periods, spec.bottleneck)
        case ResidualRKNet():
            logits = naive.residual_rknet(x, w, [naive_steps(p) for p in spec.periods])
        case RKCNN():
            logits = naive.rkcnn(
                x,
                w,
                spec.variant,
                list(spec.periods),
                spec.updates,
                spec.dropout_pct / 100,
                spec.multiscale,
                spec.attention,
            )
        case DenseNet() | ImageNetDenseNet():
            logits = naive.densenet(x, w, list(spec.blocks), spec.bottleneck)
        case ResNet():
            logits = naive.resnet(x, w, spec.blocks_per_group)
        case PreActResNet():
            logits = naive.preact_resnet(x, w, spec.blocks_per_group, spec.bottleneck)
        case CliqueNet():
            logits = naive.cliquenet(x, w, spec.growth_rate, spec.layers_per_block)
    w.assert_exhausted()
    return logits, w.running


def shaken(spec, data=DATA):
    """A model in double precision whose norms and coefficients have left their initial values, so that all matter."""
    torch.manual_seed(0)
    model = build(spec, data).double()
    for m in model.modules():
        if isinstance(m, Coefficients):
            for p in m.parameters():
                nn.init.uniform_(p, 0.1, 0.6)
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.5, 0.5)
            assert m.running_mean is not None
            assert m.running_var is not None
            m.running_mean.uniform_(-0.3, 0.3)
            m.running_var.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("family", by_family())
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_outputs_gradients_and_running_statistics_equal_the_naive_reference(family, data):
    check_parity(data.draw(by_family(most=2)[family]), DATA)


@pytest.mark.parametrize("name", ["RKNet-BC-k2-m2_1-2x1_1x1", "RKNet-Res-2x1_1x1", "DenseNet-7-k2"])
def test_large_images_enter_through_the_stem_of_imagenet(name):
    check_parity(parse(name), image_shape(channels=3, size=130, classes=3))


def check_parity(spec, data):
    model = shaken(spec, data)
    x = torch.randn(3, 3, data.height, data.width, dtype=torch.double)
    params = list(model.parameters())

    torch.manual_seed(1)  # of the dropout, where there is any
    expected, running = reference(spec, model, x, training=True)
    expected_grads = torch.autograd.grad(expected.square().sum(), params)
    torch.manual_seed(1)
    logits = model.train()(x)
    grads = torch.autograd.grad(logits.square().sum(), params)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        scale = float(theirs.abs().max()) + 1.0
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8 * scale)
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
    with pytest.raises(DataError, match="num_classes must be a whole number from 1 to 999999, but got 0"):
        rksearch.create("ResNet-8", num_classes=0)
    counted: Any = np.int64(3)
    assert rksearch.create("ResNet-8", num_classes=counted)(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("number", ["num_classes", "in_channels", "image_size"])
@pytest.mark.parametrize(
    "odd",
    [None, "32", b"32", [32], (32, 48), {}, 2.5, math.nan, True, 10**30, 10**5000, -1, np.arange(999)],
    ids=lambda odd: type(odd).__name__,
)
def test_create_refuses_odd_numbers_in_one_line(number: str, odd: Any) -> None:
    with pytest.raises(DataError, match=f"{number} must be a whole number from 1 to 999999, but got .*") as refused:
        rksearch.create("ResNet-8", **{number: odd})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("odd", [None, 5, b"ResNet-8", ["ResNet-8"], rksearch.ResNet])
def test_create_and_load_refuse_what_names_nothing(odd: object) -> None:
    with pytest.raises(SpecError, match="by its name or as a spec, but got"):
        rksearch.create(odd)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="by a directory or RUN:TRIAL, but got"):
        rksearch.load(odd)  # type: ignore[arg-type]


@pytest.mark.parametrize(("learned", "solved"), [("1x3s_1x2", "1x3s@euler_1x2@euler"), ("1x2_1x1", "1x2_1x1@euler")])
@pytest.mark.parametrize("head", ["RKNet-k4-m2_3-", "RKNet-BC-k3-m1_2-", "RKNet-Res-"])
def test_a_learned_method_of_one_stage_is_eulers(head, learned, solved):
    ours, theirs = shaken(parse(head + learned)), shaken(parse(head + solved))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 16, 16, dtype=torch.double)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_learned_coefficients_start_as_the_tableau():
    fixed, learning, step = (
        shaken_norms_only(parse(f"RKNet-Res-4x2@rk4{o}_2x1@gauss2{o}")) for o in ("", "+train", "+hlearn")
    )
    x = torch.randn(2, 3, 16, 16, dtype=torch.double)
    expected = fixed.eval()(x)
    for model in (learning, step):
        model.load_state_dict(fixed.state_dict(), strict=False)
        torch.testing.assert_close(model.eval()(x), expected, rtol=1e-6, atol=1e-6)


def shaken_norms_only(spec):
    torch.manual_seed(0)
    return build(spec, DATA).double()


def test_ties_and_shares_mean_one_storage_and_own_norms():
    model = rksearch.create("RKNet-BC-k4-m2_1_1-4x2s@rk4+tie_2x3@heun2+tie_2x2s@gauss2+tie+sweeps3")
    modules = dict(model.named_modules(remove_duplicate=False))

    def owners(period, leaf):
        paths = [p for p in modules if p.startswith(f"period{period}.") and p.endswith(f"layer1.{leaf}")]
        return len(paths), len({id(modules[p]) for p in paths})

    assert owners(1, "conv1") == owners(1, "conv2") == (8, 1)
    assert owners(2, "conv1") == (6, 3)
    assert owners(3, "conv1") == (12, 1)
    for period, uses in ((1, 8), (2, 6), (3, 12)):
        assert owners(period, "norm1") == owners(period, "norm2") == (uses, uses)


def test_sweeps_of_an_rkcnn_share_weights_and_norms():
    model = rksearch.create("RKCNN-I-k4-2x2-up3")
    modules = dict(model.named_modules(remove_duplicate=False))
    for leaf in ("conv1", "norm2"):
        for step in (1, 2):
            sweeps = {id(modules[f"period1.step{step}.sweep{i}.stage1.{leaf}"]) for i in (1, 2, 3)}
            assert len(sweeps) == 1
        steps = {id(modules[f"period1.step{step}.sweep1.stage1.{leaf}"]) for step in (1, 2)}
        assert len(steps) == 2
