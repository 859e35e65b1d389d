"""Speed of counting costs, in closed form and by building networks, on the same random networks.

All times are processor times of this process on one core.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import numpy as np

from rksearch.arch import Period, RKNet
from rksearch.arch.closed_forms import network_cost
from rksearch.arch.cost import cost
from rksearch.data.facts import Dataset

GROWTH_RATE = 12
PERIODS = 3
MULTIPLES = (2, 8)
STAGES = (1, 2)
TIME_STEPS = (1, 3)
"""Networks of the size of the paper's: growth multiples, stages and time-steps are drawn from these ranges."""

CHUNK = 1 << 15
"""Candidates counted at a time: the arrays of a chunk fit into a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBench:
    """Speed of counting costs in several ways.

    Attributes:
        dataset: the data set that decides shapes and classes.
        candidates: number of networks whose costs are counted at once.
        vectorised_per_s: networks per second of that.
        sample: number of networks that were also built and counted by torch and fvcore.
        single_us: closed form of one network, in microseconds.
        layout_us: sum over the layout's rows of one network, in microseconds.
        built_us: building one network and counting it with fvcore, in microseconds.
        ratio: built_us / single_us.
        mismatches: number of networks of the sample on which any two of closed form, layout, torch and fvcore disagree.
    """

    dataset: str
    candidates: int
    vectorised_per_s: float
    sample: int
    single_us: float
    layout_us: float
    built_us: float
    ratio: float
    mismatches: int


def bench_cost(data: Dataset, *, candidates: int, sample: int, seed: int) -> CostBench:
    """Count `candidates` random dense_bc networks of three periods, and build and count `sample` of them."""
    rng = random.Random(seed)
    vectorised_s = _vectorised_s(data, candidates, seed)
    specs = [_random_spec(rng) for _ in range(sample)]
    arguments = [_arguments(spec) for spec in specs]
    repeats = max(1, 2_000 // sample)
    start = time.process_time()
    for _ in range(repeats):
        for m, s, r, share in arguments:
            network_cost(data, True, GROWTH_RATE, m, s, r, share)
    single_s = (time.process_time() - start) / (repeats * sample)
    start = time.process_time()
    for spec in specs:
        cost(spec, data)
    layout_s = (time.process_time() - start) / sample
    built_s, mismatches = _witnessed(data, specs)
    return CostBench(
        dataset=data.name,
        candidates=candidates,
        vectorised_per_s=candidates / vectorised_s,
        sample=sample,
        single_us=1e6 * single_s,
        layout_us=1e6 * layout_s,
        built_us=1e6 * built_s,
        ratio=built_s / single_s,
        mismatches=mismatches,
    )


def _vectorised_s(data: Dataset, candidates: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    shape = (PERIODS, candidates)
    m, s, r = (rng.integers(low, high + 1, shape) for low, high in (MULTIPLES, STAGES, TIME_STEPS))
    share = rng.integers(0, 2, shape) & (r > 1)
    params, macs = np.empty((2, candidates), dtype=np.int64)
    start = time.process_time()
    for begin in range(0, candidates, CHUNK):
        part = slice(begin, begin + CHUNK)
        counted = network_cost(data, True, GROWTH_RATE, *(list(column[:, part]) for column in (m, s, r, share)))
        params[part], macs[part] = counted.params, counted.macs
    return time.process_time() - start


def _random_spec(rng: random.Random) -> RKNet:
    periods = []
    for _ in range(PERIODS):
        r = rng.randint(*TIME_STEPS)
        share = r > 1 and rng.random() < 0.5
        periods.append(Period(m=rng.randint(*MULTIPLES), s=rng.randint(*STAGES), r=r, share=share))
    return RKNet(growth_rate=GROWTH_RATE, periods=tuple(periods))


def _arguments(spec: RKNet) -> tuple[list[int], list[int], list[int], list[int]]:
    m, s, r, share = zip(*((p.m, p.s, p.r, int(p.share)) for p in spec.periods), strict=True)
    return list(m), list(s), list(r), list(share)


def _witnessed(data: Dataset, specs: list[RKNet]) -> tuple[float, int]:
    """Seconds to build and count one network, and how many networks any two counts disagree on."""
    from rksearch.models import build
    from rksearch.models.witness import count_fvcore_flops, count_params

    # fvcore traces more slowly the first time in a process.
    count_fvcore_flops(build(specs[0], data), data)
    spent_s, mismatches = 0.0, 0
    for spec in specs:
        start = time.process_time()
        model = build(spec, data)
        flops = count_fvcore_flops(model, data)
        spent_s += time.process_time() - start
        counted, closed = cost(spec, data), network_cost(data, True, GROWTH_RATE, *_arguments(spec))
        mismatches += (
            (closed.params, closed.params_paper, closed.macs) != (counted.params, counted.params_paper, counted.macs)
            or count_params(model) != counted.params
            or flops != counted.fvcore_flops
        )
    return spent_s / len(specs), mismatches
