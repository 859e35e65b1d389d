"""Limits of what is counted: files within them are, in a minute and 2 GB, and others are refused within seconds."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.errors import SpaceError
from rksearch.space import parse_space
from rksearch.space.counting.effort import MAX_CHAINS
from tests.helpers.command_line import Answer, python


def text(periods: list[str], rates: list[int] | None = None, more: str = "") -> str:
    listed = "".join(f"  - {{{period}}}\n" for period in periods)
    return f"dataset: digits\ngrowth_rate: {rates or [4]}\nperiods:\n{listed}{more}"


def up_to(n: int) -> list[int]:
    return list(range(1, n + 1))


TOO_LARGE: dict[str, tuple[str, str]] = {
    "one period": (
        text([f"m: {up_to(100)}, s: {up_to(100)}, r: {up_to(100)}"]),
        r"1,000,000 combinations for period 1, and at most 60,000 may",
    ),
    "growth rates": (text(["m: [1], s: [1], r: [1]"], up_to(5_000)), r"5,000 pairs of a family and a growth rate"),
    "growth multiples": (
        text([f"m: {up_to(20_000)}, s: [1], r: [1]"] * 2),
        r"20,000 kinds of period 1 and 20,000 of the next",
    ),
    "ties": (
        text([f"m: [1], s: {up_to(50)}, r: {up_to(50)}"] * 2, more="constraints: [s1 * r1 <= s2 * r2]\n"),
        r"2,500 kinds of period 1 and 2,500 of the next",
    ),
    "units": (text([f"m: {up_to(100)}, s: [1], r: [1]"] * 2, up_to(1_000)), r"separate counts"),
    "halves": (text([f"m: [1], s: {up_to(50)}, r: {up_to(50)}"] * 4), r"partial networks to be listed at once"),
}
"""Files of some kilobytes that stand for too much, and the reason."""


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_what_cannot_be_counted_is_refused_within_seconds(
    tmp_path: Path, answer: Callable[..., Answer], kind: str
) -> None:
    content, reason = TOO_LARGE[kind]
    (tmp_path / "large.yaml").write_text(content)
    began = time.monotonic()
    code, shown, errors = answer("space", "show", tmp_path / "large.yaml")
    assert time.monotonic() - began < 10
    assert (code, shown) == (2, "")
    [line] = errors.splitlines()
    assert re.search(reason, line), line
    assert "list fewer values" in line


def test_as_many_growth_rates_as_there_may_be_are_counted() -> None:
    assert len(parse_space(text(["m: [1], s: [1], r: [1]"], up_to(MAX_CHAINS)), name="rates")) == MAX_CHAINS
    with pytest.raises(SpaceError, match="at most 2,000 may"):
        parse_space(text(["m: [1], s: [1], r: [1]"], up_to(MAX_CHAINS + 1)), name="rates")


RICH = text(
    [f"m: {up_to(40)}, s: {up_to(8)}, r: {up_to(8)}, share: [false, true]"] * 2,
    up_to(100),
    "families: [dense, dense_bc]\n",
)
MANY_MULTIPLES = text(
    [f"m: {up_to(1000)}, s: [1, 2], r: [1, 2], share: [false, true]"] * 2, [4, 6], "families: [dense, dense_bc]\n"
)
BUDGETS = "budgets: {params: [300_000, 400_000], macs: [6M, 9M], depth: [40, 200]}\n"
FOUR_PERIODS = text(
    ["m: [1, 2, 4], s: [1, 2, 3, 4], r: [1, 2, 3, 4, 5, 6, 7, 8], share: [false, true]"] * 4, up_to(8), BUDGETS
)
LARGE = {"rich": RICH, "many multiples": MANY_MULTIPLES, "four periods": FOUR_PERIODS}


@pytest.mark.timing
@pytest.mark.parametrize("kind", LARGE)
def test_what_is_within_the_limits_is_counted_in_a_minute_and_2_gb(tmp_path: Path, kind: str) -> None:
    (tmp_path / "large.yaml").write_text(LARGE[kind])
    code = """
import resource, sys, time
from rksearch.space import load_space
began = time.monotonic()
summary = load_space(sys.argv[1]).summary()
took_s, peak = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(f'[{took_s}, {peak}, {summary.raw_size}, {summary.feasible}]')
"""
    done = python("-c", code, str(tmp_path / "large.yaml"))
    assert done.returncode == 0, done.stderr
    took_s, peak_bytes, raw_size, feasible = json.loads(done.stdout)
    print(f"{kind}: {raw_size:.1e} combinations, {feasible:.1e} feasible, {took_s:.0f} s, {peak_bytes / 1e9:.2f} GB")
    assert took_s < 60
    assert peak_bytes < 2e9
