"""Constraints of a space file, such as `m1 <= m2` or `share1 implies r1 >= 4`.

A constraint compares whole numbers made from the decisions of one period or of two neighbouring ones, and the growth
rate k, by + - * // and brackets; comparisons are joined by `and`, `or`, `not` and `implies`, which binds least and to
the right. It is evaluated over arrays, never as Python code.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rksearch.errors import SpaceError, nearest

_VARIABLE = re.compile(r"(m|s|r|share)([1-9][0-9]*)")

_ARITHMETIC: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.FloorDiv: np.floor_divide,
}

_COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}

LARGEST_NUMBER = 10**6
"""Largest number of a constraint, and of any decision."""

LONGEST = 2_000
"""Longest constraint, in characters."""

DEEPEST = 100
"""Deepest nesting of a constraint; a sum of n terms is n levels deep."""

LARGEST_RESULT = 10**60
"""What no sum or product in a constraint may exceed, whatever the decisions."""

_EXACT = 2**62
"""Results below this are exact in 64 bits."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed constraint.

    Attributes:
        text: text of the constraint in the file.
        variables: sorted names that occur, without `k`.
        periods: sorted numbers of the periods that occur, counted from 0.
    """

    text: str
    variables: tuple[str, ...]
    periods: tuple[int, ...]
    _tree: ast.expr = field(compare=False)  # trees are equal to themselves alone; the text says as much

    @property
    def of_growth(self) -> bool:
        """Whether it uses k or m, which not all families have."""
        return any(isinstance(node, ast.Name) and node.id[0] in "km" for node in ast.walk(self._tree))

    @property
    def line(self) -> str:
        """The text in one line, without comments: it reads back as the same constraint."""
        return " ".join(_bare(self.text).split())

    def holds(self, values: Mapping[str, Any]) -> Any:
        """Whether the constraint holds, element by element, for arrays (that broadcast) by variable."""
        largest = {name: int(np.max(np.abs(own), initial=0)) for name, own in values.items()}
        if _bound(self._tree, largest) >= _EXACT:  # Python's integers are exact, and slower
            values = {name: np.asarray(own).astype(object) for name, own in values.items()}
        return np.asarray(_evaluate(self._tree, values), dtype=bool)


def read_expression(text: str, periods: int) -> Expression:
    """The constraint that `text` states on networks with this number of periods.

    Raises:
        SpaceError: the text is no such constraint; the message names the fault, without file and line.
    """
    if len(text) > LONGEST:
        raise SpaceError(f"a constraint may have {LONGEST:,} characters, but it has {len(text):,}; write several")
    source = _without_implies(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, about what is refused below
            tree = ast.parse(f"({source})", mode="eval").body  # in brackets lines may end anywhere
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpaceError("a constraint must be a comparison such as m1 <= m2 or s1 * r1 <= 8") from None
    if _depth(tree) > DEEPEST:
        raise SpaceError(f"a constraint may join {DEEPEST} terms, but it has more; write several constraints")
    if not _is_truth(tree):
        raise SpaceError("a constraint must be true or false, as m1 <= m2 is, and numbers must stand within it")
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {"k"})
    known = [f"{name}{i}" for i in range(1, periods + 1) for name in ("m", "s", "r", "share")]
    for name in names:
        if name not in known:
            raise SpaceError(f"the decisions are k, {', '.join(known)}, but got {name!r}{nearest(name, known)}")
    touched = tuple(sorted({int(match.group(2)) - 1 for match in map(_VARIABLE.fullmatch, names) if match}))
    if not touched:
        raise SpaceError("a constraint must name a decision of a period, such as m1")
    if touched[-1] - touched[0] > 1:
        raise SpaceError(
            "a constraint may tie one period or two neighbours; tie distant periods through those between them "
            "(s1 == s2 and s2 == s3)"
        )
    if _bound(tree, dict.fromkeys((*known, "k"), LARGEST_NUMBER)) > LARGEST_RESULT:
        raise SpaceError("a constraint multiplies at most ten numbers, but it has more; write a smaller product")
    return Expression(text, tuple(names), touched, tree)


def _bare(text: str) -> str:
    """The text without comments and backslashes at the ends of lines, which Python allows."""
    return re.sub(r"#.*|\\\n", " ", text)


def _without_implies(text: str) -> str:
    """The text as Python reads it: each `a implies b` becomes `not (a) or b`, within the brackets that it stands in.

    What could hide a bracket or bind less than `or` (a string, a comma, a lambda) is refused later, in the tree.

    Raises:
        SpaceError: brackets are not in pairs, or a side of `implies` is missing.
    """
    levels = [[""]]  # for each open bracket the sides of the implications in it
    for piece in re.split(r"([()]|\bimplies\b)", _bare(text)):
        if piece == "(":
            levels.append([""])
        elif piece == ")" and len(levels) > 1:
            inner = _joined(levels.pop())
            levels[-1][-1] += f"({inner})"
        elif piece == ")":
            raise SpaceError("every bracket of a constraint must have its partner, but a closing one has none")
        elif piece == "implies":
            levels[-1].append("")
        else:
            levels[-1][-1] += piece
    if len(levels) > 1:
        raise SpaceError("every bracket of a constraint must have its partner, but an opening one has none")
    return _joined(levels[0])


def _joined(sides: list[str]) -> str:
    """The condition that the sides of the implications of one level make; with one side, that side."""
    if len(sides) > 1 and not all(map(str.strip, sides)):
        raise SpaceError("`implies` must stand between two conditions, as in share1 implies r1 >= 4")
    *conditions, last = sides
    return " or ".join([*(f"not ({condition})" for condition in conditions), last])


def _depth(tree: ast.expr) -> int:
    """Levels of an expression, found without recursion."""
    deepest, stack = 0, [(tree, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        stack += [(inner, level + 1) for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.expr)]
    return deepest


def _bound(node: ast.expr, largest: Mapping[str, int]) -> int:
    """A number that no result within an expression exceeds, in either direction.

    Args:
        node: a checked expression.
        largest: bounds of the variables.
    """
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return largest[name]
        case ast.UnaryOp(operand=operand):
            return _bound(operand, largest)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            a, b = _bound(left, largest), _bound(right, largest)
            return max(a, b, a * b)
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            return _bound(left, largest) + 1  # -1 // 2 is -1
        case ast.BinOp(left=left, right=right):
            return _bound(left, largest) + _bound(right, largest)
        case ast.BoolOp(values=parts):
            return max(_bound(part, largest) for part in parts)
        case ast.Compare(left=left, comparators=others):
            return max(_bound(part, largest) for part in (left, *others))
    raise AssertionError(f"an expression was not checked: {ast.dump(node)}")


def _is_truth(node: ast.expr) -> bool:
    """Whether the node is a truth value made as allowed; a `share` is one by itself."""
    match node:
        case ast.BoolOp(values=values):
            return all(map(_is_truth, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_truth(operand)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return all(type(op) in _COMPARISONS for op in ops) and all(map(_is_number, [left, *others]))
        case ast.Name(id=name):
            return name.startswith("share")
        case _:
            return False


def _is_number(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return type(value) is int and 0 <= value <= LARGEST_NUMBER
        case ast.Name():
            return True
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _is_number(operand)
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            # A divisor that is written out cannot be zero unseen.
            return _is_number(left) and isinstance(right, ast.Constant) and _is_number(right) and right.value != 0
        case ast.BinOp(left=left, op=op, right=right):
            return type(op) in _ARITHMETIC and _is_number(left) and _is_number(right)
        case _:
            return False


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=op, operand=operand):
            value = _evaluate(operand, values)
            return np.logical_not(value) if isinstance(op, ast.Not) else np.negative(value)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            result = _evaluate(parts[0], values)
            for part in parts[1:]:
                result = join(result, _evaluate(part, values))
            return result
        case ast.Compare(left=left, ops=ops, comparators=others):
            terms = [_evaluate(term, values) for term in (left, *others)]
            result = True
            for comparison, a, b in zip(ops, terms, terms[1:], strict=False):
                result = np.logical_and(result, _COMPARISONS[type(comparison)](a, b))
            return result
    raise AssertionError(f"an expression was not checked: {ast.dump(node)}")
