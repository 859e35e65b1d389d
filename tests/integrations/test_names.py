import re

import pytest
from hypothesis import given

import rksearch
from rksearch.errors import SpecError
from rksearch.integrations.names import arch_name, is_timm_name, timm_name
from tests.helpers.strategies import all_specs


@given(all_specs())
def test_names_go_both_ways(spec):
    name = timm_name(spec)
    assert arch_name(name) == str(spec)
    assert timm_name(str(spec)) == name
    assert is_timm_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_@+]+", name), "timm ends a name at a point, and takes others for paths"
    assert name[0].islower()


@given(all_specs(), all_specs())
def test_two_architectures_have_two_names(one, other):
    assert (timm_name(one) == timm_name(other)) == (one == other)


def test_every_listed_name_goes_both_ways():
    assert [arch_name(timm_name(name)) for name in rksearch.list_models()] == rksearch.list_models()


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s", "rknet_bc_k12_m2__9__12_1x8s__1x2s__1x2s"),
        ("RKNet-Res-4x2s@rk4+tie_2x1@gauss2+h0.25learn", "rknet_res_4x2s@rk4+tie__2x1@gauss2+h0p25learn"),
        ("RKCNN-I-k80-5x1_5x1_5x1-att-ms", "rkcnn_I_k80_5x1__5x1__5x1_att_ms"),
        ("CliqueNet-k36-T12", "cliquenet_k36_T12"),
        ("PreActResNet-B-1001", "preactresnet_b_1001"),
        ("DenseNet-121", "densenet_121"),
    ],
)
def test_the_rule_by_example(arch, name):
    assert (timm_name(arch), arch_name(name)) == (name, arch)


@pytest.mark.parametrize(
    "name", ["resnet50", "", "rknet", "rknet_bc", "resnet_21", "rknet_bc_k12", "ResNet_20", "RKNet-Res-1x1"]
)
def test_other_names_are_refused_in_one_line(name):
    assert not is_timm_name(name)
    with pytest.raises(SpecError) as error:
        arch_name(name)
    assert "\n" not in str(error.value)
