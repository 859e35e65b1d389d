"""BoTorch's qLogNoisyExpectedHypervolumeImprovement over a pool of members, as an engineer would set it up.

Error and parameters are both to be small, as for the other strategies. The logarithm of the error is a `SingleTaskGP`
with BoTorch's own priors over the features that our sampler models (scaled to the unit cube); the logarithm of the
parameters is known before training, and so a deterministic model. The hypervolume is that of error and log-parameters,
up to guessing at the largest network. The acquisition function is evaluated on a pool of members, spread over sizes,
and on the neighbours of the front, which is where our own sampler looks; what is running counts as pending.

Daulton, Balandat and Bakshy, "Parallel Bayesian optimization of multiple noisy objectives with expected hypervolume
improvement", NeurIPS 2021; Ament and others, "Unexpected improvements to expected improvement for Bayesian
optimization", NeurIPS 2023. BoTorch is no dependency of rksearch: `pip install rksearch[bench]`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from rksearch.arch import parse
from rksearch.arch.arrays import Floats, Integers
from rksearch.results.dominance import non_dominated
from rksearch.search.samplers.candidates import Candidates, listing
from rksearch.search.samplers.draws import SpreadStart
from rksearch.space import Space

POOL = 800
"""Number of members of the pool, as that of our own sampler."""

STARTING = 5
"""Number of members that are spread over sizes before anything is modelled, as those of our own sampler."""

MODELLED = 192
"""Limit of the number of trainings that are modelled, the latest ones."""

SAMPLES = 128
"""Quasi-random draws of the acquisition function: BoTorch's default for multi-objective problems."""

BATCH = 256
"""Candidates that are evaluated at once."""


class QLogNehvi:
    """Proposes the member of the pool with the largest expected improvement.

    Args:
        space: the members.
        trials: number of trainings.
        seed: seed of all random choices.
    """

    def __init__(self, space: Space, *, trials: int, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._rng = np.random.default_rng([seed, 1])
        self._listing = listing(space)
        self._start = SpreadStart(space, trials=trials, seed=seed, most=STARTING)
        self._errors: dict[str, float] = {}
        self._taken: set[str] = set()
        self._pool: Integers | None = None
        self._guessing = 100 * (1 - 1 / space.definition.dataset.classes)

    def propose(self, running: Sequence[str]) -> str | None:
        """The next of the start, then the best of the pool; at random while fewer than two trainings are complete."""
        self._taken |= {*running, *self._errors}
        arch = self._start.next(self._taken)
        if arch is None:
            fresh = self._fresh()
            if not len(fresh):
                return None
            known = len(self._errors) >= 2
            place = self._best(fresh, running) if known else int(self._rng.integers(len(fresh)))
            (arch,) = self._listing.names(fresh[place : place + 1])
        self._taken.add(arch)
        return arch

    def learn(self, arch: str, error_pct: float) -> None:
        """Take note of an error."""
        self._errors[arch] = error_pct

    def _fresh(self) -> Integers:
        """Rows of the pool and of the front's neighbours that are members and not taken."""
        if self._pool is None:
            self._pool = self._listing.pool(POOL, self._rng)
        archs = list(self._errors)
        rows = [self._pool]
        if archs:
            own = self._candidates(archs)
            points = np.stack([own.costs["params"], [self._errors[arch] for arch in archs]], axis=1)
            rows.append(self._listing.neighbours(own.rows[non_dominated(points)]))
        both = np.unique(np.concatenate(rows), axis=0)
        used = {self._listing.row(arch).tobytes() for arch in self._taken if parse(arch) in self._space}
        return both[[row.tobytes() not in used for row in both]]

    def _candidates(self, archs: Sequence[str]) -> Candidates:
        return self._listing.candidates(np.stack([self._listing.row(arch) for arch in archs]))

    def _best(self, fresh: Integers, running: Sequence[str]) -> int:
        """Place of the row of the largest acquisition value."""
        with warnings.catch_warnings():
            # Deprecations of torch's within BoTorch, and the column of log-parameters, which no kernel sees, on a scale
            # of its own.
            warnings.simplefilter("ignore")
            return int(np.argmax(self._values(fresh, running)))

    def _values(self, fresh: Integers, running: Sequence[str]) -> Floats:
        """Acquisition values of rows: (rows,)."""
        import torch
        from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
        from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.deterministic import GenericDeterministicModel
        from botorch.models.model import ModelList
        from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
        from botorch.sampling.index_sampler import IndexSampler
        from botorch.sampling.list_sampler import ListSampler
        from botorch.sampling.normal import SobolQMCNormalSampler
        from gpytorch.mlls import ExactMarginalLogLikelihood

        archs = list(self._errors)[-MODELLED:]
        seen, pool = self._candidates(archs), self._listing.candidates(fresh)
        pending = self._candidates(running) if running else None
        every = np.concatenate([own.features for own in (seen, pool, pending) if own is not None])
        low, spread = every.min(axis=0), np.maximum(np.ptp(every, axis=0), 1e-9)

        def tensor(own: Candidates) -> torch.Tensor:
            """Features in the unit cube, and log-parameters as the last column: (members, features + 1)."""
            unit = (own.features - low) / spread
            return torch.tensor(np.concatenate([unit, np.log10(own.costs["params"])[:, None]], axis=1))

        def to_maximise(values: torch.Tensor, X: torch.Tensor | None = None) -> torch.Tensor:  # noqa: N803
            """Both objectives with their signs turned, from log-error and log-parameters."""
            return torch.stack([-values[..., 0].exp(), -values[..., 1]], dim=-1)

        x = tensor(seen)
        y = torch.tensor(np.log([max(self._errors[arch], 1e-3) for arch in archs]))[:, None]
        width = every.shape[1]
        torch.manual_seed(self._seed * 100_003 + len(self._taken))
        kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=width, active_dims=list(range(width)))
        error = SingleTaskGP(x, y, covar_module=kernel)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(error.likelihood, error))
        params = GenericDeterministicModel(lambda rows: rows[..., -1:])
        largest = math.log10(self._space.largest.params)
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            model=ModelList(error, params),
            ref_point=[-self._guessing, -largest - 0.01],
            X_baseline=x,
            X_pending=None if pending is None else tensor(pending),
            objective=GenericMCMultiOutputObjective(to_maximise),
            sampler=ListSampler(
                SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=self._seed),
                IndexSampler(torch.Size([SAMPLES]), seed=self._seed),
            ),
            prune_baseline=True,
            cache_root=False,
        )
        with torch.no_grad():
            values = torch.cat([acquisition(part[:, None, :]) for part in tensor(pool).split(BATCH)])
        return np.asarray(values)
