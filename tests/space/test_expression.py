"""Constraints: what stands in brackets is read as it is written, `implies` too."""

import json
import re
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.errors import SpaceError
from rksearch.space import describe_space, parse_space
from rksearch.space.format.expression import read_expression
from tests.helpers.command_line import rksearch_json

Tree = tuple[Any, ...]
"""A condition: ("is", text) that Python evaluates, ("not", tree), or (word, tree, tree)."""

POINTS = [dict(zip(("m1", "m2", "r1", "share1"), p, strict=True)) for p in product((1, 2), (1, 2), (1, 4), (0, 1))]

BINDING = {"implies": 0, "or": 1, "and": 2, "not": 3, "is": 4}
"""How closely words bind; what binds less needs brackets within what binds more."""

SPACE = """\
dataset: digits
growth_rate: [4]
periods:
  - {m: [1, 2], s: [1, 2], r: [1, 2, 4], share: [false, true]}
  - {m: [2], s: [1], r: [1, 2], share: [false, true]}
constraints: %s
"""

trees: st.SearchStrategy[Tree] = st.recursive(
    st.tuples(st.just("is"), st.sampled_from(["share1", "m1 <= m2", "(m1 + r1) * 2 > 6", "r1 == 4", "m1 < m2 < r1"])),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["implies", "or", "and"]), inner, inner)
    ),
    max_leaves=12,
)


def truth(tree: Tree, point: dict[str, int]) -> bool:
    """What a condition is at a point, by the tables of logic."""
    match tree:
        case ("is", text):
            return bool(eval(text, {}, point))
        case ("not", inner):
            return not truth(inner, point)
        case (word, left, right):
            pair = truth(left, point), truth(right, point)
            return {"and": all(pair), "or": any(pair), "implies": pair != (True, False)}[word]
    raise AssertionError(tree)


def written(tree: Tree, brackets: Any) -> str:
    """A condition in words, with the brackets that it needs, and others at random."""

    def side(inner: Tree, least: int) -> str:
        text = written(inner, brackets)
        needed = BINDING[inner[0]] < least
        return f"({text})" if needed or brackets.draw(st.booleans()) else text

    match tree:
        case ("is", text):
            return str(text)
        case ("not", inner):
            return f"not {side(inner, BINDING['not'])}"
        case (word, left, right):
            # `implies` goes to the right: another one on its left needs brackets.
            return f"{side(left, BINDING[word] + (word == 'implies'))} {word} {side(right, BINDING[word])}"
    raise AssertionError(tree)


@given(trees, st.data())
def test_a_constraint_means_what_is_written(tree, data):
    text = written(tree, data)
    expected = [truth(tree, point) for point in POINTS]
    columns = {name: np.array([point[name] for point in POINTS]) for name in POINTS[0]}
    assert read_expression(text, 2).holds(columns).tolist() == expected, text


@pytest.mark.parametrize(
    ("constraint", "rule"),
    [
        ("not (share1 implies r1 >= 4)", lambda m1, r1, share1: share1 and r1 < 4),
        ("(share1 implies r1 >= 4) and m1 <= 1", lambda m1, r1, share1: (not share1 or r1 >= 4) and m1 <= 1),
        ("m1 <= 1 or (share1 implies r1 >= 4)", lambda m1, r1, share1: m1 <= 1 or not share1 or r1 >= 4),
        ("(share1 implies r1 >= 4) implies m1 > 1", lambda m1, r1, share1: (share1 and r1 < 4) or m1 > 1),
        ("share1 implies r1 >= 4 implies m1 > 1", lambda m1, r1, share1: not share1 or r1 < 4 or m1 > 1),
    ],
)
def test_implies_in_brackets_keeps_the_networks_that_it_states(tmp_path, constraint, rule):
    """Through the command line, counted by the rule on each first period of the file."""
    path = tmp_path / "mine.yaml"
    path.write_text(SPACE % json.dumps([constraint]), encoding="utf-8")
    first = {(m, s, r, sh and r > 1) for m, s, r, sh in product((1, 2), (1, 2), (1, 2, 4), (False, True))}
    kept = sum(bool(rule(m, r, share)) for m, _, r, share in first)
    shown = rksearch_json("space", "show", str(path), "--json")
    assert shown["canonical_size"] == 3 * kept, "three different second periods"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("implies r1 >= 4", "`implies` must stand between two conditions"),
        ("share1 implies", "`implies` must stand between two conditions"),
        ("m1 > 1 and (share1 implies )", "`implies` must stand between two conditions"),
        ("share1 implies implies r1 >= 4", "`implies` must stand between two conditions"),
        ("share1) implies (r1 >= 4", "a closing one has none"),
        ("(share1 implies r1 >= 4", "an opening one has none"),
        ("share1 implies ()", "must be true or false"),
        ("m1 + (share1 implies r1 > 1) > 1", "must be true or false"),
        ("m1 > 1, share1 implies r1 > 1", "must be true or false"),
        ("[share1 implies r1 > 1]", "must be a comparison"),
        ("m1 > 1 if share1 implies r1 > 1 else m1 > 1", "must be a comparison"),
        ("'(' implies ')' == m1", "must be a comparison"),
        ("'share1' implies m1 > 1", "must be true or false"),
        ("f'{share1 implies r1 > 1}'", "must be a comparison"),
        ("impliesx > m1", "the decisions are k, m1.*got 'impliesx'"),
        ("share1 implies m3 > 1", "the decisions are k, m1.*got 'm3'"),
        ("(" * 900 + "m1 < 2" + ")" * 900, "must be a comparison"),
        ("(m1 > 1 implies " * 80 + "m1 > 1" + ")" * 80 + " and -" + "-" * 99 + "m1 < 1", "may join 100 terms"),
        ("(share1 implies " * 110 + "m1 > 1" + ")" * 110, "may join 100 terms"),
        ("implies " * 200, "`implies` must stand between two conditions"),
        ("implies " * 2_000, "may have 2,000 characters"),
    ],
)
def test_what_is_no_constraint_is_one_line(text, expected):
    with pytest.raises(SpaceError) as caught:
        parse_space(SPACE % json.dumps([text]), name="mine")
    message = str(caught.value)
    assert re.match(rf"mine\.yaml:6: constraints: .*({expected})", message), message
    assert "\n" not in message


def test_a_constraint_is_shown_in_one_line_that_reads_back_as_the_same():
    text = "m1 <= 2  # narrow (\n  and (share1\n  implies \\\n r1 >= 4)"
    space = parse_space(SPACE % json.dumps([text]), name="mine")
    (shown,) = [line for line in describe_space(space).splitlines() if line.split()[:1] == ["constraint"]]
    assert shown.split(maxsplit=1)[1] == "m1 <= 2 and (share1 implies r1 >= 4)"
    again = parse_space(SPACE % json.dumps([shown.split(maxsplit=1)[1]]), name="mine")
    assert list(again) == list(space)


def test_a_constraint_may_be_listed_once():
    with pytest.raises(SpaceError, match="constraints: every value may be listed once"):
        parse_space(SPACE % json.dumps(["m1 <= m2", "m1 <= m2"]), name="mine")


def test_definitions_of_one_text_are_equal():
    text = SPACE % json.dumps(["share1 implies r1 >= 4"])
    assert parse_space(text, name="mine").definition == parse_space(text, name="mine").definition
