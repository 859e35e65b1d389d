import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from rksearch.arch import parse
from rksearch.bench.contestants import Participant
from rksearch.bench.ratios import interval, speed_up
from rksearch.bench.settings import BenchSettings
from rksearch.bench.turns import order, play
from rksearch.data.facts import dataset
from rksearch.errors import RksearchError
from rksearch.training.throughput import ImageSource


def test_every_place_of_a_round_is_taken_equally_often() -> None:
    names = ["a", "b", "c"]
    rounds = [order(names, number) for number in range(6)]
    assert rounds[:4] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["c", "b", "a"]]
    for place in range(3):
        assert Counter(one[place] for one in rounds) == {"a": 2, "b": 2, "c": 2}
    follow = Counter((one[i], one[i + 1]) for one in rounds for i in range(2))
    assert set(follow) == {(x, y) for x in names for y in names if x != y}


def test_a_ratio_is_of_paired_rounds_and_its_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        noise = np.exp(rng.normal(0, 1.0, 40))  # of the machine: the same for both in a round
        ours = noise * np.exp(rng.normal(0, 0.1, 40))
        found = speed_up(list(1.3 * noise), list(ours))
        assert found.low <= found.median <= found.high
        covered += found.low <= 1.3 <= found.high
    assert 180 <= covered <= 199
    assert found.high - found.low < 0.2  # the machine's noise, ten times larger, has cancelled


def test_equal_rounds_leave_no_doubt() -> None:
    assert speed_up([2.0, 4.0], [1.0, 2.0]).low == speed_up([2.0, 4.0], [1.0, 2.0]).high == 2
    assert speed_up([3.0, 9.0], [2.0, 1.0]).of_minima == 3
    assert interval(np.array([1.0, 2.0, 3.0])) == interval(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="but got 2 and 1"):
        speed_up([1.0, 2.0], [1.0])


def test_a_contestant_that_fails_ends_the_measurement_in_one_line() -> None:
    settings = BenchSettings(device=torch.device("cpu"), precision="fp32", batch_size=4, steps=1)
    source = ImageSource(dataset("digits"), None, 0)
    good = Participant(way="ours", arch=parse("ResNet-8"), source=source, settings=settings)
    bad = replace(good, arch=parse("RKNet-k4-m1_1_1_1_1-1x1_1x1_1x1_1x1_1x1"))  # five periods of images of 8 x 8
    with pytest.raises(RksearchError, match=re.escape("'bad' could not prepare: SpecError: ")):
        play({"good": good, "bad": bad}, rounds=1)
