"""How often the intervals, bands and probabilities of a report hold in simulated runs whose truth is known.

`rksearch.bench.calibration` simulates the runs; here is what is counted in each, and how the counts are summed up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rksearch.results.stats import CONFIDENCE, StudentEstimate, wilson_interval

Noise = Literal["normal", "heavy-tailed", "resampled"]
"""Where truths and seeds of simulated runs come from: the model itself; the model, with a spread between seeds that is
Student's t of the same variance with 5 degrees of freedom on the scale of log-odds; or the networks and seeds of the
run, drawn again without a model."""

BINS = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Edges of the groups of probabilities of being on the front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCount:
    """What one simulated run adds to a claim: the number of times that it was made, and that it held."""

    made: int
    held: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often a claim of the report held.

    Attributes:
        claim: what is claimed, in words.
        nominal: share in which it should hold; None where the report promises none.
        made: number of times that it was made, in all runs.
        share: share in which it held; NaN where it was never made.
        low, high: 95 % interval of that share, clustered by run.
    """

    claim: str
    nominal: float | None
    made: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Networks whose probability of being on the front lay in one range.

    Attributes:
        low, high: ends of the range.
        networks: their number, in all runs.
        claimed: mean probability; NaN without networks.
        happened: share of them on the front of the true errors.
        interval: 95 % interval of that share, clustered by run.
    """

    low: float
    high: float
    networks: int
    claimed: float
    happened: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCase:
    """Counts of the simulated runs of one source of truths and seeds.

    Attributes:
        noise: that source.
        coverages: one for each claim.
        reliabilities: one for each range of probabilities.
    """

    noise: Noise
    coverages: tuple[Coverage, ...]
    reliabilities: tuple[Reliability, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Simulated runs of the shape of one run.

    Attributes:
        runs: number of runs of each source of truths.
        seed: of the simulation.
        candidates, baselines: networks of each run.
        left_out: candidates of the run that the simulation leaves out, since it keeps at most so many.
        raced: whether candidates are stopped early, as in the run.
        trainings: mean number of complete trainings of a simulated run.
        cases: one for each source of truths.
    """

    runs: int
    seed: int
    candidates: int
    baselines: int
    left_out: int
    raced: bool
    trainings: float
    cases: tuple[CalibrationCase, ...]


def coverage(claim: str, nominal: float | None, tallies: Sequence[ClaimCount]) -> Coverage:
    """Sum up one claim over the runs."""
    made = sum(tally.made for tally in tallies)
    if not made:
        return Coverage(claim=claim, nominal=nominal, made=0, share=math.nan, low=0.0, high=1.0)
    share, (low, high) = clustered_share(tallies)
    return Coverage(claim=claim, nominal=nominal, made=made, share=share, low=low, high=high)


def reliability(low: float, high: float, claimed: Sequence[float], tallies: Sequence[ClaimCount]) -> Reliability:
    """Sum up one range of probabilities over the runs.

    Args:
        low, high: ends of the range.
        claimed: all probabilities in it.
        tallies: networks in it, and those of them on the front, by run.
    """
    if not claimed:
        return Reliability(low=low, high=high, networks=0, claimed=math.nan, happened=math.nan, interval=(0.0, 1.0))
    share, interval = clustered_share(tallies)
    mean = math.fsum(claimed) / len(claimed)
    return Reliability(low=low, high=high, networks=len(claimed), claimed=mean, happened=share, interval=interval)


def clustered_share(tallies: Sequence[ClaimCount]) -> tuple[float, tuple[float, float]]:
    """Share of claims that held, and its 95 % interval: claims of one run have their truth in common.

    The interval is Student's, from the spread between runs of the ratio estimator; Wilson's over runs where every claim
    of every run held, or none did, or where there is one run.

    Raises:
        ValueError: no claim was made.
    """
    made = [tally for tally in tallies if tally.made]
    total = sum(tally.made for tally in made)
    if not total:
        raise ValueError("a share needs at least one claim, but got none")
    held = math.fsum(tally.held for tally in made)
    share, runs = held / total, len(made)
    squares = math.fsum((tally.held - share * tally.made) ** 2 for tally in made)
    if runs == 1 or squares < 1e-12:
        return share, wilson_interval(share * runs, runs, CONFIDENCE)
    error = math.sqrt(squares * runs / (runs - 1)) / total
    low, high = StudentEstimate(share, error, runs - 1).interval(CONFIDENCE)
    return share, (max(0.0, low), min(1.0, high))
