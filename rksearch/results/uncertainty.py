"""Uncertainty of errors: joint draws of the true errors of all architectures, given a few trainings of each.

The model, on a scale where the spread between seeds hardly depends on the error:

    z       = log((e + c) / (100 - e + c)), the log-odds of an error of e percent, with c = `OFFSET_PCT`
    one training of architecture i:     z_ij ~ N(theta_i, sigma^2(theta_i))       spread between seeds
    architecture i among the searched:  theta_i ~ N(trend(params_i, macs_i), tau^2)

On the log-odds scale a seed multiplies the odds of an error by a random factor, so that small networks, which err more,
vary more. The remaining heteroscedasticity is in log sigma^2, which is linear in z. Architectures with one seed
borrow sigma from those with several. theta is drawn towards the trend the more, the fewer seeds an architecture has:
the least of many noisy errors is lucky, and a bootstrap around the observed means would count that luck twice.
Baselines are not drawn towards the trend.

tau, the level of sigma and the trend are drawn too, from their joint posterior: tau and the level on a grid, the trend
and theta exactly. The trend is quadratic in log params and linear in log MACs, with weak normal priors.

The order of the architectures makes no difference: they are sorted, and the generator is seeded with a hash of
the data.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from rksearch.arch.arrays import Floats
from rksearch.results.dominance import on_front
from rksearch.results.summaries import ArchSummary, CostFunction
from rksearch.space.plan import TOP1

OFFSET_PCT = 0.5
"""Added to error and non-error, so that an error of 0 has finite odds; about an image of a small validation set."""

PRIOR_SD = 0.1
"""Spread between seeds on the log-odds scale that is expected before any is seen; worth `PRIOR_DEGREES`."""

PRIOR_DEGREES = 0.01
"""Degrees of freedom that `PRIOR_SD` counts for; one architecture with two seeds has 1."""

SLOPE_SD = 0.3
"""Prior standard deviation of the slope of log sigma^2 in z; with few levels of error the slope stays near 0."""

TREND_SD = 2.0
"""Prior standard deviation of the trend's slopes, per standard deviation of the covariate."""

RESAMPLES = 2_000
"""Number of joint draws behind everything that is shown: terminal, status, README and page take the same."""

FEWEST_RESAMPLES = 500
"""Number of joint draws of a run of any size, at least."""

MOST_NUMBERS = 10_000_000
"""Most numbers (80 MB) that the joint draws of more than 5,000 architectures consist of: these have fewer draws."""

LEVELS, TAUS = 15, 40
"""Points of the grid for the level of sigma and for tau."""

BLOCK_NUMBERS = 4_000_000
"""Most numbers (32 MB) that draws of many architectures are worked on at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorDraws:
    """Errors that the architectures may truly have, drawn jointly.

    Attributes:
        archs: canonical names, sorted.
        errors_pct: (draws, architectures): the expected error of a training, in percent.
        spread_known: whether any architecture has seeds that differ; if none has, the spread is a guess (`PRIOR_SD`).
    """

    archs: tuple[str, ...]
    errors_pct: Floats
    spread_known: bool

    @property
    def medians_pct(self) -> list[float]:
        """The median of each architecture's draws."""
        found: list[float] = []
        for columns in _blocks(len(self.archs), len(self.errors_pct)):
            found += np.median(self.errors_pct[:, columns], axis=0).tolist()
        return found

    def of(self, items: Sequence[ArchSummary], *, first: int | None = None) -> Floats:
        """The draws of these architectures' errors, in this order: (draws, len(items)).

        Args:
            items: the architectures.
            first: number of draws; None for all of them.
        """
        return self.errors_pct[:first, self._columns(items)]

    def blocks(self, items: Sequence[ArchSummary]) -> Iterator[Floats]:
        """The rows of `of`, block by block, so that no copy of them all is made where they are many."""
        columns = self._columns(items)
        for rows in _blocks(len(self.errors_pct), len(items)):
            yield self.errors_pct[rows, columns]

    def _columns(self, items: Sequence[ArchSummary]) -> list[int]:
        column = {arch: i for i, arch in enumerate(self.archs)}
        return [column[item.arch] for item in items]


def log_odds(error_pct: Floats) -> Floats:
    """The scale of the model; `error_of` is the inverse."""
    return np.log((error_pct + OFFSET_PCT) / (100 - error_pct + OFFSET_PCT))


def error_of(z: Floats) -> Floats:
    """The error in percent of these log-odds; never outside of 0 to 100."""
    whole = 100 + 2 * OFFSET_PCT
    return np.clip(whole / (1 + np.exp(-z)) - OFFSET_PCT, 0, 100)


def resamples_for(architectures: int) -> int:
    """Number of joint draws of this many architectures: `RESAMPLES`, or fewer where these would be too many numbers."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_NUMBERS // max(1, architectures)))


def draw(items: Sequence[ArchSummary], *, resamples: int | None = None) -> ErrorDraws:
    """Joint draws of the true errors of these architectures; see the module's text for the model.

    Args:
        items: the architectures.
        resamples: number of draws; None for `resamples_for` so many.

    Raises:
        ValueError: `resamples` is below 1.
    """
    resamples = resamples_for(len(items)) if resamples is None else resamples
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, but got {resamples}")
    items = sorted(items, key=lambda i: i.arch)
    archs = tuple(i.arch for i in items)
    if not items:
        return ErrorDraws(archs, np.empty((resamples, 0)), spread_known=False)
    seen = _seen(items)
    z, noise, total = seen.z, seen.noise, seen.spread.degrees
    generator = np.random.default_rng(_seed(items))
    drawn = np.empty((resamples, len(items)))
    searched = np.array([not i.is_baseline for i in items])
    if not searched.all():
        level = _level(generator.standard_normal((resamples, 1)), total)
        own = np.sqrt(noise[~searched] * level)
        drawn[:, ~searched] = error_of(z[~searched] + own * generator.standard_normal(own.shape))
    if searched.any():
        design = _design([i for i in items if not i.is_baseline])
        column, at = np.flatnonzero(searched), 0
        for block in _towards_trend(z[searched], noise[searched], total, design, resamples, generator):
            drawn[at : at + len(block), column] = error_of(block)
            at += len(block)
    return ErrorDraws(archs, drawn, spread_known=seen.spread_known)


def front_shares(draws: ErrorDraws, items: Sequence[ArchSummary], cost: CostFunction) -> dict[str, float]:
    """Share of draws in which each of `items` that may stand on the front is on it, by name."""
    searched = [i for i in items if i.is_searched]
    costs = [cost(i) for i in searched]
    counts = sum(on_front(block, costs).sum(axis=0) for block in draws.blocks(searched))
    shares = np.asarray(counts, dtype=float) / len(draws.errors_pct)
    return {i.arch: float(share) for i, share in zip(searched, shares, strict=True)}


def _blocks(rows: int, width: int) -> Iterator[slice]:
    """Ranges of rows of a matrix that together are all of them, each of at most `BLOCK_NUMBERS` numbers."""
    step = max(1, BLOCK_NUMBERS // max(1, width))
    return (slice(at, at + step) for at in range(0, rows, step))


class _Seen(NamedTuple):
    """What the trainings of some architectures show.

    Attributes:
        z: log-odds of each mean error.
        noise: variance of each z by the spread between seeds.
        spread: that spread.
        spread_known: whether any architecture has seeds that differ.
    """

    z: Floats
    noise: Floats
    spread: _Spread
    spread_known: bool


def _seen(items: Sequence[ArchSummary]) -> _Seen:
    seeds = np.array([len(i.errors_pct) for i in items])
    starts = np.cumsum(seeds) - seeds
    each = np.array([error for i in items for error in i.errors_pct], dtype=float)
    # Log-odds of the mean error, not the mean of the log-odds: the expected error of a training is compared.
    z = log_odds(np.add.reduceat(each, starts) / seeds)
    logs = log_odds(each)
    centres = np.add.reduceat(logs, starts) / seeds
    sums = np.add.reduceat((logs - np.repeat(centres, seeds)) ** 2, starts)
    spread = _spread(z, sums, seeds - 1)
    return _Seen(z, spread.variance(z) / seeds, spread, bool(sums.sum() > 1e-12))


@dataclass(frozen=True, slots=True, eq=False)
class PredictedRuns:
    """Truths of runs like one that was seen, drawn from the model.

    Attributes:
        trend: (runs, architectures): log-odds on the trend of each run.
        z: (runs, architectures): true log-odds, which scatter about it.
        level: (runs,): factors on the variance between seeds.
        spread: variance between seeds that they are factors on.
    """

    trend: Floats
    z: Floats
    level: Floats
    spread: _Spread

    def sd(self, z: Floats) -> Floats:
        """Spread between the seeds of architectures of these true log-odds: (runs, architectures)."""
        return np.sqrt(self.spread.variance(z) * self.level[:, None])


def predicted_runs(
    items: Sequence[ArchSummary], archs: Sequence[tuple[int, int]], *, runs: int, generator: np.random.Generator
) -> PredictedRuns:
    """Truths that other networks of these costs might have in runs like the one that trained `items`.

    Trend, scatter about it and spread between seeds are drawn from their posterior; the networks' own results do not
    count, so that which network is good differs from run to run.

    Args:
        items: searched architectures that were trained to the end, at least one.
        archs: parameters and MACs of each network of the other runs.
        runs: number of runs.
        generator: of random numbers.

    Raises:
        ValueError: there are no items, or only baselines.
    """
    searched = [i for i in items if not i.is_baseline]
    if not searched:
        raise ValueError("runs are predicted from searched architectures that were trained to the end, but got none")
    # The spread between seeds is that of all architectures, baselines included.
    spread = _seen(items).spread
    seen = _seen(searched)
    fit = _fit(
        seen.z,
        spread.variance(seen.z) / [len(i.errors_pct) for i in searched],
        spread.degrees,
        _design(searched),
        runs,
        generator,
    )
    trend = fit.centre + fit.coefficients @ _design(searched, archs).T
    z = trend + np.sqrt(fit.tau2)[:, None] * generator.standard_normal(trend.shape)
    return PredictedRuns(trend=trend, z=z, level=fit.level, spread=spread)


def draw_tested(items: Sequence[ArchSummary], *, resamples: int = RESAMPLES) -> ErrorDraws:
    """Joint draws of the true test errors of the architectures for which the test set was read.

    None is drawn towards a trend: no choice looked at a test error. The images are new, the trainings are so only where
    they were made for the test (`rksearch final --fresh`); otherwise the front was picked by the same trainings, and
    what luck of a seed that picked is in the test errors too. The spread is that between seeds alone, as everywhere:
    all networks are read on the same images.
    """
    read = [
        replace(
            item,
            role="baseline",
            metric=TOP1,
            val_errors_pct=item.tested_errors_pct,
            val_error_pct=item.tested_error_pct or 0.0,
        )
        for item in items
        if item.tested_errors_pct
    ]
    return draw(read, resamples=resamples)


def _seed(items: Sequence[ArchSummary]) -> int:
    data = [(i.arch, i.is_baseline, i.params, i.macs, sorted(i.errors_pct)) for i in items]
    return int.from_bytes(hashlib.sha256(repr(data).encode()).digest()[:8], "big")


class _Spread(NamedTuple):
    """Spread between seeds: log sigma^2 is `level + slope (z - centre)`.

    Attributes:
        level, slope, centre: the line.
        degrees: degrees of freedom that the level rests on.
    """

    level: float
    slope: float
    centre: float
    degrees: float

    def variance(self, z: Floats) -> Floats:
        """Variance between the seeds of architectures of these log-odds."""
        return np.exp(self.level + self.slope * (z - self.centre))


def _spread(z: Floats, squares: Floats, degrees: Floats) -> _Spread:
    """The spread between seeds: the posterior's mode, by Fisher scoring.

    A sum of squares is sigma^2 times a chi-squared variable.

    Args:
        z: log-odds of the mean errors.
        squares: sums of squared deviations of the log-odds over seeds.
        degrees: seeds less one.
    """
    total = degrees.sum() + PRIOR_DEGREES
    centre = float((degrees * z).sum() / degrees.sum()) if degrees.any() else float(z.mean())
    level = math.log((squares.sum() + PRIOR_DEGREES * PRIOR_SD**2) / total)
    slope, x = 0.0, z - centre
    for _ in range(50):
        ratio = squares * np.exp(-level - slope * x)
        prior = PRIOR_DEGREES * PRIOR_SD**2 * math.exp(-level)
        step_level = ((ratio - degrees).sum() + prior - PRIOR_DEGREES) / total
        step_slope = ((ratio - degrees) @ x / 2 - slope / SLOPE_SD**2) / (degrees @ x**2 / 2 + 1 / SLOPE_SD**2)
        # Far from the mode an exponential makes full steps too long.
        level, slope = level + float(np.clip(step_level, -1, 1)), slope + float(np.clip(step_slope, -0.3, 0.3))
        if abs(step_level) + abs(step_slope) < 1e-9:
            break
    return _Spread(level, slope, centre, float(total))


def _level(normal: Floats, degrees: float) -> Floats:
    """Factors on sigma^2 that are inverse chi-squared over their degrees, made from standard normals.

    They follow the cube-root approximation of Wilson and Hilferty; few degrees give the heavy tails of Student's t.
    """
    degrees = max(1.0, degrees)
    cube_root = 1 - 2 / (9 * degrees) + normal * math.sqrt(2 / (9 * degrees))
    return np.maximum(cube_root, 0.25) ** -3.0


def _design(items: Sequence[ArchSummary], costs: Sequence[tuple[int, int]] | None = None) -> Floats:
    """Covariates of the trend, standardised over `items`, after a column of ones.

    Args:
        items: the architectures that the trend is fitted to.
        costs: parameters and MACs of the architectures whose covariates are wanted; None for those of `items`.
    """
    fitted = _log_costs([(i.params, i.macs) for i in items])
    wanted = fitted if costs is None else _log_costs(costs)
    centre = fitted[0].mean()
    columns = [np.ones(len(wanted[0]))]
    for values, own in (
        (fitted[0], wanted[0]),
        ((fitted[0] - centre) ** 2, (wanted[0] - centre) ** 2),
        (fitted[1], wanted[1]),
    ):
        spread = values.std()
        columns.append((own - values.mean()) / spread if spread > 1e-9 else np.zeros(len(own)))
    return np.stack(columns, axis=1)


def _log_costs(costs: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
    params, macs = (np.log10([max(1, pair[k]) for pair in costs]) for k in (0, 1))
    return params, macs


class _TrendFit(NamedTuple):
    """Draws from the joint posterior of the trend, of the scatter about it and of the level of the spread.

    Attributes:
        centre: added to the trend.
        coefficients: (draws, covariates).
        level: (draws,): factors on sigma^2.
        tau2: (draws,): variance about the trend.
    """

    centre: float
    coefficients: Floats
    level: Floats
    tau2: Floats


def _fit(
    z: Floats, noise: Floats, total: float, design: Floats, resamples: int, generator: np.random.Generator
) -> _TrendFit:
    centre, scale = z.mean(), max(float(z.std()), 0.1)
    taus = 3 * scale * (np.arange(TAUS) + 0.5) / TAUS
    levels = _level(special.ndtri((np.arange(LEVELS) + 0.5) / LEVELS), total)
    level, tau2 = (grid.ravel() for grid in np.meshgrid(levels, taus**2, indexing="ij"))

    weight = 1 / (noise * level[:, None] + tau2[:, None])
    size = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(z), -1)
    prior = np.diag([1e-4, *[TREND_SD**-2] * (size - 1)])
    precision = (weight @ products).reshape(-1, size, size) + prior
    response = (weight * (z - centre)) @ design
    mean = np.linalg.solve(precision, response[..., None])[..., 0]
    fit = (weight * (z - centre) ** 2).sum(axis=1) - (mean * response).sum(axis=1)
    log_density = (np.log(weight).sum(axis=1) - fit - np.linalg.slogdet(precision)[1]) / 2
    density = np.exp(log_density - log_density.max())

    cell = generator.choice(len(density), size=resamples, p=density / density.sum())
    # With precision P = R R', the covariance of inv(R') times standard normals is inv(P).
    root = np.linalg.cholesky(precision[cell]).transpose(0, 2, 1)
    about = np.linalg.solve(root, generator.standard_normal((resamples, size, 1)))[..., 0]
    return _TrendFit(float(centre), mean[cell] + about, level[cell], tau2[cell])


def _towards_trend(
    z: Floats, noise: Floats, total: float, design: Floats, resamples: int, generator: np.random.Generator
) -> Iterator[Floats]:
    """Blocks of draws of theta (draws, architectures), each around a point between the observed value and the trend."""
    fit = _fit(z, noise, total, design, resamples, generator)
    for rows in _blocks(resamples, len(z)):
        trend = fit.centre + fit.coefficients[rows] @ design.T
        seen, tau2 = noise * fit.level[rows, None], fit.tau2[rows, None]
        trust = tau2 / (tau2 + seen)
        yield trend + trust * (z - trend) + np.sqrt(trust * seen) * generator.standard_normal(trend.shape)
