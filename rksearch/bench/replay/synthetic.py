"""Made-up tables, to check whether results on a measured table hold on others, and on large spaces.

The error of a network falls with its parameters and MACs, every decision has an effect of its own, and so has every
network. On the scale of log-odds, with p and q the standardised log-parameters and log-MACs:

    z = level - slope_p p - slope_q q + sum of effects of the decisions + own deviation

The sigmoid of z is the *latent* error: no training shows it, and it alone judges. A training adds noise on the scale of
z, more for small networks. The error after epoch t approaches the final one as exp(-t / tau), where tau varies between
networks and large ones are slower, with noise from epoch to epoch that fades with the learning rate. All numbers are
functions of one seed; none was fitted to a measured table.

Members are computed when they are looked up, so that a table of a million members costs nothing until it is searched.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rksearch.arch import Steps, parse
from rksearch.arch.arrays import Floats
from rksearch.bench.replay.table import Table, TableMember
from rksearch.errors import RunError, nearest
from rksearch.recipes.shipped import recipe
from rksearch.results.plan import Plan
from rksearch.results.records import Epoch, TrialResult
from rksearch.search.samplers.candidates import Listing, listing
from rksearch.space import SearchPlan, Space, load_space
from rksearch.space.counting import chains_of

LARGEST = 1_000_000
"""Members that a space may have at most: all of them are priced once to judge."""

EPOCHS = 18
"""Default epochs of a full training, as those of the table of digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The constants of a made-up table.

    Attributes:
        level: log-odds of the error of a network of average size.
        params, macs: fall of the log-odds per standard deviation of log-parameters and log-MACs.
        decisions: standard deviation of the effects of a decision's values.
        own: standard deviation of a network's own deviation.
        seeds: standard deviation between trainings of one network.
        jitter: standard deviation between epochs, at the first learning rate.
    """

    level: float = -1.8
    params: float = 0.5
    macs: float = 0.25
    decisions: float = 0.25
    own: float = 0.15
    seeds: float = 0.15
    jitter: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A made-up table that the command line knows by name.

    Attributes:
        space: name of a shipped space.
        law: constants.
        text: one line that describes it.
    """

    space: str
    law: Law
    text: str


SURFACES: Mapping[str, Surface] = {
    "synthetic-quiet": Surface(
        space="cifar10_bc", law=Law(seeds=0.03), text="631,240 members, trainings of one network differ little"
    ),
    "synthetic-noisy": Surface(
        space="cifar10_bc",
        law=Law(seeds=0.35),
        text="631,240 members, trainings of one network differ as on the digits",
    ),
}
"""Large made-up tables. With 0.35 on the scale of log-odds, two trainings of a network at 4 % error differ by some two
percentage points, as those of the table of digits do."""


class MadeUpMembers(Mapping[str, TableMember]):
    """The members of a space with made-up errors, computed when they are looked up.

    Args:
        space: the space.
        seed: decides every number.
        epochs: epochs of a training.
        trainings: number of trainings of each member that are handed out.
        law: constants.
    """

    def __init__(self, space: Space, *, seed: int, epochs: int, trainings: int, law: Law) -> None:
        self._space = space
        self._seed = f"{space.name} {seed}"
        self._epochs = epochs
        self._trainings = trainings
        self._law = law
        logs = [np.log(costs[:2].astype(float)) for costs in space.costs()]
        count = len(space)
        self._middle = np.sum([own.sum(axis=1) for own in logs], axis=0) / count
        squares = np.sum([((own - self._middle[:, None]) ** 2).sum(axis=1) for own in logs], axis=0)
        spread = np.sqrt(squares / count)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._found: dict[str, TableMember] = {}
        self._known: _Known | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_found": {}, "_known": None}

    def __len__(self) -> int:
        return len(self._space)

    def __iter__(self) -> Iterator[str]:
        return (priced.name for priced in self._space.by_name())

    def __contains__(self, arch: object) -> bool:
        return isinstance(arch, str) and parse(arch) in self._space

    def __getitem__(self, arch: str) -> TableMember:
        if arch not in self._found:
            if arch not in self:
                raise KeyError(arch)
            self._found[arch] = self._member(arch)
        return self._found[arch]

    def points(self) -> tuple[Floats, Floats]:
        """Params and latent errors in percent of all members: two arrays (members,)."""
        params, errors = [], []
        for rows in self._listing.everything():
            own = self._listing.candidates(rows)
            params.append(own.costs["params"])
            errors.append(_percent(self._z(rows, own.costs)))
        return np.concatenate(params), np.concatenate(errors)

    @property
    def _listing(self) -> Listing:
        return self._shape.listing

    @property
    def _shape(self) -> _Known:
        if self._known is None:
            self._known = _Known(listing(self._space), self._effects())
        return self._known

    def _z(self, rows: npt.NDArray[np.int64], costs: Mapping[str, Floats]) -> Floats:
        """Latent log-odds of each row."""
        law = self._law
        p, q = self._sizes(costs)
        z = law.level - law.params * p - law.macs * q + law.own * _normals(rows, self._seed)
        effects = self._shape.effects
        for number in np.unique(rows[:, 0]).tolist() if effects else []:
            own = np.flatnonzero(rows[:, 0] == number)
            whole, periods = effects[number]
            z[own] += whole + sum(table[rows[own, 1 + i]] for i, table in enumerate(periods))
        return z

    def _sizes(self, costs: Mapping[str, Floats]) -> Floats:
        logs = np.log(np.stack([costs["params"], costs["macs"]]))
        return np.asarray((logs - self._middle[:, None]) / self._spread[:, None])

    def _effects(self) -> list[tuple[float, list[Floats]]]:
        """Effects by family and k, and of the options of each period; none where a space lists architectures."""
        definition = self._space.definition
        if definition.architectures:
            return []
        return [
            (
                self._effect("family", chain.family.name) + self._effect("k", chain.k),
                [np.array([self._option(i, option) for option in own]) for i, own in enumerate(chain.options)],
            )
            for chain in chains_of(definition)
        ]

    def _option(self, period: int, option: Steps) -> float:
        decisions = {
            "m": getattr(option, "m", None),
            "s": option.s,
            "r": option.r,
            "share": option.share,
            "solver": option.solver,
        }
        return math.fsum(self._effect(f"{name}{period}", value) for name, value in decisions.items())

    def _effect(self, decision: str, value: object) -> float:
        return random.Random(f"{self._seed} {decision} {value}").gauss(0, self._law.decisions)

    def _member(self, arch: str) -> TableMember:
        rows = self._listing.row(arch)[None, :]
        costs = self._listing.candidates(rows).costs
        z = float(self._z(rows, costs)[0])
        p, q = (float(own[0]) for own in self._sizes(costs))
        params, macs = (int(costs[name][0]) for name in ("params", "macs"))
        rng = random.Random(f"{self._seed} {arch}")
        tau = 0.12 * self._epochs * math.exp(0.25 * rng.gauss(0, 1) + 0.2 * q)
        spread = self._law.seeds * math.exp(-0.3 * p)
        trainings = tuple(
            self._training(rng, z + rng.gauss(0, spread), tau, params, macs) for _ in range(self._trainings)
        )
        latent = (float(_percent(np.array(z))),)
        return TableMember(arch=arch, params=params, macs=macs, trainings=trainings, judging=latent, epoch_s=1.0)

    def _training(self, rng: random.Random, z: float, tau: float, params: int, macs: int) -> TrialResult:
        final = float(_percent(np.array(z)))
        jitter = self._law.jitter
        curve = []
        for t in range(1, self._epochs + 1):
            lr = 0.5 * (1 + math.cos(math.pi * t / self._epochs))
            error = final + (90 - final) * math.exp(-t / tau) * lr**0.5
            # Train loss sees the same course with less noise.
            loss = error / 35 * math.exp(0.3 * jitter * lr * rng.gauss(0, 1))
            error = min(90.0, error * math.exp(jitter * lr * rng.gauss(0, 1)))
            curve.append(
                Epoch(
                    epoch=t,
                    lr=0.1 * lr,
                    train_loss=loss,
                    train_error_pct=min(90.0, 1.1 * error),
                    val_loss=error / 35,
                    val_error_pct=error,
                    train_time_s=1.0,
                )
            )
        return TrialResult(
            status="complete",
            epochs=tuple(curve),
            params=params,
            params_paper=params,
            macs=macs,
            fvcore_flops=macs,
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """Parts that each process makes for itself: the listing of the space, and the effects of the decisions."""

    listing: Listing
    effects: list[tuple[float, list[Floats]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpTable(Table):
    """A table whose members are made up."""

    members: MadeUpMembers

    @property
    def real(self) -> bool:
        """Whether its networks were trained: they were not."""
        return False

    def judged(self) -> tuple[Floats, Floats]:
        """Params and latent errors of all members."""
        return self.members.points()


def synthetic_table(
    space: Space, *, seed: int, epochs: int = EPOCHS, seeds: int = 3, law: Law | None = None
) -> MadeUpTable:
    """A table of every member of `space`, the same for the same arguments.

    Args:
        space: the members.
        seed: decides every number.
        epochs: epochs of a full training.
        seeds: number of trainings of each member, all of which are handed out; the latent errors judge.
        law: constants; None for the default ones.

    Raises:
        RunError: the space has more than `LARGEST` members.
    """
    if len(space) > LARGEST:
        raise RunError(
            f"a made-up table has at most {LARGEST:,} members, but {space.name} has {len(space):,}; take a smaller one"
        )
    law = law or Law()
    plan = Plan(
        dataset=space.definition.dataset.name,
        recipe=recipe("short", epochs=epochs),
        train_images=None,
        baselines=(),
        known=(),
        trials=len(space),
        search_seeds=seeds,
        final_seeds=seeds,
        objectives=SearchPlan().objectives,
        sampler="grid",
        sampler_seed=seed,
    )
    contents = repr((space.definition.sha256, space.name, seed, epochs, seeds, astuple(law)))
    return MadeUpTable(
        name=f"made up on {space.name} ({law.seeds:g} between seeds)",
        space=space,
        plan=plan,
        epochs=epochs,
        members=MadeUpMembers(space, seed=seed, epochs=epochs, trainings=seeds, law=law),
        handed_out=seeds,
        judging_seeds=1,
        digest=hashlib.sha256(contents.encode()).hexdigest()[:16],
    )


def surface(name: str, *, seed: int = 0) -> MadeUpTable:
    """One of `SURFACES`.

    Raises:
        RunError: there is none of this name.
    """
    if name not in SURFACES:
        raise RunError(
            f"the made-up tables are {', '.join(SURFACES)}, but got {name!r}{nearest(name, SURFACES)}; take one of them"
        )
    chosen = SURFACES[name]
    return synthetic_table(load_space(chosen.space), seed=seed, law=chosen.law)


def _percent(z: Floats) -> Floats:
    return np.asarray(100 / (1 + np.exp(-z)))


def _normals(rows: npt.NDArray[np.int64], seed: str) -> Floats:
    """A standard normal number for each row, as a function of its numbers and the seed: (rows,).

    The mixing is that of SplitMix64 (Steele, Lea and Flood 2014).
    """
    from scipy.special import ndtri  # type: ignore[import-untyped]

    state = np.full(len(rows), int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]), dtype=np.uint64)
    for column in rows.T.astype(np.uint64):
        state = (state + column) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return np.asarray(ndtri(((state >> np.uint64(11)).astype(float) + 0.5) / 2**53))
