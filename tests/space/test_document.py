import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.errors import SpaceError
from rksearch.results.codec import from_plain, to_plain
from rksearch.space import CountRange, describe_space, load_space, parse_space, shipped_spaces
from rksearch.space.format import reading
from rksearch.space.format.expression import read_expression
from rksearch.space.summary import SpaceSummary
from tests.helpers.documents import ROOT, blocks

GOOD = """\
description: small
dataset: digits
growth_rate: [4, 8]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2], share: [false, true]}
  - {m: [2, 4], s: [1], r: [1, 3], share: [false, true]}
budgets: {params: [null, 20_000]}
recipe: {name: short, epochs: 3}
seeds: {search: 1, final: 2}
baselines: [ResNet-8]
known: [RKNet-BC-k4-m1_2-1x1_1x1]
trials: 5
"""


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"the edit must apply once: {old}"
    return GOOD.replace(old, new)


def test_all_fields_are_read():
    d = parse_space(GOOD, name="small").definition
    assert (d.name, d.description, d.dataset.name, d.families) == ("small", "small", "digits", ("dense_bc",))
    assert d.growth_rates == (4, 8)
    assert (d.periods[1].m, d.periods[1].r, d.periods[1].share) == ((2, 4), (1, 3), (False, True))
    assert (d.params.low, d.params.high, d.macs.low, d.macs.high) == (None, 20_000, None, None)
    assert (d.recipe.name, d.recipe.epochs, d.recipe.schedule) == ("short", 3, "cosine")
    assert (d.search_seeds, d.final_seeds, d.trials, d.train_images) == (1, 2, 5, None)
    assert [str(spec) for spec in d.baselines + d.known] == ["ResNet-8", "RKNet-BC-k4-m1_2-1x1_1x1"]


def test_choices_may_be_listed_in_any_order():
    shuffled = edited("growth_rate: [4, 8]", "growth_rate: [8, 4]").replace("[false, true]", "[true, false]")
    assert list(parse_space(shuffled, name="small")) == list(parse_space(GOOD, name="small"))


@pytest.mark.parametrize("number", ["1e-3", "0.001", "1.0e-3"])
def test_numbers_of_a_recipe_may_be_written_as_people_do(number):
    text = edited("epochs: 3", f"epochs: 3, lr: {number}, milestones: [0.3, 0.6], augment: false")
    recipe = parse_space(text, name="small").definition.recipe
    assert (recipe.lr, recipe.milestones, recipe.augment) == (0.001, (0.3, 0.6), False)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (edited("growth_rate:", "growth_rates:"), 3, "growth_rates.*did you mean 'growth_rate'"),
        (edited("search: 1", "serch: 1"), 9, "seeds: the keys are search, final.*did you mean 'search'"),
        (edited("trials: 5", "trials: 5\ntrials: 6"), 13, "trials is given twice, first on line 12"),
        (edited("dataset: digits\n", ""), 1, "the key dataset is missing"),
        (edited("growth_rate: [4, 8]\n", ""), 1, "the key growth_rate is missing"),
        (edited("dataset: digits", "dataset: digit"), 2, "one of cifar10.*got 'digit'.*did you mean 'digits'"),
        (edited("[4, 8]", "[4, 4]"), 3, "growth_rate: every value may be listed once, but got 4"),
        (edited("[4, 8]", "[]"), 3, "growth_rate: must list at least one value"),
        (edited("[4, 8]", "12"), 3, "growth_rate: must be a list, but got 12"),
        (edited("[4, 8]", "[4, twelve]"), 3, "growth_rate: must be a whole number.*got twelve"),
        (edited("[4, 8]", "['4']"), 3, "growth_rate: must be a whole number.*got '4'"),
        (edited("[4, 8]", "[0]"), 3, "growth_rate: must be a whole number from 1 .*got 0"),
        (edited("[4, 8]", "[010]"), 3, "growth_rate: must be a whole number"),
        (edited("[4, 8]", "[4.0]"), 3, "growth_rate: must be a whole number"),
        (edited("[4, 8]", "[true]"), 3, "growth_rate: must be a whole number"),
        (edited("m: [2, 4], s: [1]", "m: [2, 4]"), 6, "period 2: the key s is missing"),
        (edited("s: [1], r", "s: [1], q: [1], r"), 6, "period 2: the keys are m, s, r, share, method, but got q"),
        (edited("[1, 3], share: [false, true]", "[1, 3], share: [maybe]"), 6, "share of period 2: must be true or"),
        (edited("[1, 3], share: [false, true]", "[1, 3], share: [1]"), 6, "share of period 2: must be true or"),
        (edited("[null, 20_000]", "[20_000]"), 7, r"params of budgets: a budget has two ends, but got \[20_000\]"),
        (edited("[null, 20_000]", "[30, 20]"), 7, r"low <= high must hold.*got \[30, 20\].*\[20, 30\]"),
        (edited("[null, 20_000]", "[-1, 20]"), 7, "whole number .*got -1"),
        (edited("{name: short, epochs: 3}", "shrt"), 8, "recipe: must be one of fast, paper.*did you mean 'short'"),
        (edited("epochs: 3", "epoch: 3"), 8, "recipe: the keys are .*did you mean 'epochs'"),
        (edited("epochs: 3", "lr: -1"), 8, "lr of recipe: .*lr must be above 0"),
        (edited("epochs: 3", "lr: fast"), 8, "lr of recipe: must be a number, but got fast"),
        (edited("epochs: 3", "lr: .nan"), 8, "lr of recipe: must be a number"),
        (edited("epochs: 3", "nesterov: 1"), 8, "nesterov of recipe: must be true or false"),
        (edited("final: 2", "final: 0"), 9, "final of seeds: must be a whole number"),
        (edited("search: 1, final: 2", "search: 3, final: 2"), 9, "final of seeds: .*write at least 3"),
        (
            edited("[ResNet-8]", "[ResNet-9]"),
            10,
            "baselines: bad architecture name 'ResNet-9'.*6n",
        ),
        (edited("[ResNet-8]", "[ResNet-8, ResNet-8]"), 10, "baselines: every value may be listed once"),
        (edited("[ResNet-8]", "[12]"), 10, "baselines: must be text, but got 12"),
        (edited("[RKNet-BC-k4-m1_2-1x1_1x1]", "[ResNet-8]"), 11, "known: an architecture is a baseline or known"),
        (edited("trials: 5", "trials: 500"), 12, "trials: trials must be at most 92, the number of feasible"),
        (edited("trials: 5", "trials: 5\ntrain_images: 3"), 13, "train_images: must be a whole number .*at least 10"),
        (edited("trials: 5", "trials: 5\nfamilies: [dens]"), 13, "families: must be one of dense, dense_bc.*'dense'"),
        (edited("trials: 5", "trials: 5\n<<: {a: 1}"), 13, "the keys are"),
        (edited("trials: 5", "trials: 5\n[1, 2]: 3"), 13, r"the keys are .*got \[1, 2\]"),
        (
            edited("[RKNet-BC-k4-m1_2-1x1_1x1]", "[RKNet-BC-k4-m1_2_2_2_2-1x1_1x1_1x1_1x1_1x1]"),
            11,
            "known: .*cannot halve",
        ),
        (
            edited("[null, 20_000]", "{at_most: 20kk}"),
            7,
            "at_most of params of budgets: must be a whole number, with k",
        ),
        (edited("[null, 20_000]", "{at_mst: 20k}"), 7, "the keys are at_least, at_most.*did you mean 'at_most'"),
        (edited("[null, 20_000]", "{at_most: DenseNet-9-k4}"), 7, "bad architecture name 'DenseNet-9-k4'"),
        (edited("[null, 20_000]", "[null, 0.0005k]"), 7, "must be a whole number from 0 to"),
        (edited("trials: 5", "trials: 5\nconstraints: [m1 <= m3]"), 13, "the decisions are k, m1.*got 'm3'"),
        (edited("trials: 5", "trials: 5\nconstraints: [m1 <=]"), 13, "must be a comparison such as m1 <= m2"),
        (edited("trials: 5", "trials: 5\nconstraints: [m1 + 2]"), 13, "must be true or false"),
        (edited("trials: 5", "trials: 5\nconstraints: ['open(m1)']"), 13, "must be true or false"),
        (edited("trials: 5", "trials: 5\nconstraints: [m1 // m2 > 1]"), 13, "must be true or false"),
        (edited("trials: 5", "trials: 5\nconstraints: [m1 > 2]"), 13, "the constraints exclude all choices"),
        (edited("trials: 5", "trials: 5\narchitectures: [ResNet-8]"), 3, "states choices or lists architectures"),
        (edited("m: [1, 2]", "m: {transition_of: ResNet-8}"), 5, "only a DenseNet has the transitions"),
        (edited("[4, 8]", "[4, 999_999]").replace("s: [1, 2]", "s: [1, 2000]"), 5, "counts must stay below"),
        (edited("trials: 5", "trials: 5_"), 12, "trials: must be a whole number.*got 5_; write digits alone"),
        (edited("trials: 5", "trials: 1__0"), 12, "trials: must be a whole number.*got 1__0; write digits alone"),
        (edited("trials: 5", f"trials: {'9' * 5_000}"), 12, "trials: must be a whole number from 1 to 999,999"),
        (edited("[null, 20_000]", f"[null, {'9' * 5_000}]"), 7, "must be a whole number from 0 to"),
        (edited("[null, 20_000]", f"[null, {'9' * 400_000}k]"), 7, "must be a whole number, with k, M or G"),
        (edited("[null, 20_000]", f"[null, 0.{'0' * 400_000}1M]"), 7, "must be a whole number, with k, M or G"),
        (edited("trials: 5", f"trials: {'[' * 30_000}"), 12, "may be 50 levels deep"),
        (edited("trials: 5", f"trials:\n  {'- ' * 30_000}5"), 13, "may be 50 levels deep"),
        (edited("trials: 5", f"trials: 5\nconstraints: ['{'m1 + ' * 300}m1 > 2']"), 13, "may join 100 terms"),
        (edited("trials: 5", f"trials: 5\nconstraints: ['{'m1 + ' * 2500}m1 > 2']"), 13, "may have 2,000 characters"),
        (edited("trials: 5", f"trials: 5\nconstraints: ['{'-' * 1900}m1 < 2']"), 13, "may join 100 terms"),
        (
            edited("trials: 5", f"trials: 5\nconstraints: ['{'m1 * ' * 11}m1 < 2']"),
            13,
            "multiplies at most ten numbers",
        ),
        (edited("trials: 5", "trials: 5\ntrain_images: 840"), 13, "digits has at most 839 images to train on.*got 840"),
        ("a: [1, 2\nb: 3\n", 2, "not YAML"),
        ("dataset: digits\n\tgrowth_rate: [1]\n", 2, "not YAML"),
        ("dataset: &a\n  - x\n---\ndataset: b\n", 3, "not YAML"),
        ("dataset: *unknown\n", 1, "not YAML"),
        ("- a\n- b\n", 1, "must hold keys"),
        ("just words\n", 1, "must hold keys"),
    ],
)
def test_a_broken_rule_is_one_line_that_points_at_it(text, line, expected):
    with pytest.raises(SpaceError) as caught:
        parse_space(text, name="small", file="dir/small.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"dir/small.yaml:{line}: "), message
    assert re.search(expected, message), message


@pytest.mark.parametrize("text", ["", "# nothing\n", "a: \x07", "[" * 5000])
def test_what_is_no_document_at_all_is_one_line_too(text):
    with pytest.raises(SpaceError) as caught:
        parse_space(text, name="small")
    assert str(caught.value).startswith("small.yaml")
    assert "\n" not in str(caught.value)


def test_the_value_is_shown_whatever_letters_stand_before_it():
    text = edited("description: small", "description: « größer als ein Byte » 🙂").replace("trials: 5", "trials: fünf")
    with pytest.raises(
        SpaceError, match=r"small\.yaml:12: trials: must be a whole number from 1 to 999,999, but got fünf;"
    ):
        parse_space(text, name="small")


def test_too_many_periods_for_the_images():
    period = "  - {m: [1], s: [1], r: [1]}\n"
    text = f"dataset: digits\ngrowth_rate: [4]\nperiods:\n{period * 4}"
    assert len(parse_space(text, name="deep")) == 1
    with pytest.raises(SpaceError, match="8 x 8 pixels can be halved for at most 4 periods, but 5 are listed"):
        parse_space(text + period, name="deep")


def test_impossible_budgets_say_what_the_choices_allow():
    space = parse_space(edited("[null, 20_000]", "[null, 20_000_000]"), name="small")
    for budget in ("[1, 2]", "[90_000_000, 91_000_000]"):
        with pytest.raises(SpaceError) as caught:
            parse_space(edited("[null, 20_000]", budget), name="small")
        message = str(caught.value)
        assert message.startswith("small.yaml:7: budgets: no candidate has")
        for member in (space.smallest, space.largest):
            assert f"{member.params:,}" in message
        assert "the budget on params alone excludes all" in message


def test_budgets_that_exclude_everything_only_together_say_so():
    space = parse_space(edited("params: [null, 20_000]", "params: [null, null]"), name="small")
    both = f"params: [null, {space.smallest.params}], macs: [{space.most_macs.macs}, null]"
    with pytest.raises(SpaceError, match="together they exclude all"):
        parse_space(edited("params: [null, 20_000]", both), name="small")


def test_too_large_a_space_is_refused_before_anything_is_counted():
    every = list(range(1, 28))
    period = f"  - {{m: {every}, s: {every}, r: {every}, share: [false, true]}}\n"
    with pytest.raises(SpaceError, match=r"huge: these choices need [0-9,]+ partial networks.*; list fewer values"):
        parse_space(f"dataset: cifar10\ngrowth_rate: [4]\nperiods:\n{period * 3}", name="huge")


def test_networks_with_too_many_layers_are_rejected_as_too_deep():
    text = "dataset: digits\ngrowth_rate: [4]\nperiods: [{m: [1, 100], s: [1, 100], r: [1, 2]}]\n"
    space = parse_space(text, name="deep")
    # 100 * 100 * 1 layers may be built, 100 * 100 * 2 may not.
    assert (len(space), space.canonical_size, space.rejected["too_deep"]) == (7, 8, 1)


@pytest.mark.parametrize("key", ["baselines", "known", "architectures"])
def test_listed_networks_have_limited_layers_in_all(key: str, monkeypatch: pytest.MonkeyPatch):
    names = [f"RKNet-k{k}-m1-1x200" for k in range(1, 4)]  # of 404 rows each
    choices = "" if key == "architectures" else "growth_rate: [2]\nperiods: [{m: [1], s: [1], r: [1]}]\n"
    text = f"dataset: digits\n{choices}{key}: [{', '.join(names)}]\n"
    parse_space(text, name="deep", file="deep.yaml", samplers=None)
    monkeypatch.setattr(reading, "MAX_LISTED_LAYERS", 1000)
    with pytest.raises(SpaceError, match=rf"{key}: the listed networks may have at most 1,000 layers in all.*k3-m1-"):
        parse_space(text, name="deep", file="deep.yaml", samplers=None)


def test_budgets_may_have_units_and_baselines():
    budgets = "{params: {at_most: DenseNet-BC-16-k8}, macs: [1k, 1.5M], depth: {at_least: 5, at_most: ResNet-20}}"
    d = parse_space(edited("{params: [null, 20_000]}", budgets), name="small").definition
    counts = cost(parse("DenseNet-BC-16-k8"), d.dataset)
    assert (d.params, d.macs, d.depth) == (
        CountRange(None, counts.params),
        CountRange(1_000, 1_500_000),
        CountRange(5, 20),
    )


def test_the_transitions_of_a_densenet_set_the_multiples_of_the_paper():
    rule = "{transition_of: DenseNet-BC-100-k12}"
    period = f"  - {{m: {rule}, s: [1], r: [1]}}\n"
    text = f"dataset: cifar10\ngrowth_rate: [12]\nperiods:\n{period * 3}"
    assert [p.m for p in parse_space(text, name="tied").definition.periods] == [(2,), (9,), (12,)]
    with pytest.raises(SpaceError, match=r"tied\.yaml:7: .*DenseNet-BC-100-k12 has 3 blocks, but this is period 4"):
        parse_space(text + period, name="tied")


def test_a_space_may_list_its_architectures():
    text = """\
dataset: digits
architectures: [ResNet-8, RKNet-k4-m1_2-1x1_1x2, DenseNet-10-k4, RKNet-BC-k4-m1_2-1x1_1x2s, ResNet-14]
budgets: {params: {at_most: 100k}}
"""
    space = parse_space(text, name="listed")
    names = ["DenseNet-10-k4", "RKNet-BC-k4-m1_2-1x1_1x2s", "RKNet-k4-m1_2-1x1_1x2", "ResNet-8"]
    assert [str(spec) for spec in space] == names == [str(space.at(i)) for i in range(4)]
    assert (space.raw_size, len(space), space.rejected["too_many_params"]) == (5, 4, 1)
    assert parse("ResNet-14") not in space
    assert [space.index(parse(name)) for name in names] == [0, 1, 2, 3]
    assert space.dimensions() == {"architecture": tuple(sorted([*names, "ResNet-14"]))}
    assert all(str(space.from_choices(space.choices(parse(name)))) == name for name in names)
    assert space.nearest(parse("ResNet-14")) == parse("ResNet-8")
    assert space.nearest(parse("ResNet-8")) == parse("ResNet-8")
    assert space.nearest({"architecture": "ResNet-8"}, exclude=names) is None
    assert sorted(map(str, space.sample(4, seed=1))) == names
    assert sorted(map(str, space.sample_stratified(4, random.Random(1)))) == names
    assert sum(space.histogram[1]) == 4
    assert "5 listed" in describe_space(space)
    assert len(space.neighbours(parse("ResNet-8"))) == 3


def test_trials_are_by_default_no_more_than_there_are_candidates():
    text = "dataset: digits\ngrowth_rate: [4]\nperiods: [{m: [1, 2], s: [1], r: [1, 2]}]\n"
    assert parse_space(text, name="few").definition.trials == 4


def test_a_file_is_loaded_by_path_and_named_after_it(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8")
    for wanted in (path, str(path)):
        space = load_space(wanted)
        assert space.name == "mine"
        assert space.definition.yaml == GOOD


def test_unreadable_files_are_one_line_errors(tmp_path: Path):
    with pytest.raises(SpaceError, match=r"cannot read the space file .*gone\.yaml: No such file"):
        load_space(tmp_path / "gone.yaml")
    with pytest.raises(SpaceError, match=r"cannot read the space file .*: Is a directory"):
        load_space(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("description: größer".encode("latin-1"))
    with pytest.raises(SpaceError, match="must be UTF-8 text, but byte 15 is not"):
        load_space(latin)


def test_the_readme_documents_a_file_that_loads():
    readme = ROOT / "search_spaces" / "README.md"
    text = readme.read_text(encoding="utf-8")
    example = blocks(readme, "yaml")[0]
    assert parse_space(example, name="example").definition.trials == 50
    for name in shipped_spaces():
        row = next(line for line in text.splitlines() if line.startswith(f"| [`{name}`]"))
        assert f"| {len(load_space(name)):,} |" in row, f"{name}: the README gives another number of candidates"


def test_samplers_are_checked_where_the_known_ones_are_given() -> None:
    text = f"{GOOD}search: {{sampler: frontir}}\n"
    assert parse_space(text, name="any").definition.search.sampler == "frontir"
    with pytest.raises(SpaceError, match=rf"own.yaml:{len(text.splitlines())}: sampler of search: .*'frontier'"):
        parse_space(text, name="own", samplers=("frontier", "random"))


@pytest.mark.parametrize("name", ["quickstart", "methods"])
def test_the_summary_is_read_back_from_the_ledger_as_it_was(name: str) -> None:
    found = load_space(name).summary()
    assert from_plain(SpaceSummary, to_plain(found)) == found


def test_as_many_images_as_there_are_may_be_trained_on():
    assert parse_space(edited("trials: 5", "trials: 5\ntrain_images: 839"), name="small").definition.train_images == 839


def test_a_product_beyond_64_bits_is_exact():
    values = {"m1": np.array([999_999, 2, 999_999]), "m2": np.array([999_998, 3, 999_999])}
    constraint = read_expression("m1 * m1 * m1 * m1 * m1 > m2 * m2 * m2 * m2 * m2", 2)
    pairs = zip(values["m1"].tolist(), values["m2"].tolist(), strict=True)
    assert constraint.holds(values).tolist() == [a**5 > b**5 for a, b in pairs]


numbers = st.recursive(
    st.sampled_from(["m1", "m2", "s1", "k", "0", "3", "999999"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, st.integers(1, 9)).map(lambda t: f"({t[0]} // {t[1]})"),
        inner.map(lambda t: f"(-{t})"),
    ),
    max_leaves=8,
)


@given(left=numbers, right=numbers, drawn=st.lists(st.tuples(*[st.integers(1, 999_999)] * 4), min_size=1, max_size=5))
def test_constraints_are_those_of_python_at_any_size(left, right, drawn):
    names = ("m1", "m2", "s1", "k")
    columns = {name: np.array(column) for name, column in zip(names, zip(*drawn, strict=True), strict=True)}
    text = f"{left} <= {right} or m1 == m2"
    expected = [eval(text, {}, dict(zip(names, row, strict=True))) for row in drawn]
    assert read_expression(text, 2).holds(columns).tolist() == expected


def test_reading_a_constraint_warns_of_nothing(recwarn):
    for text in ("1 is 1", "1() < m1", "'\\d' == m1"):
        with pytest.raises(SpaceError):
            read_expression(text, 1)
    assert not recwarn.list
