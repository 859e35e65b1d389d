import json
import math
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.arch import DenseNet, Period, RKNet, parse
from rksearch.arch.cost import cost
from rksearch.arch.layout import layout
from rksearch.data.facts import dataset
from rksearch.errors import SpaceError
from rksearch.results.codec import to_plain
from rksearch.space import Space, describe_space, load_space, parse_space, shipped_spaces
from rksearch.space.counting import by_distance, chosen, dominance, extremes, halves, nearest_counted, proposals


def depth_of(spec, data):
    return sum(row.kind in ("conv", "linear") for row in layout(spec, data).rows)


CONSTRAINTS = {
    "m1 <= m2": lambda p: p[0].m <= p[1].m,
    "s1 * r1 <= 6": lambda p: p[0].s * p[0].r <= 6,
    "share1 implies r1 >= 4": lambda p: not p[0].share or p[0].r >= 4,
    "m1 <= 2 and not (share1 implies r1 >= 4) or s2 == 1": lambda p: (
        (p[0].m <= 2 and p[0].share and p[0].r < 4) or p[1].s == 1
    ),
    "not (s1 > s2 or r2 > 2 * r1)": lambda p: not (p[0].s > p[1].s or p[1].r > 2 * p[0].r),
    "m2 == (m1 + m1 * s1 * r1) // 2 or m2 != 5": lambda p: (
        p[1].m == (p[0].m + p[0].m * p[0].s * p[0].r) // 2 or p[1].m != 5
    ),
    "share1 == share2": lambda p: p[0].share == p[1].share,
}


TABLEAU_STAGES = {
    "euler": 1,
    "midpoint": 2,
    "midpoint+tie": 2,
    "heun2+train": 2,
    "impmid": 1,
    "bosh3": 3,
    "ralston3": 3,
}
OTHER_NAMES = {"impmid": "midpoint+tie", "bosh3": "ralston3"}
OF_GROWTH = {text for text in CONSTRAINTS if "m1" in text}


def period_name(s, r, share, method):
    """The name of a period, equivalent ones alike: written without the code under test."""
    method = OTHER_NAMES.get(method, method)
    if method == "euler":
        s, method = 1, "learned"
    s = s if method == "learned" else TABLEAU_STAGES[method]
    return f"{s}x{r}{'s' if share and r > 1 else ''}{'' if method == 'learned' else '@' + method}"


def brute_force(document):
    """Every (name, params, macs, depth) that is allowed, one spec at a time, and how many combinations were listed."""
    data = dataset(document["dataset"])
    combinations, found = 0, {}
    keys = ("m", "s", "r", "share", "method")
    per_period = [list(product(*(p.get(key, [None]) for key in keys))) for p in document["periods"]]
    for family, k, *periods in product(document["families"], document.get("growth_rate", [None]), *per_period):
        combinations += 1
        methods = "_".join(period_name(s, r, share, method or "learned") for _, s, r, share, method in periods)
        ms = "_".join(str(m) for m, *_ in periods)
        start = {"dense": f"k{k}-m{ms}-", "dense_bc": f"BC-k{k}-m{ms}-", "residual": "Res-"}[family]
        spec: Any = parse(f"RKNet-{start}{methods}")
        rules = [CONSTRAINTS[c] for c in document.get("constraints", []) if family != "residual" or c not in OF_GROWTH]
        if str(spec) not in found and all(rule(spec.periods) for rule in rules):
            counts = cost(spec, data)
            found[str(spec)] = (counts.params, counts.macs, depth_of(spec, data))
    return combinations, found


def within(value, budget):
    low, high = budget
    return (low is None or value >= low) and (high is None or value <= high)


def subset(values, size):
    return st.lists(st.sampled_from(values), min_size=1, max_size=size, unique=True)


@st.composite
def documents(draw):
    """Space documents small enough for brute force, with budgets that often cut something off."""
    period = st.fixed_dictionaries(
        {
            "m": subset([1, 2, 3, 5], 2),
            "s": subset([1, 2, 3], 2),
            "r": subset([1, 2, 4], 2),
            "share": subset([False, True], 2),
        }
    )
    ends = st.none() | st.integers(0, 60_000)
    budgets = {}
    for key, scale in (("params", 1), ("macs", 30), ("depth", 1 / 1500)):
        low, high = draw(ends), draw(ends)
        if low is not None and high is not None and low > high:
            low, high = high, low
        budgets[key] = [None if end is None else int(end * scale) for end in (low, high)]
    periods = draw(st.lists(period, min_size=1, max_size=3))
    if len(periods) == 3:  # keeps the brute force cheap
        periods = [{key: values[:2] for key, values in p.items()} for p in periods]
        periods[1] |= {"m": periods[1]["m"][:1], "r": periods[1]["r"][:1]}
    rules = draw(subset(sorted(CONSTRAINTS), 2)) if len(periods) > 1 and draw(st.booleans()) else []
    document = {
        "dataset": draw(st.sampled_from(["digits", "cifar10"])),
        "families": draw(subset(["dense", "dense_bc", "residual"], 2)),
        "growth_rate": draw(subset([2, 4, 12], 2)),
        "periods": periods,
        "constraints": rules,
        "budgets": budgets,
    }
    if draw(st.booleans()):
        solved = draw(st.sampled_from(periods))
        solved["method"] = draw(subset(["learned", *TABLEAU_STAGES], 3))
        if "learned" not in solved["method"]:
            del solved["s"]
    if document["families"] == ["residual"]:
        del document["growth_rate"]
        for own in periods:
            del own["m"]
    return document


@settings(max_examples=25, deadline=None)
@given(documents(), st.sampled_from([0, 50, 1 << 18]), st.randoms(use_true_random=False))
def test_a_space_is_what_brute_force_finds(document, leaf, rng):
    combinations, every = brute_force(document)
    budgets = [document["budgets"][key] for key in ("params", "macs", "depth")]
    kept = {n: c for n, c in every.items() if all(within(*pair) for pair in zip(c, budgets, strict=True))}
    # JSON is YAML, so the document needs no writer of its own.
    text = json.dumps(document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dominance, "LEAF_PAIRS", leaf)
        patch.setattr(nearest_counted, "LEAF_PAIRS", leaf)
        patch.setattr(halves, "LOOKED_AT", max(1, leaf))
        patch.setattr(extremes, "LISTED", leaf)
        patch.setattr(by_distance, "LISTED", leaf)
        if not every:
            with pytest.raises(SpaceError, match="the constraints exclude all choices"):
                parse_space(text, name="random")
            return
        if not kept:
            with pytest.raises(SpaceError, match=f"all {len(every):,} candidates"):
                parse_space(text, name="random")
            return
        space = parse_space(text, name="random")
        check_members(space, combinations, every, kept, budgets)
        check_decisions(space, every, kept, rng)


def check_members(space, combinations, every, kept, budgets):
    assert (space.raw_size, space.canonical_size, len(space)) == (combinations, len(every), len(kept))
    assert [priced.name for priced in space.by_name()] == sorted(kept)
    assert all(priced[1:] == kept[priced.name] for priced in space.by_name())
    names = [str(space.at(i)) for i in range(len(space))]
    assert sorted(names) == sorted(kept) == [str(spec) for spec in space]
    assert [space.index(parse(name)) for name in names] == list(range(len(space)))

    sides = ("too_few_params", "too_many_params", "too_few_macs", "too_many_macs", "too_shallow", "too_deep")
    for i, (low, high) in enumerate(budgets):
        assert space.rejected[sides[2 * i]] == sum(c[i] < (low or 0) for c in every.values())
        assert space.rejected[sides[2 * i + 1]] == sum(
            c[i] > (math.inf if high is None else high) for c in every.values()
        )
    edges, counts = space.histogram
    assert counts == [sum(a < c[0] <= b for c in kept.values()) for a, b in pairwise(edges)]
    assert sum(counts) == len(kept)
    for member, first, sign in (
        (space.smallest, 0, 1),
        (space.largest, 0, -1),
        (space.fewest_macs, 1, 1),
        (space.most_macs, 1, -1),
    ):
        # Ties: the other count, in the same direction, then the name.
        best = min(kept, key=lambda n: (sign * kept[n][first], sign * kept[n][1 - first], n))
        assert member == (best, *kept[best][:2])


def check_decisions(space, every, kept, rng):
    for name in every:
        assert (parse(name) in space) == (name in kept)
        decisions = space.choices(parse(name))
        assert all(decisions[key] in values for key, values in space.dimensions().items())
        assert str(space.from_choices(decisions)) == name
    some = rng.choice(sorted(every))
    neighbours = {str(spec) for spec in space.neighbours(parse(some))}
    mine, values = space.choices(parse(some)), space.dimensions()
    changed = {str(space.from_choices({**mine, key: v})) for key in values for v in values[key]} - {some}
    assert neighbours == changed & set(kept)

    proposal = {key: rng.choice(options) for key, options in values.items()}
    exclude = {name for name in sorted(kept) if rng.random() < 0.3}
    nearest = space.nearest(proposal, exclude)
    left = [name for name in kept if name not in exclude]
    if not left:
        assert nearest is None
        return
    target = space.from_choices(proposal)
    size = cost(target, space.definition.dataset).params
    assert str(nearest) == min(left, key=lambda n: (steps(space, target, n), abs(kept[n][0] - size), n))


def steps(space: Space, target, name: str) -> int:
    """Steps on the lists of choices between two networks; what decides nothing in one of them is no step."""
    # A proposal may break a constraint, which `space.choices` refuses.
    values, own = space.dimensions(), proposals.to_choices(space.definition, target)
    theirs = space.choices(parse(name))
    total = 0
    for key in values:
        field, _, period = key.rstrip("0123456789"), "", key[len(key.rstrip("0123456789")) :]
        if own[key] == theirs[key]:
            continue
        both = [decided(field, period, choices) for choices in (own, theirs)]
        if field in ("family", "method", "share"):
            total += all(both)
        elif all(both):
            total += abs(values[key].index(own[key]) - values[key].index(theirs[key]))
    return total


def decided(field: str, period: str, choices: dict[str, Any]) -> bool:
    """Whether a decision makes a difference beside the others."""
    if field in ("k", "m"):
        return choices["family"] != "residual"
    if field == "s":
        return choices.get(f"method{period}", "learned") == "learned"
    return field != "share" or choices[f"r{period}"] > 1


TINY = """\
dataset: digits
families: [dense, dense_bc]
growth_rate: [4, 8]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2], share: [false, true]}
  - {m: [2, 4, 8], s: [1, 2], r: [1, 2], share: [false, true]}
budgets: {params: [1_000, 30_000]}
"""


@pytest.fixture(scope="module")
def tiny() -> Space:
    return parse_space(TINY, name="tiny")


def test_what_is_no_member_says_why(tiny):
    with pytest.raises(SpaceError, match="tiny: ResNet-8 is not among the choices"):
        tiny.index(parse("ResNet-8"))
    over = parse("RKNet-BC-k8-m2_8-2x2_2x2")
    params = cost(over, dataset("digits")).params
    with pytest.raises(SpaceError, match=f"over or under budget: params {params:,} must be 1,000 to 30,000"):
        tiny.index(over)
    for index in (-1, len(tiny)):
        with pytest.raises(SpaceError, match=f"from 0 to {len(tiny) - 1}, but got {index}"):
            tiny.at(index)
    assert "RKNet-k4-m1_2-1x1_1x1" not in tiny, "names are not specs"


@pytest.mark.parametrize(
    "name",
    ["RKNet-k5-m1_2-1x1_1x1", "RKNet-k4-m3_2-1x1_1x1", "RKNet-k4-m1_2-1x1_3x1", "RKNet-k4-m1-1x1", "DenseNet-10-k4"],
)
def test_specs_off_the_choices_are_no_members(tiny, name):
    assert parse(name) not in tiny
    with pytest.raises(SpaceError, match="not among the choices"):
        tiny.choices(parse(name))


def test_samples_are_distinct_reproducible_and_bounded(tiny):
    sample = tiny.sample(20, seed=7)
    assert len(set(sample)) == 20
    assert all(spec in tiny for spec in sample)
    assert sample == tiny.sample(20, seed=7)
    assert sample != tiny.sample(20, seed=8)
    assert set(tiny.sample(len(tiny), seed=1)) == set(tiny)
    assert tiny.sample(0, seed=1) == tiny.sample_stratified(0, random.Random(1)) == []
    for n in (-1, len(tiny) + 1):
        for draw in (lambda n=n: tiny.sample(n, 1), lambda n=n: tiny.sample_stratified(n, random.Random(1))):
            with pytest.raises(SpaceError, match=f"0 to {len(tiny)} architectures, but got {n}"):
                draw()


def test_samples_are_uniform(tiny):
    draws = Counter(str(spec) for seed in range(600) for spec in tiny.sample(10, seed))
    expected = 6000 / len(tiny)
    chi_square = sum((draws[str(spec)] - expected) ** 2 / expected for spec in tiny)
    freedom = len(tiny) - 1
    # The chi-square distribution has variance 2 * freedom; the seeds are fixed, so this cannot flicker.
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


def test_stratified_samples_cover_the_range_of_params():
    space = load_space("cifar10_small")
    n = 40
    sample = space.sample_stratified(n, random.Random(3))
    assert len(set(sample)) == n
    low, high = math.log(space.smallest.params), math.log(space.largest.params)
    sizes = [cost(spec, space.definition.dataset).params for spec in sample]
    strata = Counter(min(n - 1, int((math.log(size) - low) / (high - low) * n)) for size in sizes)
    assert set(strata.values()) == {1}, "every stratum of this space has members, so each gives one"
    assert sorted(sizes) != sizes, "the order is random, so that the first few are spread as well"
    assert sample == space.sample_stratified(n, random.Random(3))


def test_stratified_samples_can_take_everything(tiny):
    assert sorted(map(str, tiny.sample_stratified(len(tiny), random.Random(0)))) == sorted(map(str, tiny))


def test_equivalent_decisions_are_one_network(tiny):
    decisions = tiny.choices(parse("RKNet-k4-m1_2-1x1_1x2s"))
    assert decisions["share1"] is False
    assert tiny.from_choices({**decisions, "share1": True}) == tiny.from_choices(decisions)


def test_decisions_that_are_none_of_the_space_are_refused(tiny):
    good = tiny.choices(tiny.at(0))
    with pytest.raises(SpaceError, match=r"the decisions are family, k, m1.* got 'shar1' \(did you mean 'share1'\?\)"):
        tiny.from_choices({**good, "shar1": True})
    with pytest.raises(SpaceError, match="m2 must be one of 2, 4, 8, but got 3"):
        tiny.from_choices({**good, "m2": 3})
    with pytest.raises(SpaceError, match="the decision k is missing; choose from 4, 8"):
        tiny.from_choices({key: value for key, value in good.items() if key != "k"})


def test_sharing_that_is_always_on_collapses_too():
    text = "dataset: digits\ngrowth_rate: [4]\nperiods: [{m: [1], s: [1], r: [1, 2], share: [true]}]\n"
    space = parse_space(text, name="shared")
    assert [str(spec) for spec in space] == ["RKNet-BC-k4-m1-1x1", "RKNet-BC-k4-m1-1x2s"]
    assert [space.choices(spec)["share1"] for spec in space] == [True, True]
    assert space.nearest(parse("RKNet-BC-k4-m1-1x2")) == parse("RKNet-BC-k4-m1-1x2s")


def test_a_feasible_proposal_is_its_own_nearest_until_it_is_excluded():
    tiny = parse_space(TINY.replace("[4, 8]", "[4]", 1).replace("[2, 4, 8]", "[2, 4]"), name="tiny")
    seen: set[str] = {"not an architecture", "ResNet-8"}
    order = []
    proposal = tiny.at(5)
    while (spec := tiny.nearest(proposal, seen)) is not None:
        order.append(spec)
        seen.add(str(spec))
    assert order[0] == proposal
    assert len(order) == len(set(order)) == len(tiny)
    distances = [steps(tiny, proposal, str(spec)) for spec in order]
    assert distances == sorted(distances)


def test_a_proposal_off_the_choices_goes_to_the_nearest_values(tiny):
    assert tiny.nearest(parse("RKNet-BC-k5-m9_3-1x1_9x9s")) == tiny.nearest(parse("RKNet-BC-k4-m2_2-1x1_2x2s"))
    with pytest.raises(SpaceError, match="has 2 periods, but RKNet-k4-m1-1x1 has 1"):
        tiny.nearest(parse("RKNet-k4-m1-1x1"))
    with pytest.raises(SpaceError, match="only a Runge-Kutta network can be proposed, but got ResNet-20"):
        tiny.nearest(parse("ResNet-20"))


def test_shipped_spaces_hold_what_they_promise():
    assert {"quickstart", "cifar10_small", "cifar10_bc"} <= set(shipped_spaces())
    for name in shipped_spaces():
        space = load_space(name)
        definition = space.definition
        data = definition.dataset
        assert definition.description
        assert len(definition.baselines) >= 3
        if definition.architectures:
            assert definition.trials == len(space), "a list is trained whole"
        elif definition.trials == len(space):
            assert definition.search_seeds >= 3, "a table of every member needs several seeds"
        else:
            assert len(space) > 10 * definition.trials >= 120
        assert definition.final_seeds >= 2
        assert all(spec in space for spec in definition.known), f"{name}: a known architecture is over budget"
        first = next(space.by_name())
        counts = cost(parse(first.name), data)
        assert (counts.params, counts.macs, depth_of(parse(first.name), data)) == first[1:]
        for member in (space.smallest, space.largest, space.fewest_macs, space.most_macs):
            counts = cost(parse(member.name), data)
            assert (counts.params, counts.macs) == member[1:]


def test_cifar10_bc_has_the_four_rows_of_the_paper():
    definition = load_space("cifar10_bc").definition
    # Param column of Table 1, in millions, as printed beside DenseNet-BC-100-k12.
    counted = [cost(spec, definition.dataset).params_paper / 1e6 for spec in definition.known]
    assert [f"{count:.2f}" for count in counted] == ["0.91", "0.72", "0.33", "0.86"]
    assert DenseNet(depth=100, growth_rate=12, bottleneck=True) in definition.baselines
    assert definition.recipe.name == "paper"


def test_an_unknown_name_lists_the_shipped_ones():
    with pytest.raises(SpaceError, match=r"cifar10_bc, .*got 'quickstrat' \(did you mean 'quickstart'\?\)"):
        load_space("quickstrat")


def test_summary_is_json_and_rebuilds_the_space(tiny):
    summary = to_plain(tiny.summary())
    again = parse_space(summary["yaml"], name=summary["name"])
    assert to_plain(again.summary()) == summary
    assert summary["feasible"] == len(tiny)
    assert summary["smallest"] == {
        "name": tiny.smallest.name,
        "params": tiny.smallest.params,
        "macs": tiny.smallest.macs,
    }
    assert summary["budgets"] == {"params": [1_000, 30_000], "macs": [None, None], "depth": [None, None]}


def test_text_states_sizes_rejections_and_extremes(tiny):
    text = describe_space(tiny)
    for expected in (
        f"{tiny.raw_size:,}",
        f"{tiny.canonical_size:,}",
        f"{len(tiny):,}",
        "too many params",
        tiny.largest.name,
    ):
        assert expected in text
    unlimited = describe_space(parse_space(TINY.replace("[1_000, 30_000]", "[null, null]"), name="all"))
    assert "100.0 %" in unlimited
    assert "too many" not in unlimited


def test_three_periods_are_priced_as_their_layouts_are():
    text = """\
dataset: cifar10
growth_rate: [12]
periods:
  - {m: [2, 3, 4], s: [1, 2, 3, 4], r: [1, 2, 3], share: [false, true]}
  - {m: [4, 6, 8], s: [1, 2, 3, 4], r: [1, 2, 3], share: [false, true]}
  - {m: [4, 8, 12], s: [1, 2, 3, 4], r: [1, 2, 3], share: [false, true]}
budgets: {params: [200_000, 900_000]}
"""
    space = parse_space(text, name="large")
    assert space.canonical_size == (3 * 4 * 5) ** 3
    rng = random.Random(5)
    for _ in range(60):
        periods = []
        for choices in space.definition.periods:
            r = rng.choice(choices.r)
            periods.append(
                Period(m=rng.choice(choices.m), s=rng.choice(choices.s), r=r, share=r > 1 and rng.random() < 0.5)
            )
        spec = RKNet(growth_rate=12, periods=tuple(periods))
        counts = cost(spec, space.definition.dataset)
        assert (spec in space) == (200_000 <= counts.params <= 900_000)
        if spec in space:
            assert space.at(space.index(spec)) == spec
    assert space.smallest.params >= 200_000


def test_spaces_need_no_heavy_imports():
    code = (
        "import sys; from rksearch.space import load_space; len(load_space('quickstart'));"
        "print(sorted({'torch', 'ray', 'optuna', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_methods_compares_at_one_size():
    space = load_space("methods")
    counts = Counter((item.params, item.macs) for item in space.by_name())
    assert counts.most_common(1)[0][1] == len(space) - 4


LARGE = """
dataset: cifar10
families: [dense_bc]
growth_rate: [8, 12, 16, 24]
periods:
  - {m: [2, 3, 4, 6], s: [1, 2, 3, 4, 5, 6, 7, 8], r: [1, 2, 3, 4, 5, 6, 7, 8], share: [false, true]}
  - {m: [4, 6, 8, 9, 12], s: [1, 2, 3, 4, 5, 6, 7, 8], r: [1, 2, 3, 4, 5, 6, 7, 8], share: [false, true]}
  - {m: [6, 8, 9, 12, 16], s: [1, 2, 3, 4, 5, 6, 7, 8], r: [1, 2, 3, 4, 5, 6, 7, 8], share: [false, true]}
budgets: {params: [100_000, 1_000_000], macs: [null, 400_000_000]}
"""


def test_the_nearest_member_of_a_large_space_is_found_by_listing_little(monkeypatch):
    large = parse_space(LARGE, name="large")
    rng, values = random.Random(0), large.dimensions()
    # Of 690 million networks the budgets leave a fortieth, so most proposals are many steps from any member.
    proposals_made = [{key: rng.choice(options) for key, options in values.items()} for _ in range(40)]
    exclude = {str(spec) for spec in large.sample(500, seed=1)}
    monkeypatch.setattr(by_distance, "LISTED", 0)
    counted = [large.nearest(proposal, exclude) for proposal in proposals_made[:6]]
    monkeypatch.setattr(by_distance, "LISTED", 1 << 16)

    def too_many(*args):
        raise AssertionError("more was listed than is looked at in a few milliseconds")

    monkeypatch.setattr(chosen.ChosenMembers, "_nearest_counted", too_many)
    listed = [large.nearest(proposal, exclude) for proposal in proposals_made]
    assert listed[:6] == counted
    assert all(spec in large and str(spec) not in exclude for spec in listed)
