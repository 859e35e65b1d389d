"""PyTorch's ordinary tools on networks of every family: tracing, hooks, Grad-CAM, SWA, second derivatives."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from rksearch.arch import parse
from rksearch.arch.image import image_shape
from rksearch.models import Network, build
from tests.helpers.strategies import by_family

DATA = image_shape(channels=3, size=16, classes=4)

ONE_OF_EACH = (
    "RKNet-BC-k4-m2_3-1x2s_2x3s",
    "RKNet-k4-m2_2-4x2s@rk4+tie+hlearn_2x1@gauss2+train",
    "RKNet-Res-4x2@rk4+train_2x1@gauss2+sweeps3",
    "RKNet-Res-2x1_1x2s",
    "RKCNN-I-k4-2x1_2x1-up2-att-ms",
    "RKCNN-E-k4-2x1_1x1-drop30",
    "DenseNet-BC-16-k4",
    "ResNet-8",
    "PreActResNet-8",
    "PreActResNet-B-11",
    "CliqueNet-k2-T6",
)


def images(count: int = 3, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def network(name: str) -> Network:
    torch.manual_seed(0)
    return build(parse(name), DATA)


@pytest.mark.slow
@pytest.mark.parametrize("family", by_family())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_networks_of_a_family_are_traced_and_differentiated_twice(family, data):
    torch.manual_seed(0)
    model = build(data.draw(by_family(most=2)[family]), DATA)
    check_traces(model)
    check_features(model)
    check_second_derivatives(model)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_symbolic_traces_compute_the_same(name):
    check_traces(network(name))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_feature_extraction_returns_what_hooks_see(name):
    check_features(network(name))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_second_derivatives_are_those_of_the_gradient(name):
    check_second_derivatives(network(name))


def check_traces(model: Network) -> None:
    for training in (True, False):
        model.train(training)
        traced = fx.symbolic_trace(copy.deepcopy(model))
        torch.manual_seed(1)  # of the dropout, where there is any
        expected = model(images())
        torch.manual_seed(1)
        assert torch.equal(traced(images()), expected)
        called = {node.target for node in traced.graph.nodes if node.op == "call_module"}
        norms = {name for name, m in model.named_modules(remove_duplicate=False) if isinstance(m, nn.BatchNorm2d)}
        leaf_norms = {name for name in called if isinstance(traced.get_submodule(str(name)), nn.BatchNorm2d)}
        assert len(leaf_norms) == len({id(model.get_submodule(name)) for name in norms}), "norms are nodes of their own"


def test_a_trace_of_large_images_is_pickled():
    model = build(parse("RKNet-BC-k4-m2_3-1x2s_2x3s"), image_shape(channels=3, size=130, classes=4)).eval()
    traced = pickle.loads(pickle.dumps(fx.symbolic_trace(model)))
    assert torch.equal(traced(images(2, 130)), model(images(2, 130)))


def check_features(model: Network) -> None:
    inner = [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    wanted = [*(info["module"] for info in model.feature_info), inner[0], inner[-1]]
    train, evaluation = get_graph_node_names(model)
    assert train == evaluation
    extractor = create_feature_extractor(model, {name: name for name in wanted})
    for training in (True, False):
        model.train(training)
        extractor.train(training)
        seen: dict[str, Tensor] = {}

        def keep(name: str, seen: dict[str, Tensor] = seen) -> Callable[..., Tensor]:
            return lambda module, inputs, output: seen.setdefault(name, output)

        handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in wanted]
        state = torch.get_rng_state()
        model(images())
        torch.set_rng_state(state)
        for handle in handles:
            handle.remove()
        found = extractor(images())
        for name in wanted:
            assert torch.equal(found[name], seen[name]), name


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_forward_hooks_see_the_output_of_norms_not_of_activations(name):
    model = network(name).eval()
    expected = model(images())
    seen: list[tuple[nn.BatchNorm2d, Tensor, Tensor]] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, inputs, output: seen.append((m, inputs[0], output)))
    assert torch.equal(model(images()), expected)
    assert any((output < 0).any() for _, _, output in seen)
    for norm, x, output in seen:
        recomputed = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        torch.testing.assert_close(output, recomputed)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_backward_hooks_see_every_module_and_change_no_gradient(name):
    model = network(name)
    x = images().requires_grad_()

    def gradients() -> list[Tensor]:
        torch.manual_seed(2)
        return list(torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()]))

    expected = gradients()
    called: set[nn.Module] = set()
    fired: set[nn.Module] = set()
    handles = [m.register_forward_hook(lambda module, *_: called.add(module)) for m in model.modules()]
    model(images())
    for handle in handles:
        handle.remove()
    assert {m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)} < called
    for module in model.modules():
        module.register_full_backward_hook(lambda module, by_input, by_output: fired.add(module))
        module.register_full_backward_pre_hook(lambda module, by_output: None)
    found = gradients()
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert fired == called


def test_global_hooks_see_every_module_too():
    model = network("DenseNet-BC-16-k4")
    seen: set[nn.Module] = set()
    handle = nn.modules.module.register_module_full_backward_hook(lambda module, *_: seen.add(module))
    try:
        model(images().requires_grad_()).sum().backward()
    finally:
        handle.remove()
    assert {m for m in model.modules() if isinstance(m, nn.BatchNorm2d)} <= seen


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_grad_cam_by_hooks_is_grad_cam_by_definition(name):
    """Selvaraju et al., arXiv 1610.02391: ReLU of the channels of a stage, weighed by their mean gradients."""
    model = network(name).eval()
    target = model.get_submodule(model.feature_info[-1]["module"])
    held: dict[str, Tensor] = {}
    forward = target.register_forward_hook(lambda m, i, output: held.update(activation=output.detach().clone()))

    def keep_gradient(module: nn.Module, by_input: Any, by_output: Any) -> None:
        held.update(gradient=by_output[0].detach().clone())

    backward = target.register_full_backward_hook(keep_gradient)
    model(images())[:, 2].sum().backward()
    forward.remove()
    backward.remove()
    cam = (held["gradient"].mean((2, 3), keepdim=True) * held["activation"]).sum(1).relu()

    features = model.forward_features(images())
    last = features[-1] if isinstance(features, list) else features
    (gradient,) = torch.autograd.grad(model.forward_head(features)[:, 2].sum(), last)
    expected = (gradient.mean((2, 3), keepdim=True) * last).sum(1).relu()
    torch.testing.assert_close(cam, expected.detach())
    assert cam.shape == (3, *last.shape[2:])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_averaged_weights_get_the_statistics_of_the_batches(name):
    model = network(name)
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    loader = [images(4), images(4) + 1.0]
    seen: dict[nn.Module, list[Tensor]] = {}
    for module in averaged.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda m, inputs: seen.setdefault(m, []).append(inputs[0].detach().clone())
            )
    update_bn(loader, averaged)
    assert seen
    for norm, inputs in seen.items():
        assert norm.momentum == 0.1, "the norm is left as it was"
        mean = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)


def check_second_derivatives(model: Network) -> None:
    """A Hessian-vector product beside the central difference of gradients."""
    model = model.double().eval()
    x = images(2).double().requires_grad_()
    direction = torch.randn(x.shape, dtype=torch.double, generator=torch.Generator().manual_seed(3))

    def gradient(x: Tensor, create_graph: bool = False) -> Tensor:
        loss = model(x).square().sum()
        return torch.autograd.grad(loss, x, create_graph=create_graph)[0]

    (product,) = torch.autograd.grad((gradient(x, create_graph=True) * direction).sum(), x)
    step = 1e-8  # so small that hardly an activation changes its sign
    ahead, behind = (gradient((x + sign * step * direction).detach().requires_grad_()) for sign in (1, -1))
    difference = (ahead - behind) / (2 * step)
    torch.testing.assert_close(product, difference, rtol=1e-3, atol=1e-3 * float(difference.abs().max()) + 1e-9)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_second_derivatives_of_channels_last_images_are_the_same(name):
    model = network(name).eval()
    x = images(2).requires_grad_()

    def penalty(x: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        return gradient.square().sum()

    (expected,) = torch.autograd.grad(penalty(x), x)
    other = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    (found,) = torch.autograd.grad(penalty(other), other)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
