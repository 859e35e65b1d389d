"""Names that are one network: both are built, one's parameters are copied into the other, and they must be the same."""

import itertools
import re
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from rksearch.arch import Solver, canonical, parse
from rksearch.arch.cost import cost
from rksearch.arch.tableaux import TABLEAUX
from rksearch.data.facts import dataset
from rksearch.errors import SpaceError, SpecError
from rksearch.models import build
from rksearch.space import parse_space

DIGITS = dataset("digits")

SAME = [
    # (a method, the method that stands for it), by the rule of `rksearch.arch.equivalence`
    ("1x1@euler", "1x1"),
    ("1x3@euler", "1x3"),
    ("1x3s@euler", "1x3s"),
    ("3x1@bosh3", "3x1@ralston3"),
    ("3x2s@bosh3+tie", "3x2s@ralston3+tie"),
    ("3x2@bosh3+train", "3x2@ralston3+train"),
    ("3x1@bosh3+h0.5learn", "3x1@ralston3+h0.5learn"),
    ("1x1@impmid", "2x1@midpoint+tie"),
    ("1x2s@impmid", "2x2s@midpoint+tie"),
    ("1x2@impmid+h0.5", "2x2@midpoint+tie+h0.5"),
    ("1x2@impmid+hlearn", "2x2@midpoint+tie+hlearn"),
    ("1x3@euler+train", "1x3@euler+hlearn"),
]

HEADS = ["RKNet-BC-k4-m2_2-{}_1x1", "RKNet-k4-m1_3-{}_1x1", "RKNet-Res-{}_1x1"]


def ordered(model: nn.Module) -> list[nn.Parameter]:
    """Parameters in the order of computation: a method's own numbers last."""
    named = list(model.named_parameters())
    return [p for _, p in sorted(named, key=lambda item: ".method." in item[0])]


def run(model: nn.Module, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    """Outputs in training, and the gradients of a random sum of them."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(4, 1, 8, 8, generator=generator, dtype=torch.float64)
    outputs = model.train()(images)
    weights = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((outputs * weights).sum(), ordered(model))
    return outputs.detach(), list(gradients)


def twins(one: str, other: str) -> tuple[nn.Module, nn.Module]:
    """Both networks with the parameters of the first, moved away from where they start."""
    a, b = (build(parse(name), DIGITS).double() for name in (one, other))
    generator = torch.Generator().manual_seed(1)
    shapes = [[tuple(p.shape) if p.dim() else (1,) for p in ordered(model)] for model in (a, b)]
    assert shapes[0] == shapes[1]
    with torch.no_grad():
        for p, q in zip(ordered(a), ordered(b), strict=True):
            p.add_(torch.randn(p.shape, generator=generator, dtype=torch.float64), alpha=0.3)
            q.copy_(p.reshape(q.shape))
    return a, b


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("one", "other"), SAME)
def test_equivalent_names_compute_and_learn_the_same(one: str, other: str, head: str) -> None:
    assert str(canonical(parse(head.format(one)))) == head.format(other)
    assert canonical(parse(head.format(other))) == parse(head.format(other)), "the representative stands for itself"
    assert cost(parse(head.format(one)), DIGITS) == cost(parse(head.format(other)), DIGITS)
    a, b = twins(head.format(one), head.format(other))
    (outputs, gradients), (outputs_b, gradients_b) = run(a), run(b)
    torch.testing.assert_close(outputs, outputs_b, rtol=1e-10, atol=1e-10)
    for g, h in zip(gradients, gradients_b, strict=True):
        torch.testing.assert_close(g, h.reshape(g.shape), rtol=1e-8, atol=1e-8)
    starts = [[p.detach().flatten() for p in ordered(build(parse(head.format(n)), DIGITS))] for n in (one, other)]
    learned = [p for p in starts[0] if p.numel() == 1], [p for p in starts[1] if p.numel() == 1]
    assert learned[0] == learned[1], "numbers of a method start alike"


@pytest.mark.parametrize("period", ["1x1", "2x1", "4x1@rk4"])
@pytest.mark.parametrize("head", HEADS)
def test_sharing_changes_nothing_with_one_time_step(head: str, period: str) -> None:
    """Names refuse to share with r = 1, so the network that they refuse is made behind their back, and built."""
    plain = parse(head.format(period))
    shared = deepcopy(plain)  # names are read once and kept, so the same name is the same object
    # Periods are frozen and check themselves when they are made: this is the one way to a network without a name.
    for own in shared.periods:  # type: ignore[attr-defined]
        object.__setattr__(own, "share", True)
    assert plain != shared
    assert cost(plain, DIGITS) == cost(shared, DIGITS)
    a, b = build(plain, DIGITS).double(), build(shared, DIGITS).double()
    b.load_state_dict(a.state_dict())
    (outputs, gradients), (outputs_b, gradients_b) = run(a), run(b)
    assert torch.equal(outputs, outputs_b)
    assert all(torch.equal(g, h) for g, h in zip(gradients, gradients_b, strict=True))


@pytest.mark.parametrize(
    "method",
    [
        "1x2@euler+h0.5",
        "1x2@euler+train+h0.5",
        "1x2@backeuler",
        "1x2@impmid+train",
        "1x1@impmid+sweeps3",
        "2x1@midpoint",
    ],
)
def test_others_stand_for_themselves(method: str) -> None:
    spec = parse(f"RKNet-BC-k4-m2-{method}")
    assert canonical(spec) == spec


def every_solver() -> list[str]:
    """Methods of the catalogue with their options, as names have them."""
    found = []
    for name in TABLEAUX:
        for trainable, tie, learn_h in itertools.product((False, True), repeat=3):
            try:
                solver = Solver(tableau=name, trainable=trainable, tie=tie, learn_h=learn_h)
            except SpecError:
                continue  # options that do not go together
            found.append(f"{solver.method.stages}x1{solver}")
    return found


def test_there_are_no_other_equals_among_the_methods() -> None:
    """Methods with parameters of the same shapes compute different things from them, unless they have one canonical."""
    groups: dict[tuple[tuple[int, ...], ...], list[tuple[str, Tensor]]] = {}
    for method in ["1x1", "2x1", "3x1", *every_solver()]:
        name = f"RKNet-k2-m1-{method}"
        model = build(parse(name), DIGITS).double()
        shapes = tuple(tuple(p.shape) if p.dim() else (1,) for p in ordered(model))
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for p in ordered(model):
                if len(p.shape) > 1:
                    p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
        outputs, _ = run(model)
        groups.setdefault(shapes, []).append((name, outputs))
    pairs = [pair for own in groups.values() for pair in itertools.combinations(own, 2)]
    assert len(pairs) > 100
    for (one, first), (other, second) in pairs:
        equal = canonical(parse(one)) == canonical(parse(other))
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-9) == equal, (one, other)


def test_equals_of_a_list_are_refused() -> None:
    text = "dataset: digits\narchitectures:\n  - RKNet-k4-m1-1x2\n  - ResNet-8\n  - RKNet-k4-m1-1x2@euler\n"
    with pytest.raises(
        SpaceError, match=r"twice\.yaml:5: .*RKNet-k4-m1-1x2@euler is the same network as RKNet-k4-m1-1x2"
    ):
        parse_space(text, name="twice")


SPACE = "dataset: digits\nfamilies: [dense]\ngrowth_rate: [4]\nperiods: [{m: [1], s: [1], r: [1, 2]}]\n"


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ("known: [RKNet-k4-m1-1x3, RKNet-k4-m1-1x3@euler]", "is the same network as RKNet-k4-m1-1x3;"),
        ("baselines: [RKNet-k4-m1-1x3]\nknown: [RKNet-k4-m1-1x3@euler]", "is the same network as RKNet-k4-m1-1x3;"),
        ("known: [RKNet-k4-m1-1x2@euler]", "is the same network as RKNet-k4-m1-1x2 of the space; write RKNet"),
        ("baselines: [RKNet-k4-m1-1x2@euler]", "is the same network as RKNet-k4-m1-1x2 of the space; write RKNet"),
    ],
)
def test_no_network_is_trained_under_two_names(lists: str, said: str) -> None:
    with pytest.raises(SpaceError, match=rf"twice\.yaml:[56]: .*RKNet-k4-m1-1x[23]@euler {re.escape(said)}"):
        parse_space(SPACE + lists, name="twice")


def test_a_network_beside_the_space_may_have_any_of_its_names() -> None:
    space = parse_space(f"{SPACE}known: [RKNet-k4-m1-1x3@euler]", name="once")
    assert [str(spec) for spec in space.definition.known] == ["RKNet-k4-m1-1x3@euler"]


def test_another_name_of_a_member_is_told_its_name() -> None:
    text = "dataset: digits\ngrowth_rate: [4]\nperiods: [{m: [1], r: [1, 2], method: [euler, rk4, impmid]}]\n"
    space = parse_space(text, name="solved")
    assert [str(spec) for spec in space] == [
        f"RKNet-BC-k4-m1-{method}"
        for method in ("1x1", "1x2", "2x1@midpoint+tie", "2x2@midpoint+tie", "4x1@rk4", "4x2@rk4")
    ]
    assert space.dimensions() == {
        "family": ("dense_bc",),
        "k": (4,),
        "m1": (1,),
        "r1": (1, 2),
        "share1": (False,),
        "method1": ("euler", "rk4", "impmid"),
    }
    assert parse("RKNet-BC-k4-m1-1x2@euler") not in space
    with pytest.raises(SpaceError, match="RKNet-BC-k4-m1-1x2@euler is the same network as RKNet-BC-k4-m1-1x2; write"):
        space.index(parse("RKNet-BC-k4-m1-1x2@euler"))
