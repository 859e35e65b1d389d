"""Architectures as models of timm."""

import sys

import pytest
import torch

import rksearch
from rksearch.arch import parse
from rksearch.data.facts import dataset
from rksearch.errors import DataError, SpecError
from rksearch.models import Network, build
from rksearch.models.export import export
from tests.helpers.command_line import python

timm = pytest.importorskip("timm")

from rksearch.integrations import timm as door  # noqa: E402  # it needs timm

NAMES = (
    "rknet_bc_k4_m2__3_1x2s__2x3s",
    "rknet_res_4x2s@rk4+tie__2x1@gauss2+h0p5",
    "rkcnn_I_k4_2x1__2x1_up2_att_ms",
    "densenet_bc_16_k4",
    "resnet_8",
    "preactresnet_b_11",
    "cliquenet_k2_T6",
)
"""Of every family, and most of them not listed."""


@pytest.mark.parametrize("name", NAMES)
def test_create_model_builds_every_architecture(name):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=7, in_chans=1, img_size=16)
    torch.manual_seed(0)
    ours = rksearch.create(door.arch_name(name), num_classes=7, in_channels=1, image_size=16)
    assert net.pretrained_cfg["input_size"] == (1, 16, 16)
    assert isinstance(net, Network)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(net.eval()(x), ours.eval()(x))
    assert timm.data.resolve_model_data_config(net)["input_size"] == (1, 16, 16)
    pooled = timm.create_model(name, num_classes=0)
    assert pooled(torch.zeros(2, 3, 32, 32)).shape == (2, pooled.num_features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["list", "dict", "hook", "fx"])
def test_features_only_returns_the_stages(name, way):
    torch.manual_seed(0)
    extractor = timm.create_model(name, features_only=True, feature_cls=way).eval()
    torch.manual_seed(0)
    ours = rksearch.create(door.arch_name(name)).eval()
    seen = []
    for info in ours.feature_info:
        ours.get_submodule(info["module"]).register_forward_hook(lambda _, __, output: seen.append(output))
    x = torch.randn(2, 3, 32, 32)
    ours(x)
    found = extractor(x)
    found = list(found.values()) if isinstance(found, dict) else found
    assert len(found) == len(seen)
    assert all(torch.equal(a, b) for a, b in zip(found, seen, strict=True))
    assert extractor.feature_info.channels() == [x.shape[1] for x in seen]
    assert extractor.feature_info.reduction() == [32 // x.shape[2] for x in seen]


def test_some_features_can_be_chosen():
    extractor = timm.create_model("resnet_8", features_only=True, out_indices=(0, 2))
    assert [x.shape[1] for x in extractor(torch.zeros(1, 3, 32, 32))] == [16, 64]


def test_listed_models_are_listed_and_none_of_timms_is_displaced():
    listed = set(timm.list_models())
    assert {door.timm_name(name) for name in rksearch.list_models()} <= listed
    for name in rksearch.list_models():
        assert timm.is_model(door.timm_name(name))
    assert timm.list_models("rknet_res_*")
    assert type(timm.create_model("resnet10t")).__module__ == "timm.models.resnet"
    assert not timm.is_model("rknet_of_nobody")
    with pytest.raises(RuntimeError, match="Unknown model"):
        timm.create_model("resnet_9")


def test_timms_classifier_tools_work():
    net = timm.create_model("resnet_8")
    net.reset_classifier(num_classes=3)
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert timm.utils.model.get_state_dict(net).keys() == net.state_dict().keys()


@pytest.mark.parametrize("name", NAMES[:2])
def test_weights_of_an_export_are_pretrained_weights(tmp_path, name):
    """Shared weights stand in the file once."""
    digits, spec = dataset("digits"), parse(door.arch_name(name))
    ours = build(spec, digits).eval()
    export(ours, spec, digits, tmp_path, origin="a test")
    weights = {"file": str(tmp_path / "model.safetensors"), "num_classes": 10, "input_size": (1, 8, 8)}
    net = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=weights, in_chans=1).eval()
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(net(x), ours(x))


def test_there_are_no_weights_to_download():
    with pytest.raises(RuntimeError, match="No pretrained weights exist for resnet_8"):
        timm.create_model("resnet_8", pretrained=True)


def test_wrong_arguments_are_refused():
    with pytest.raises(SpecError, match=r"average over all pixels .* but got 'max'"):
        timm.create_model("resnet_8", global_pool="max")
    with pytest.raises(DataError, match="img_size must be at least 1, but got -1"):
        timm.create_model("resnet_8", img_size=-1)
    with pytest.raises(TypeError, match="drop_rate"):
        timm.create_model("resnet_8", drop_rate=0.1)


def test_the_table_is_extended_once():
    before = timm.models._registry._model_entrypoints
    door._extend_registry()
    assert timm.models._registry._model_entrypoints is before


def test_without_timm_the_reason_is_one_line(tmp_path):
    code = "import sys; sys.modules['timm'] = None\nimport rksearch.integrations.timm"
    done = python("-c", code, cwd=tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert "rksearch.integrations.timm needs timm, which is not installed; pip install 'rksearch[timm]'" in last


def test_rksearch_itself_imports_no_timm(tmp_path):
    code = "import sys, rksearch; rksearch.create('ResNet-8'); print('timm' in sys.modules)"
    assert python("-c", code, cwd=tmp_path).stdout == "False\n"
    assert "timm" in sys.modules
