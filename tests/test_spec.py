import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.errors import SpecError
from rksearch.spec import MAX_CONV_LAYERS, DenseNet, Period, ResNet, RKNet, parse
from tests.strategies import archs


@given(archs(most=12))
def test_every_name_round_trips(spec):
    assert parse(str(spec)) == spec
    assert str(parse(str(spec))) == str(spec)


@given(archs(most=6), archs(most=6))
def test_names_are_unique(a, b):
    assert (str(a) == str(b)) == (a == b)


@given(st.text(alphabet="RKNetDsBC-kmx_0123456789 ", max_size=40) | st.text(max_size=10))
def test_whatever_parses_is_canonical(text):
    try:
        spec = parse(text)
    except SpecError:
        return
    assert str(spec) == text


@given(archs(), st.data())
def test_one_changed_character_never_yields_the_same_spec(spec, data):
    name = str(spec)
    at = data.draw(st.integers(0, len(name) - 1))
    other = name[:at] + data.draw(st.sampled_from("0123456789sxkm_-BCR")) + name[at + 1 :]
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
