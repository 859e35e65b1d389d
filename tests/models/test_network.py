"""`Network`: its interface, its state dictionaries, and its description of features."""

import copy
import hashlib
import io
import json

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import rksearch
from rksearch.arch import parse
from rksearch.arch.image import image_shape
from rksearch.data.facts import dataset
from rksearch.errors import DataError, SpecError
from rksearch.models import Network, build
from tests.helpers.strategies import archs

DATA = image_shape(channels=2, size=16, classes=5)

MULTISCALE = "RKCNN-I-k4-2x1_2x2-up2-att-ms"
SHARED = "RKNet-BC-k4-m2_3_2-2x3s_1x2_1x4s"
NAMES = (
    SHARED,
    MULTISCALE,
    "RKNet-Res-4x2s@rk4+tie_2x1@gauss2+train",
    "DenseNet-BC-16-k4",
    "ResNet-8",
    "CliqueNet-k2-T6",
)

KEYS = {
    SHARED: "ac1592c35033311e",
    "RKNet-k4-m2_2-4x2s@rk4+tie+hlearn_2x1@gauss2+train": "c0ab4f2b59f9bba4",
    "RKNet-Res-4x2s@rk4+train_2x1": "bfe33adf49936787",
    MULTISCALE: "94027d5c2eab7057",
    "DenseNet-BC-16-k4": "b0d66d36d746c13a",
    "DenseNet-121": "d3f65f7fc1ba6f14",
    "ResNet-8": "80669ba73b6b55f8",
    "PreActResNet-B-11": "c47dda1571fc2c53",
    "CliqueNet-k2-T6": "7f79adae71e0a4ed",
}
"""Hashes of the names and shapes in state dictionaries of the time when networks were plain sequences."""


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, DATA.channels, DATA.height, DATA.width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", KEYS)
def test_state_dictionaries_have_the_names_and_shapes_of_before(name):
    state = rksearch.create(name).state_dict()
    text = json.dumps([[key, list(value.shape)] for key, value in state.items()])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == KEYS[name]


@settings(max_examples=12, deadline=None)
@given(archs(most=2))
def test_features_then_head_is_the_network(spec):
    model = build(spec, DATA).eval()
    with torch.no_grad():
        features = model.forward_features(images())
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (2, model.num_features)
        assert torch.equal(model.get_classifier()(pooled), model(images()))
        assert torch.equal(model.forward_head(features), model(images()))
    last = features[-1] if isinstance(features, list) else features
    assert last.shape[1] == model.feature_info[-1]["num_chs"]


@settings(max_examples=8, deadline=None)
@given(archs(most=2))
def test_the_description_of_features_is_what_the_stages_return(spec):
    model = build(spec, DATA).eval()
    seen = {}
    for info in model.feature_info:
        name = info["module"]
        model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
    side = 32 << len(model.feature_info)
    model(torch.zeros(1, DATA.channels, side, side))
    assert [info["module"] for info in model.feature_info] == list(seen)
    for info in model.feature_info:
        output = seen[info["module"]]
        assert output.shape[1] == info["num_chs"]
        assert output.shape[2] * info["reduction"] == side


def test_large_images_are_reduced_by_the_stem_too():
    model = build(parse("DenseNet-BC-16-k4"), image_shape(channels=3, size=130, classes=4))
    assert [info["reduction"] for info in model.feature_info] == [4, 8, 16]


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_is_replaced(name):
    torch.manual_seed(0)
    model = rksearch.create(name, num_classes=10, in_channels=2, image_size=16).double().eval()
    x = images().double()
    pooled = model.forward_head(model.forward_features(x), pre_logits=True)
    model.reset_classifier(0)
    assert torch.equal(model(x), pooled)
    assert (model.num_classes, isinstance(model.get_classifier(), nn.Identity)) == (0, True)
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
    assert (model.num_classes, model.shape.classes) == (3, 3)
    assert not model.get_classifier().get_parameter("bias").any()
    assert model.feature_info
    with pytest.raises(DataError, match="at least 0, but got -1"):
        model.reset_classifier(-1)
    with pytest.raises(SpecError, match=r"average over all pixels .* but got 'max'"):
        model.reset_classifier(3, "max")


@settings(max_examples=8, deadline=None)
@given(archs(most=2))
def test_shared_weights_load_from_any_one_of_their_names(spec):
    """As files have them that hold each tensor once."""
    torch.manual_seed(1)
    model = build(spec, DATA)
    model(images(4))  # running statistics leave their start
    state = model.state_dict()
    names: dict[int, list[str]] = {}
    for key, value in state.items():
        names.setdefault(value.data_ptr() if value.numel() else id(value), []).append(key)
    for pick in (0, -1):
        once = {several[pick]: state[several[pick]].clone() for several in names.values()}
        other = build(spec, DATA)
        other.load_state_dict(once)
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())
    once.pop("head.linear.bias")
    with pytest.raises(RuntimeError, match=r'Missing key.*"head\.linear\.bias"'):
        other.load_state_dict(once)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict({**state, "more": torch.zeros(1)})
    assert other.load_state_dict(once, strict=False).missing_keys


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_are_networks_of_their_own(name):
    model = rksearch.create(name, in_channels=2, image_size=16).eval()
    model.feature_info  # noqa: B018  # is kept, and copied
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(model), torch.load(buffer, weights_only=False)]
    expected = model(images())
    for other in copies:
        assert isinstance(other, Network)
        assert torch.equal(other(images()), expected)
        assert not {id(p) for p in other.parameters()} & {id(p) for p in model.parameters()}
        shared = [len({*m.named_parameters(remove_duplicate=False)}) for m in (model, other)]
        assert len(list(other.parameters())) == len(list(model.parameters()))
        assert shared[0] == shared[1]


def test_a_network_does_not_hold_on_to_its_data_set():
    model = build(parse("ResNet-8"), dataset("digits"))
    assert type(model.shape).__name__ == "ImageShape"
    assert (model.in_chans, model.num_classes, model.num_features, model.head_hidden_size) == (1, 10, 64, 64)
