"""The sampler's Gaussian process against scikit-learn's, which was written by others."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime  # type: ignore[import-untyped]
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Kernel, Matern

from rksearch.search.samplers.process import AMPLITUDE, LENGTH, NOISE, SLOPE, Observed, Process

GROUPS = np.array([0, 0, 1, 2, 2])
"""Kinds of five features; the trend is linear in the first two."""

PRIORS = [LENGTH] * 3 + [AMPLITUDE, SLOPE, NOISE]


class FirstTwo(DotProduct):
    """Dot product of the first two features."""

    def __call__(self, X, Y=None, eval_gradient=False):
        return super().__call__(X[:, :2], None if Y is None else Y[:, :2], eval_gradient)

    def diag(self, X):
        return super().diag(X[:, :2])


def kernel(theta) -> Kernel:
    """The process's covariance in scikit-learn's words, without the noise."""
    lengths, (amplitude, slope) = np.exp(theta[:3])[GROUPS], np.exp(2 * np.asarray(theta[3:5]))
    smooth = ConstantKernel(amplitude) * Matern(lengths, nu=2.5)
    trend = ConstantKernel(slope) * FirstTwo(sigma_0=1e-9, sigma_0_bounds="fixed")
    return smooth + trend


def observations(count: int) -> Observed:
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, len(GROUPS)))
    y = 3 + 2 * x[:, 0] + np.sin(2 * x[:, 2]) + 0.3 * rng.normal(size=count)
    trainings = rng.integers(1, 4, size=count).astype(float)
    return Observed(x=x, y=y, extra=rng.uniform(0, 0.2, size=count), trainings=trainings)


def peer(theta, seen: Observed) -> GaussianProcessRegressor:
    scale = seen.y.std()
    own = np.exp(2 * theta[-1]) / seen.trainings + seen.extra / scale**2 + 1e-8
    return GaussianProcessRegressor(kernel(theta), alpha=own, optimizer=None).fit(
        seen.x, (seen.y - seen.y.mean()) / scale
    )


@pytest.mark.parametrize("count", [2, 5, 60])
def test_predictions_are_those_of_scikit_learn(count: int) -> None:
    seen = observations(count)
    process = Process(GROUPS)
    process.theta = process.theta + np.linspace(-0.4, 0.4, 6)
    process.condition(seen)
    new = np.random.default_rng(0).normal(size=(50, len(GROUPS)))
    mean, sd = process.predict(new)

    expected, doubt = peer(process.theta, seen).predict(new, return_std=True)
    scale = seen.y.std()
    assert mean == pytest.approx(expected * scale + seen.y.mean(), rel=1e-7)
    assert sd == pytest.approx(doubt * scale, rel=1e-5)
    assert process.noise_sd == pytest.approx(np.exp(process.theta[-1]) * scale)


@pytest.mark.parametrize("count", [5, 60, 150])
def test_a_fit_finds_the_greatest_posterior_density_of_scikit_learn_s_likelihood(count: int) -> None:
    seen = observations(count)
    process = Process(GROUPS)
    process.fit(seen)

    def log_posterior(theta) -> float:
        likelihood = peer(theta, seen).log_marginal_likelihood_value_
        return likelihood - sum((t - p.mean) ** 2 / p.sd**2 for t, p in zip(theta, PRIORS, strict=True)) / 2

    slopes = approx_fprime(process.theta, log_posterior, 1e-6)
    ends = [abs(t - p.mean) > 2.999 * p.sd for t, p in zip(process.theta, PRIORS, strict=True)]
    assert not any(ends)
    assert np.abs(slopes).max() < 0.02
    best = log_posterior(process.theta)
    assert best > log_posterior([p.mean for p in PRIORS])
    for i in range(6):
        for step in (-0.3, 0.3):
            assert log_posterior(process.theta + step * np.eye(6)[i]) < best


def test_a_hyperparameter_stays_within_three_deviations_of_its_prior() -> None:
    x = np.random.default_rng(1).normal(size=(40, len(GROUPS)))
    process = Process(GROUPS)
    process.fit(Observed(x=x, y=x[:, 0] * 1e6, extra=np.zeros(40), trainings=np.ones(40)))  # a line without noise
    assert all(abs(t - p.mean) <= 3 * p.sd + 1e-12 for t, p in zip(process.theta, PRIORS, strict=True))
