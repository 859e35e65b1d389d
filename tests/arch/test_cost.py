import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rksearch.arch import parse
from rksearch.arch.closed_forms import areas, head_cost, network_cost, period_cost, stem_cost, transition_cost
from rksearch.arch.cost import Witness, cost, executed_macs, layout_cost
from rksearch.arch.image import image_shape
from rksearch.arch.layout import layout
from rksearch.data.facts import dataset
from rksearch.errors import SpecError
from rksearch.models import build
from rksearch.models.methods import Coefficients
from rksearch.models.witness import count_fvcore_flops, count_params, witness
from tests.helpers.strategies import archs, rknets

CIFAR10 = dataset("cifar10")


@pytest.mark.parametrize(
    ("name", "params", "params_paper"),
    [
        ("DenseNet-BC-100-k12", 769_162, 745_174),
        ("DenseNet-BC-250-k24", 15_324_406, None),
        ("ResNet-20", 269_722, None),
        ("RKCNN-E-k80-5x1_5x1_5x1-att-ms", 1_192_810, None),
        ("RKCNN-I-k80-5x1_5x1_5x1-att-ms", 2_551_210, None),
        ("RKCNN-R-k80-5x1_5x1_5x1-att-ms", 2_551_210, None),
        ("RKCNN-E-k120-5x1_5x1_5x1-att-ms", 2_672_410, None),
        ("RKCNN-I-k120-5x1_5x1_5x1-att-ms", 5_718_010, None),
    ],
)
def test_published_counts(name, params, params_paper):
    counted = cost(parse(name), CIFAR10)
    assert counted.params == params
    assert params_paper in (None, counted.params_paper)


@pytest.mark.parametrize("name", ["E-k80", "I-k80"])
def test_published_counts_on_cifar100(name):
    published = {"E-k80": 1_214_500, "I-k80": 2_572_900}
    assert cost(parse(f"RKCNN-{name}-5x1_5x1_5x1-att-ms"), dataset("cifar100")).params == published[name]


@pytest.mark.parametrize(
    ("name", "params_m", "double_macs_g"),
    [
        ("CliqueNet-k36-T12", "0.94", "0.91"),
        ("CliqueNet-k64-T15", "4.49", "4.21"),
        ("CliqueNet-k80-T15", "6.94", "6.45"),
        ("CliqueNet-k80-T18", "10.14", "9.45"),
    ],
)
def test_published_sizes_of_cliquenet(name, params_m, double_macs_g):
    counted = cost(parse(name), CIFAR10)
    assert f"{counted.params / 1e6:.2f}" == params_m
    assert f"{2 * counted.macs / 1e9:.2f}" == double_macs_g


@pytest.mark.parametrize(
    ("depth", "params"), [(121, 7_978_856), (169, 14_149_480), (201, 20_013_928), (161, 28_681_000)]
)
def test_densenets_for_imagenet_have_torchvisions_counts(depth, params):
    assert cost(parse(f"DenseNet-{depth}"), dataset("imagenet")).params == params


def test_a_downsampled_resnet_is_the_residual_rknet_of_euler_in_counts():
    for n in (3, 5, 18):
        name = f"RKNet-Res-1x{n}_1x{n - 1}_1x{n - 1}"
        assert cost(parse(name), CIFAR10) == cost(parse(f"ResNet-{6 * n + 2}"), CIFAR10)


@settings(max_examples=25, deadline=None)
@given(archs(most=3))
def test_arithmetic_equals_the_built_model_and_fvcore(spec):
    data = image_shape(channels=3, size=16, classes=7)
    model, counted = build(spec, data), cost(spec, data)
    assert count_params(model) == counted.params
    assert count_fvcore_flops(model, data) == counted.fvcore_flops
    norms = sum(p.numel() for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    coefficients = sum(p.numel() for m in model.modules() if isinstance(m, Coefficients) for p in m.parameters())
    assert counted.params_paper == counted.params - norms - coefficients
    executed = executed_macs(spec, data)
    assert witness(model, data, counted, executed) == Witness(
        params=counted.params, fvcore_flops=counted.fvcore_flops, agree=True, executed_macs=executed
    )
    assert 0 < executed <= counted.macs


@pytest.mark.parametrize("name", ["RKNet-BC-k4-m2_3-1x2s_2x1", "DenseNet-10-k4", "ResNet-8"])
def test_a_witness_that_counts_otherwise_does_not_agree(name):
    data = image_shape(channels=3, size=16, classes=7)
    spec = parse(name)
    model, counted = build(spec, data), cost(spec, data)
    assert witness(model, data, counted).agree is True
    assert witness(model, data, counted._replace(params=counted.params + 1)).agree is False
    assert witness(model, data, counted._replace(fvcore_flops=0)).agree is False
    assert witness(model, data, counted, executed_macs(spec, data) + 1).agree is False


@pytest.mark.parametrize(
    ("name", "less"), [("DenseNet-40-k12", 0.1427), ("DenseNet-BC-100-k12", 0.0922), ("ResNet-20", 0.0)]
)
def test_what_runs_is_less_than_what_is_defined_where_transitions_pool_first(name, less):
    spec = parse(name)
    counted, executed = cost(spec, CIFAR10).macs, executed_macs(spec, CIFAR10)
    assert 1 - executed / counted == pytest.approx(less, abs=5e-5)
    # Three quarters of the convolution in front of each pooling are not executed, as far as the pixels are even.
    rows = layout(spec, CIFAR10).rows
    saved = [
        conv.in_channels * conv.out_channels * (conv.out_size.area - pool.out_size.area)
        for conv, pool in itertools.pairwise(rows)
        if pool.kind == "avgpool" and conv.kind == "conv"
    ]
    assert counted - executed == sum(saved)


@settings(max_examples=25, deadline=None)
@given(archs(most=3))
def test_the_forward_pass_visits_exactly_the_rows(spec):
    data = image_shape(channels=2, size=20, classes=3)
    model = build(spec, data)
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    seen = []
    multiply_adds = 0

    def visit(module, inputs, output):
        nonlocal multiply_adds
        seen.append((paths[module], tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))
        if isinstance(module, nn.Conv2d | nn.Linear):
            multiply_adds += module.weight.numel() * output[0, 0].numel()

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(visit)
    model(torch.zeros(2, 2, 20, 20))
    trained = layout(spec, data).as_trained()
    rows = [row for row in trained.rows if row.kind != "coefficients"]
    assert len(seen) == len(rows)
    for (module_paths, shape_in, shape_out), row in zip(seen, rows, strict=True):
        assert row.path in module_paths
        assert row.weight in module_paths
        if row.kind != "linear":
            assert shape_in == (row.in_channels, *row.in_size)
            assert shape_out == (row.out_channels, *row.out_size)
        else:
            assert shape_in == (row.in_channels,)
    assert multiply_adds == layout_cost(trained).macs


@settings(deadline=None)
@given(rknets(most=9, most_periods=4), st.sampled_from([37, 127, 128, 150]))
def test_the_closed_form_of_parts_equals_the_sum_over_rows(spec, size):
    data = image_shape(channels=3, size=size, classes=11)
    k, ps = spec.growth_rate, spec.periods
    total = stem_cost(data, k, ps[0].m).plus(head_cost(data, k, ps[-1].m))
    for i, (p, area) in enumerate(zip(ps, areas(data, len(ps)), strict=True)):
        total = total.plus(period_cost(spec.bottleneck, k, p.m, p.s, p.r, int(p.share), area))
        if i + 1 < len(ps):
            total = total.plus(transition_cost(k, p.m, ps[i + 1].m, area))
    counted = cost(spec, data)
    assert (total.params, total.params_paper, total.macs) == (counted.params, counted.params_paper, counted.macs)


def test_the_closed_form_broadcasts():
    s, r = np.meshgrid(np.arange(1, 5), np.arange(1, 6), indexing="ij")
    table = period_cost(True, 12, 3, s, r, np.zeros_like(s), 64)
    assert np.shape(table.params) == (4, 5)
    one = period_cost(True, 12, 3, 2, 4, 0, 64)
    assert isinstance(table.params, np.ndarray)
    assert table.params[1, 3] == one.params


def test_sharing_lowers_parameters_and_leaves_macs_alone():
    shared, own = (cost(parse(f"RKNet-BC-k12-m2_9_12-{p}"), CIFAR10) for p in ("1x8s_1x2s_1x2s", "1x8_1x2_1x2"))
    assert shared.macs == own.macs
    assert shared.params < own.params / 1.5


def test_too_many_periods_for_the_image_is_an_error():
    spec = parse("RKNet-k2-m1_1_1_1_1-1x1_1x1_1x1_1x1_1x1")
    assert cost(spec, image_shape(channels=1, size=16, classes=2)).params > 0
    with pytest.raises(SpecError, match=r"transition4\.pool cannot halve 1 x 1"):
        cost(spec, image_shape(channels=1, size=8, classes=2))


@settings(max_examples=40, deadline=None)
@given(rknets(most=9, most_periods=4))
def test_one_network_in_closed_form_equals_the_sum_over_rows(spec):
    data = image_shape(channels=3, size=37, classes=11)
    m, s, r, share = ([getattr(p, name) for p in spec.periods] for name in ("m", "s", "r", "share"))
    one = network_cost(data, spec.bottleneck, spec.growth_rate, m, s, r, share)
    counted = cost(spec, data)
    assert tuple(one) == (counted.params, counted.params_paper, counted.macs)
    twice = network_cost(
        data, spec.bottleneck, spec.growth_rate, *([np.array([v, v]) for v in field] for field in (m, s, r, share))
    )
    assert [np.broadcast_to(column, 2).tolist() for column in twice] == [[v, v] for v in one]
