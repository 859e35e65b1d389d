import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.arch import (
    MAX_CONV_LAYERS,
    RKCNN,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    Period,
    PreActResNet,
    ResidualRKNet,
    ResNet,
    RKNet,
    Solver,
    Steps,
    parse,
)
from rksearch.arch.tableaux import TABLEAUX
from rksearch.errors import SpecError
from tests.helpers.strategies import all_specs, solvers


@settings(deadline=None)
@given(all_specs(most=12))
def test_every_name_round_trips(spec):
    assert parse(str(spec)) == spec
    assert str(parse(str(spec))) == str(spec)


@settings(deadline=None)
@given(all_specs(most=3), all_specs(most=3))
def test_names_are_unique(a, b):
    assert (str(a) == str(b)) == (a == b)


@settings(deadline=None)
@given(st.text(alphabet="RKNetDsBC-kmx_0123456789@+.hrk4learn ", max_size=40) | st.text(max_size=10))
def test_whatever_parses_is_canonical(text):
    try:
        spec = parse(text)
    except SpecError:
        return
    assert str(spec) == text


@settings(deadline=None)
@given(all_specs(most=4), st.data())
def test_one_changed_character_never_yields_the_same_spec(spec, data):
    name = str(spec)
    at = data.draw(st.integers(0, len(name) - 1))
    other = name[:at] + data.draw(st.sampled_from("0123456789sxkm_-BCR@+.htIE")) + name[at + 1 :]
    try:
        parsed = parse(other)
    except SpecError:
        return
    assert (parsed == spec) == (other == name)


def test_the_names_of_the_documentation():
    assert parse("RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2s") == RKNet(
        growth_rate=12,
        periods=(
            Period(m=2, s=1, r=8, share=True),
            Period(m=9, s=1, r=2),
            Period(m=12, s=1, r=2, share=True),
        ),
    )
    assert parse("RKNet-k12-m2-6x1") == RKNet(growth_rate=12, periods=(Period(m=2, s=6, r=1),), bottleneck=False)
    assert parse("DenseNet-BC-100-k12") == DenseNet(depth=100, growth_rate=12, bottleneck=True)
    assert parse("DenseNet-40-k12").family == "densenet"
    assert parse("ResNet-20") == ResNet(depth=20)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("RKnet-k12-m2-1x1", "did you mean 'RKNet'"),
        ("RKNet-BC-k012-m2-1x1", "character 11"),
        ("RKNet-BC-k12-m2_9-1x8", "2 growth multiples"),
        ("RKNet-BC-k12-m2-1x8_1x2", "only 1 growth multiples"),
        ("RKNet-BC-k12-m2-1x1s", "write 1x1 instead"),
        ("RKNet-BC-k12-m2-1y8", "character 18 ('y8'): expected 'x'"),
        ("RKNet-BC-k12-m0-1x8", "growth multiple m"),
        ("DenseNet-41-k12", "nearest are 40 and 43"),
        ("DenseNet-BC-97-k12", "nearest are 94 and 100"),
        ("ResNet-20x", "expected the end"),
        ("ResNet-21", "6n + 2"),
        ("", "starts with"),
        ("ResNet-20\n", "expected the end"),
        ("RKNet-k1-m9999-99x99", f"{MAX_CONV_LAYERS:,}"),
        ("DenseNet-122", "of depth 121, 169, 201, 161"),
        ("DenseNet-121-x", "expected '-k'"),
        ("PreActResNet-21", "6n + 2"),
        ("PreActResNet-B-20x", "expected the end"),
        ("CliqueNet-k36-T13", "the nearest is 12"),
        ("RKCNN-X-k8-2x1", "the variant E, I or R"),
        ("RKCNN-I-k8-1x1", "at least two stages"),
        ("RKCNN-E-k8-2x1-up3", "no sweeps"),
        ("RKCNN-E-k8-2x1-att", "need a second period"),
        ("RKCNN-I-k8-2x1-up1", "leave `-up1` out"),
        ("RKNet-Res-3x2@rk4", "write 4x2@rk4"),
        ("RKNet-Res-4x2@bosh3", "write 3x2@bosh3"),
        ("RKNet-Res-4x2@rk5", "did you mean 'rk4'"),
        ("RKNet-Res-4x2@", "name of a tableau"),
        ("RKNet-Res-1x2@euler+tie", "at least two stages"),
        ("RKNet-Res-4x2@rk4+h1", "h = 1 is the default"),
        ("RKNet-Res-4x2@rk4+h0.50", "at most three decimals"),
        ("RKNet-Res-4x2@rk4+h0", "at most three decimals"),
        ("RKNet-Res-4x2@rk4+h0.5+tie", "in the order +train +tie"),
        ("RKNet-Res-4x2@rk4+sweeps3", "explicit and needs no sweeps"),
        ("RKNet-Res-2x2@gauss2+sweeps1", "at least 2 sweeps"),
        ("RKNet-Res-2x2@gauss2+sweeps2", "are the default"),
        ("RKNet-Res-4x2@rk4+train+hlearn", "absorb it"),
        ("RKNet-Res-4x2+tie", "expected the end"),
    ],
)
def test_malformed_names_say_what_is_wrong_and_where(name, says):
    with pytest.raises(SpecError) as caught:
        parse(name)
    assert says in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "2", None])
def test_numbers_are_whole_and_positive(value):
    with pytest.raises(SpecError, match="whole number"):
        Period(m=value, s=1, r=1)
    with pytest.raises(SpecError, match="whole number"):
        RKNet(growth_rate=value, periods=(Period(m=1, s=1, r=1),))


def test_sharing_one_step_would_be_a_second_name_for_one_network():
    with pytest.raises(SpecError, match="with r = 1 it changes nothing: write 3x1"):
        Period(m=2, s=3, r=1, share=True)


def test_specs_are_values():
    a, b = parse("ResNet-20"), parse("ResNet-20")
    assert a == b
    assert hash(a) == hash(b)
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.depth = 32  # type: ignore[attr-defined]


def test_the_names_of_the_further_families():
    assert parse("RKNet-Res-1x3s_4x2@rk4") == ResidualRKNet(
        periods=(Steps(s=1, r=3, share=True), Steps(s=4, r=2, solver=Solver(tableau="rk4")))
    )
    assert parse("RKNet-BC-k12-m2-4x2s@rk4+train+tie+h0.5").periods == (  # type: ignore[attr-defined]
        Period(m=2, s=4, r=2, share=True, solver=Solver(tableau="rk4", trainable=True, tie=True, h=0.5)),
    )
    assert parse("RKNet-Res-2x1@gauss2+sweeps4+h0.25learn").periods[0].solver == Solver(  # type: ignore[attr-defined]
        tableau="gauss2", sweeps=4, h=0.25, learn_h=True
    )
    assert parse("RKCNN-I-k80-5x1_5x2-neck2-up3-drop20-att-ms") == RKCNN(
        variant="I",
        growth_rate=80,
        periods=((5, 1), (5, 2)),
        neck=2,
        updates=3,
        dropout_pct=20,
        attention=True,
        multiscale=True,
    )
    assert parse("DenseNet-161") == ImageNetDenseNet(depth=161)
    assert parse("PreActResNet-B-1001") == PreActResNet(depth=1001, bottleneck=True)
    assert parse("CliqueNet-k36-T12") == CliqueNet(growth_rate=36, layers=12)


@settings(deadline=None)
@given(solvers())
def test_solvers_say_how_much_they_compute_and_learn(solver):
    t = TABLEAUX[solver.tableau]
    s = solver.method.stages
    assert s == t.stages - (t.name in ("bosh3", "dopri5"))  # their last stages serve the error estimate alone
    assert solver.evaluations == (s if t.explicit else s * solver.sweeps)
    free = s * (s - 1) // 2 if t.explicit else s * s
    assert solver.learned_numbers == (free + s) * solver.trainable + solver.learn_h


@pytest.mark.parametrize("h", [0, -1.0, 0.0001, 1000.0, float("nan"), float("inf"), True, 1 / 3])
def test_step_sizes_can_be_written(h):
    with pytest.raises(SpecError, match="step size h must be a number"):
        Solver(tableau="rk4", h=h)
