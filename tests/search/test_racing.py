import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.errors import SpaceError
from rksearch.results.plan import RacingRule
from rksearch.results.records import Epoch
from rksearch.search.racing import Race, Racer, RungStandings, score


def epochs(errors):
    return tuple(
        Epoch(
            epoch=n,
            lr=0.1,
            train_loss=error / 10,
            train_error_pct=50.0,
            val_loss=1.0,
            val_error_pct=error,
            train_time_s=1.0,
        )
        for n, error in enumerate(errors, 1)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rungs": ()}, "rungs must be epochs"),
        ({"rungs": (0, 2)}, "rungs must be epochs"),
        ({"rungs": (3, 2)}, "rungs must rise"),
        ({"keep": 1.0}, "keep must lie"),
        ({"bands": 0}, "bands must be"),
        ({"rank": "luck"}, "rank must be one of val_error, train_loss_sum"),
    ],
)
def test_rules(change, message):
    with pytest.raises(SpaceError, match=message):
        RacingRule(**{"rungs": (1, 3), "keep": 0.5, "bands": 1, "rank": "val_error", **change})


def test_scores():
    run = epochs([50.0, 40.0, 30.0])
    assert score(run, 2, "val_error") == 40.0
    assert score(run, 2, "train_loss_sum") == pytest.approx(9.0)
    assert score(run, 4, "val_error") == math.inf
    assert score(epochs([math.nan]), 1, "val_error") == math.inf


def test_bands_divide_the_logarithm_evenly():
    race = Race(RacingRule(rungs=(1,), keep=0.5, bands=3, rank="val_error"), smallest=1_000, largest=1_000_000)
    assert [race.band(p) for p in (1, 1_000, 9_999, 10_001, 99_999, 100_001, 10**9)] == [0, 0, 0, 1, 1, 2, 2]


racers = st.lists(
    st.builds(
        lambda params, curve, waits, n: (params, curve, waits and len(curve) in (1, 3), n),
        st.integers(100, 100_000),
        st.lists(st.integers(1, 90).map(float), max_size=4),
        st.booleans(),
        st.integers(0, 10**6),
    ),
    max_size=30,
    unique_by=lambda item: item[3],
)


@given(racers, st.sampled_from([0.25, 1 / 3, 0.5, 0.7]), st.randoms(use_true_random=False))
def test_promotions_against_a_naive_reference(items, keep, rng):
    rules = RacingRule(rungs=(1, 3), keep=keep, bands=3, rank="val_error")
    race = Race(rules, smallest=100, largest=100_000)
    field = [Racer(arch=f"net{n}", params=p, epochs=epochs(c), waits=w) for p, c, w, n in items]

    def chosen(rung):
        found = set()
        for band in range(3):
            group = [r for r in field if len(r.epochs) >= rung and 100 * 10**band <= r.params]
            group = [r for r in group if band == 2 or r.params < 100 * 10 ** (band + 1)]
            ranked = sorted(group, key=lambda r: (r.epochs[rung - 1].val_error_pct, r.params, r.arch))
            # Counting with the exact fraction that the float stands for.
            share = {0.25: (1, 4), 1 / 3: (1, 3), 0.5: (1, 2), 0.7: (7, 10)}[keep]
            best = ranked[: -(-len(ranked) * share[0] // share[1])]
            found |= {r.arch for r in best if r.waits and len(r.epochs) == rung}
        return found

    low, high = chosen(1), chosen(3)
    standing = RungStandings(race)
    # Epoch by epoch, in any order of the trials: only the last state of each counts.
    states = [replace(r, epochs=r.epochs[:n], waits=n in (1, 3)) for r in field for n in range(len(r.epochs))]
    rng.shuffle(states)
    for earlier in states:
        standing.set(earlier)
    for racer in field:
        standing.set(racer)
    promoted: list[str] = []
    while (arch := standing.promoted(promoted)) is not None:
        promoted.append(arch)
    assert promoted == sorted(promoted, key=lambda arch: arch not in high), "the most advanced come first"
    assert set(promoted) == low | high
