"""A Gaussian process with a length for each kind of feature and a noise for each observation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular  # type: ignore[import-untyped]
from scipy.optimize import minimize  # type: ignore[import-untyped]

from rksearch.arch.arrays import Floats

STEPS = 40
"""Maximum number of iterations of a fit."""

FITTED = 160
"""Maximum number of observations that hyperparameters are fitted to."""

JITTER = 1e-8
"""Variance that keeps covariances of rank."""

SQRT5 = 5**0.5


@dataclass(frozen=True, slots=True)
class Prior:
    """Normal prior of the logarithm of a hyperparameter."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """What a process learns from.

    Attributes:
        x: (observations, features).
        y: (observations,), targets.
        extra: (observations,), variance of each target besides the noise that all have in common.
        trainings: (observations,), how many the mean of which each target is; noise falls with them.
    """

    x: Floats
    y: Floats
    extra: Floats
    trainings: Floats

    def take(self, which: npt.NDArray[np.int64]) -> Observed:
        """Some of them."""
        return Observed(x=self.x[which], y=self.y[which], extra=self.extra[which], trainings=self.trainings[which])

    def and_expected(self, x: Floats, y: Floats) -> Observed:
        """These and one training each that is expected to end at `y`."""
        return Observed(
            x=np.concatenate([self.x, x]),
            y=np.concatenate([self.y, y]),
            extra=np.concatenate([self.extra, np.zeros(len(y))]),
            trainings=np.concatenate([self.trainings, np.ones(len(y))]),
        )


LENGTH, AMPLITUDE, SLOPE, NOISE = Prior(1.0, 0.8), Prior(-0.7, 0.7), Prior(-0.5, 1.0), Prior(-1.3, 0.7)


class Process:
    """y(x) = linear trend in the first kind of features + smooth function (Matern 5/2) + noise.

    Targets are standardised inside. Hyperparameters are those of greatest posterior density, found by L-BFGS-B from the
    result of the previous fit, within three standard deviations of their priors.

    Args:
        groups: for each feature the number of its kind.

    Attributes:
        theta: natural logarithms of the hyperparameters: a length for each kind of features, then the standard
            deviations of the smooth function, of the trend's slope and of the noise, for standardised targets.
    """

    def __init__(self, groups: npt.NDArray[np.int64]) -> None:
        self._groups = groups
        kinds = int(groups.max()) + 1 if len(groups) else 0
        priors = [*[LENGTH] * kinds, AMPLITUDE, SLOPE, NOISE]
        self._means, self._sds = (np.array([getattr(p, f) for p in priors]) for f in ("mean", "sd"))
        self.theta = self._means.copy()
        self._kinds = kinds

    @property
    def noise_sd(self) -> float:
        """Standard deviation of replicates, in units of the targets."""
        return float(np.exp(self.theta[-1]) * self._scale)

    def fit(self, seen: Observed) -> None:
        """Find hyperparameters."""
        self._standardise(seen.y)
        if len(seen.y) > FITTED:
            seen = seen.take(np.linspace(0, len(seen.y) - 1, FITTED).astype(np.int64))
        x = seen.x
        squares = [
            ((x[:, None, self._groups == g] - x[None, :, self._groups == g]) ** 2).sum(axis=2)
            for g in range(self._kinds)
        ]
        linear = self._linear(x, x)

        def loss(theta: Floats) -> tuple[float, Floats]:
            value, slopes = self._evidence(theta, squares, linear, seen)
            off = (theta - self._means) / self._sds
            return 0.5 * float(off @ off) - value, off / self._sds - slopes

        ends = zip(self._means - 3 * self._sds, self._means + 3 * self._sds, strict=True)
        found = minimize(loss, self.theta, jac=True, method="L-BFGS-B", bounds=list(ends), options={"maxiter": STEPS})
        self.theta = found.x

    def condition(self, seen: Observed) -> None:
        """Learn from observations, with the hyperparameters as they are."""
        self._standardise(seen.y)
        self._x = seen.x
        covariance = self._kernel(seen.x, seen.x)
        covariance[np.diag_indices(len(seen.x))] += self._variances(self.theta, seen)
        self._root = cho_factor(covariance, lower=True)
        self._weights = cho_solve(self._root, (seen.y - self._centre) / self._scale)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the function, without noise."""
        cross = self._kernel(x, self._x)
        mean = cross @ self._weights
        own = np.exp(2 * self.theta[-3]) + np.exp(2 * self.theta[-2]) * self._linear_diagonal(x)
        variance = own - (solve_triangular(self._root[0], cross.T, lower=True) ** 2).sum(axis=0)
        return mean * self._scale + self._centre, np.sqrt(np.maximum(variance, 1e-10)) * self._scale

    def _variances(self, theta: Floats, seen: Observed) -> Floats:
        """Variance of each standardised target around the function."""
        return np.asarray(np.exp(2 * theta[-1]) / seen.trainings + seen.extra / self._scale**2 + JITTER)

    def _standardise(self, y: Floats) -> None:
        self._centre = float(y.mean())
        self._scale = max(float(y.std()), 1e-6)

    def _linear(self, a: Floats, b: Floats) -> Floats:
        first = self._groups == 0
        return np.asarray(a[:, first] @ b[:, first].T)

    def _linear_diagonal(self, x: Floats) -> Floats:
        return np.asarray((x[:, self._groups == 0] ** 2).sum(axis=1))

    def _kernel(self, a: Floats, b: Floats) -> Floats:
        lengths = np.exp(self.theta[: self._kinds])[self._groups]
        p, q = a / lengths, b / lengths
        square = np.maximum((p**2).sum(axis=1)[:, None] + (q**2).sum(axis=1)[None, :] - 2 * p @ q.T, 0)
        root = SQRT5 * np.sqrt(square)
        smooth = (1 + root + root**2 / 3) * np.exp(-root)
        return np.asarray(np.exp(2 * self.theta[-3]) * smooth + np.exp(2 * self.theta[-2]) * self._linear(a, b))

    def _evidence(self, theta: Floats, squares: list[Floats], linear: Floats, seen: Observed) -> tuple[float, Floats]:
        """Logarithm of the marginal likelihood, up to a constant, and its slopes."""
        z = (seen.y - self._centre) / self._scale
        weights = np.exp(-2 * theta[: self._kinds])
        square = sum((w * s for w, s in zip(weights, squares, strict=True)), np.zeros((len(z), len(z))))
        root = SQRT5 * np.sqrt(square)
        decay = np.exp(-root)
        amplitude, slope, noise = np.exp(2 * theta[-3:])
        smooth = amplitude * (1 + root + root**2 / 3) * decay
        covariance = smooth + slope * linear
        covariance[np.diag_indices(len(z))] += self._variances(theta, seen)
        factor = cho_factor(covariance, lower=True)
        solved, inverse = cho_solve(factor, z), cho_solve(factor, np.eye(len(z)))
        value = -0.5 * z @ solved - np.log(np.diag(factor[0])).sum()
        # d value / d K = (solved solved' - inverse) / 2
        outer = 0.5 * (np.outer(solved, solved) - inverse)
        shared = outer * (amplitude * 5 / 3 * (1 + root) * decay)
        slopes = [float((shared * s).sum() * w) for w, s in zip(weights, squares, strict=True)]
        slopes += [float(2 * (outer * smooth).sum()), float(2 * slope * (outer * linear).sum())]
        slopes += [float(2 * noise * (np.diag(outer) / seen.trainings).sum())]
        return float(value), np.array(slopes)
