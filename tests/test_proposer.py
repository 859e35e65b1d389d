import math
from typing import Any

import pytest

from rksearch.search.proposer import OptunaProposer
from rksearch.space import load_space, parse_space
from rksearch.spec import parse

TINY = """
dataset: digits
families: [dense, dense_bc]
growth_rate: [4]
periods:
  - {m: [1, 2], s: [1], r: [1, 2], share: [false, true]}
  - {m: [2], s: [1, 2], r: [1]}
budgets: {params: [null, 6000]}
"""


def score(arch: str) -> float | None:
    """An error that rewards size up to a point; some architectures fail."""
    return None if hash_of(arch) % 11 == 0 else 5 + 40 / math.log(10 + len(arch)) + hash_of(arch) % 7


def hash_of(arch: str) -> int:
    return sum(ord(c) * (i + 1) for i, c in enumerate(arch))


def test_every_proposal_is_feasible_canonical_and_new():
    space = load_space("quickstart")
    proposer = OptunaProposer(space, trials=60, seed=1)
    taken: set[str] = set()
    for _ in range(60):
        arch = proposer.propose(taken)
        assert arch is not None
        assert arch not in taken
        assert str(parse(arch)) == arch
        assert parse(arch) in space
        taken.add(arch)
        if len(taken) % 3:  # every third goes on running
            proposer.tell(arch, score(arch))


def test_a_small_space_is_proposed_completely_and_then_is_exhausted():
    space = parse_space(TINY, name="tiny")
    assert 4 < len(space) < 40
    proposer = OptunaProposer(space, trials=100, seed=0)
    taken: set[str] = set()
    while arch := proposer.propose(taken):
        taken.add(arch)
        proposer.tell(arch, score(arch))
    assert taken == {str(spec) for spec in space}


def test_the_study_learns_from_what_was_trained():
    """Where the growth rate decides everything, later proposals prefer the good one."""
    space = load_space("quickstart")
    proposer = OptunaProposer(space, trials=75, seed=3)
    taken: set[str] = set()
    late: list[Any] = []
    for i in range(75):
        arch = proposer.propose(taken)
        assert arch is not None
        taken.add(arch)
        spec: Any = parse(arch)
        proposer.tell(arch, 5.0 if spec.growth_rate == 6 else 80.0)
        if i >= 50:
            late.append(spec)
    share = sum(spec.growth_rate == 6 for spec in late) / len(late)
    of_space = sum("-k6-" in str(spec) for spec in space.sample(500, seed=0)) / 500
    assert share > of_space + 0.2


def test_architectures_outside_of_the_space_teach_nothing():
    proposer = OptunaProposer(load_space("quickstart"), trials=6, seed=0)
    proposer.tell("ResNet-20", 5.0)
    proposer.tell("RKNet-k64-m9-1x1", 5.0)
    assert proposer.propose(set()) is not None


@pytest.mark.parametrize("proposed", [0, 3])
def test_a_resumed_search_proposes_nothing_twice(proposed):
    space = load_space("quickstart")
    first = OptunaProposer(space, trials=12, seed=5)
    taken: set[str] = set()
    for _ in range(proposed):
        arch = first.propose(taken)
        assert arch is not None
        taken.add(arch)
    again = OptunaProposer(space, trials=12, seed=5, proposed=proposed)
    for arch in sorted(taken):
        again.tell(arch, 10.0)
    for _ in range(12 - proposed):
        arch = again.propose(taken)
        assert arch is not None
        assert arch not in taken
        taken.add(arch)
