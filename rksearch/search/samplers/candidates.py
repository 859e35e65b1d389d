"""Many members of a space at once, as rows of numbers: their costs, and features for a model.

A row of a space of choices is a family, k, and m, s, r, share of each period. Rows are priced by the closed forms, so
that thousands of them cost milliseconds. A space that lists architectures is listed here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rksearch import cost
from rksearch.layout import layout
from rksearch.space import Budget, Space, SpaceDefinition
from rksearch.space.family import family
from rksearch.spec import MAX_CONV_LAYERS, ArchSpec, Period, parse

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FIELDS = ("m", "s", "r", "share")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Members of a space.

    Attributes:
        rows: one per member; what they mean is known to the `Listing` that made them.
        costs: `params` and `macs`, an array each.
        features: (members, features), on the scale that the space as a whole suggests.
    """

    rows: Rows
    costs: dict[str, Floats]
    features: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: npt.NDArray[Any]) -> Candidates:
        """Some of them."""
        return Candidates(self.rows[which], {k: v[which] for k, v in self.costs.items()}, self.features[which])


class Listing(Protocol):
    """Knows the members of a space as rows."""

    groups: Rows
    """For each feature the number of the group that it belongs to; features of one group are of one kind."""

    def candidates(self, rows: Rows) -> Candidates:
        """Costs and features of rows."""

    def row(self, arch: str) -> Rows:
        """The row of a member."""

    def names(self, rows: Rows) -> list[str]:
        """The names of rows."""

    def pool(self, count: int, rng: np.random.Generator) -> Rows:
        """About so many members, spread over sizes; all of them where the space is that small."""

    def neighbours(self, rows: Rows) -> Rows:
        """Members that one changed decision makes of any of the rows."""


def listing(space: Space) -> Listing:
    """The listing of a space."""
    return _Listed(space) if space.definition.architectures else _Chosen(space)


class _Chosen:
    """Of a space of choices."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._definition = definition = space.definition
        self._periods = len(definition.periods)
        self._values: list[npt.NDArray[np.int64]] = [
            np.arange(len(definition.families)),
            np.array(definition.growth_rates),
            *(np.array(getattr(choices, f), dtype=np.int64) for choices in definition.periods for f in FIELDS),
        ]
        self._whole: Rows | None = None
        sizes = np.array([[m.params, m.macs] for m in (space.smallest, space.largest)], dtype=float)
        self._middle, self._spread = np.log(sizes).mean(axis=0), np.maximum(np.ptp(np.log(sizes), axis=0) / 3.5, 0.1)
        self.groups = self._features(np.array([[v[0] for v in self._values]]), np.ones((1, 2)))[1]

    def candidates(self, rows: Rows) -> Candidates:
        params, macs, _ = self._price(rows)
        features, _ = self._features(rows, np.stack([params, macs], axis=1))
        return Candidates(rows, {"params": params.astype(float), "macs": macs.astype(float)}, features)

    def row(self, arch: str) -> Rows:
        spec = parse(arch)
        read = family(spec.family).read(spec)
        assert read is not None, f"{arch} is no member"
        k, periods = read
        own = [self._definition.families.index(spec.family), k]
        return np.array([*own, *(int(getattr(p, f)) for p in periods for f in FIELDS)], dtype=np.int64)

    def names(self, rows: Rows) -> list[str]:
        return [str(self._spec(row)) for row in rows.tolist()]

    def pool(self, count: int, rng: np.random.Generator) -> Rows:
        if len(self._space) <= count:
            if self._whole is None:
                self._whole = np.stack([self.row(priced.name) for priced in self._space.by_name()])
            return self._whole
        found = np.zeros((0, len(self._values)), dtype=np.int64)
        for _ in range(8):
            drawn = np.stack([rng.choice(v, 4 * count) for v in self._values], axis=1)
            found = _distinct(np.concatenate([found, self._members(drawn)]))
            if len(found) >= 2 * count:
                break
        if len(found) < count:
            # Budgets leave little: go from members to members.
            if not len(found):
                found = np.stack([self.row(str(self._space.at(int(rng.integers(len(self._space))))))])
            while len(found) < count:
                more = _distinct(np.concatenate([found, self.neighbours(rng.permutation(found)[:64])]))
                if len(more) == len(found):
                    break
                found = more
        return found[_spread_over(np.log(self._price(found)[0]), count, rng)]

    def neighbours(self, rows: Rows) -> Rows:
        changed = [rows[:0]]
        for column, values in enumerate(self._values):
            for value in values.tolist():
                other = rows.copy()
                other[:, column] = value
                changed.append(other)
        return _distinct(self._members(np.concatenate(changed)))

    def _spec(self, row: Sequence[int]) -> ArchSpec:
        periods = (row[i : i + 4] for i in range(2, len(row), 4))
        return family(self._definition.families[row[0]]).make(
            row[1], tuple(Period(m=m, s=s, r=r, share=bool(share)) for m, s, r, share in periods)
        )

    def _columns(self, rows: Rows) -> dict[str, list[Rows]]:
        return {f: [rows[:, 2 + 4 * i + j] for i in range(self._periods)] for j, f in enumerate(FIELDS)}

    def _price(self, rows: Rows) -> tuple[Rows, Rows, Rows]:
        """Params, macs and depth."""
        counts = np.zeros((3, len(rows)), dtype=np.int64)
        for number, name in enumerate(self._definition.families):
            own = np.flatnonzero(rows[:, 0] == number)
            if len(own):
                of = self._columns(rows[own])
                bottleneck = name == "dense_bc"
                part = cost.network_cost(self._definition.dataset, bottleneck, rows[own, 1], *(of[f] for f in FIELDS))
                counts[0, own], counts[1, own] = part.params, part.macs
                # Depth is linear in the layers.
                none, one = (family(name).layers_deep(layers, self._periods) for layers in (0, 1))
                counts[2, own] = none + (one - none) * self._layers(rows[own])
        return counts[0], counts[1], counts[2]

    def _layers(self, rows: Rows) -> Rows:
        of = self._columns(rows)
        return np.sum([m * s * r for m, s, r in zip(of["m"], of["s"], of["r"], strict=True)], axis=0)

    def _members(self, rows: Rows) -> Rows:
        """The canonical forms of those that are in the space."""
        rows = rows.copy()
        for i, choices in enumerate(self._definition.periods):
            r, share = rows[:, 4 + 4 * i], rows[:, 5 + 4 * i]
            # With one time-step sharing decides nothing; with more, it must be one of the choices.
            listed = np.isin(share, np.array(choices.share, dtype=np.int64))
            rows[:, 5 + 4 * i] = np.where(r == 1, 0, np.where(listed, share, int(choices.share[0])))
        rows = rows[self._layers(rows) <= MAX_CONV_LAYERS]
        kept = np.ones(len(rows), dtype=bool)
        of = self._columns(rows)
        values = {f"{f}{i + 1}": of[f][i] for f in FIELDS for i in range(self._periods)} | {"k": rows[:, 1]}
        for constraint in self._definition.constraints:
            kept &= constraint.holds(values)
        budgets = (self._definition.params, self._definition.macs, self._definition.depth)
        for counts, budget in zip(self._price(rows), budgets, strict=True):
            kept &= _within(counts, budget)
        return rows[kept]

    def _features(self, rows: Rows, costs: npt.NDArray[Any]) -> tuple[Floats, Rows]:
        of = self._columns(rows)
        kinds: list[list[Floats]] = [
            list(((np.log(costs) - self._middle) / self._spread).T),
            [_log_scaled(rows[:, 1], self._values[1])],
            *(
                [_log_scaled(of[f][i], self._values[2 + 4 * i + j]) for i in range(self._periods)]
                for j, f in enumerate(("m", "s", "r"))
            ),
            [np.where(of["r"][i] > 1, 2.0 * of["share"][i] - 1, 0.0) for i in range(self._periods)],
            [2.0 * (rows[:, 0] == number) for number in range(1, len(self._definition.families))],
        ]
        groups = [number for number, kind in enumerate(kinds) for _ in kind]
        return np.stack([column for kind in kinds for column in kind], axis=1), np.array(groups)


class _Listed:
    """Of a space that lists architectures: a row is an index."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._place: dict[str, int] = {}
        members = list(space.by_name())
        specs = [parse(priced.name) for priced in members]
        self._place = {priced.name: i for i, priced in enumerate(members)}
        self._names = [priced.name for priced in members]
        counts = np.array([[p.params, p.macs, p.depth] for p in members], dtype=float)
        self._costs = {"params": counts[:, 0], "macs": counts[:, 1]}
        told = [_facts(spec, space.definition) for spec in specs]
        keys = sorted({key for facts in told for key in facts})
        columns = np.array([[facts.get(key, 0.0) for key in keys] for facts in told]).reshape(len(members), len(keys))
        features = np.concatenate([np.log(counts), columns], axis=1)
        spread = features.std(axis=0)
        useful = spread > 1e-9
        self._features = ((features - features.mean(axis=0)) / np.where(useful, spread, 1.0))[:, useful]
        kinds = sorted({key.split()[0] for key in keys})
        groups = np.array([0, 0, 0, *(1 + kinds.index(key.split()[0]) for key in keys)])
        self.groups = np.unique(groups[useful], return_inverse=True)[1]

    def candidates(self, rows: Rows) -> Candidates:
        own = rows[:, 0]
        return Candidates(rows, {k: v[own] for k, v in self._costs.items()}, self._features[own])

    def row(self, arch: str) -> Rows:
        return np.array([self._place[arch]])

    def names(self, rows: Rows) -> list[str]:
        return [self._names[i] for i in rows[:, 0].tolist()]

    def pool(self, count: int, rng: np.random.Generator) -> Rows:
        if len(self._names) <= count:
            return np.arange(len(self._names))[:, None]
        return _spread_over(np.log(self._costs["params"]), count, rng)[:, None]

    def neighbours(self, rows: Rows) -> Rows:
        return rows[:0]


def _facts(spec: ArchSpec, definition: SpaceDefinition) -> dict[str, float]:
    """What a name says, as numbers: `family dense_bc`, `s 1`, `method rk4`, ..."""
    facts = {f"family {spec.family}": 1.0}
    if (k := getattr(spec, "growth_rate", None)) is not None:
        facts["k"] = float(np.log(k))
    for i, period in enumerate(getattr(spec, "periods", ()), 1):
        if isinstance(period, tuple):
            s, r = period
            facts |= {f"s {i}": float(np.log(s)), f"r {i}": float(np.log(r))}
            continue
        facts |= {f"{f} {i}": float(np.log(getattr(period, f))) for f in ("m", "s", "r") if hasattr(period, f)}
        facts[f"share {i}"] = float(period.share)
        if period.solver is not None:
            solver = period.solver
            facts |= {f"solver {solver.tableau}": 1.0, f"trainable {i}": float(solver.trainable)}
            facts |= {f"tie {i}": float(solver.tie), f"h {i}": float(np.log(solver.h)), f"solver at {i}": 1.0}
    facts["rows"] = float(np.log(len(layout(spec, definition.dataset).rows)))
    return facts


def _distinct(rows: Rows) -> Rows:
    """Each row once, in order of first appearance."""
    # Numbers of 64 bits sort much faster than rows do, and a false match would only leave a candidate out.
    factors = np.random.default_rng(0).integers(1, 2**62, rows.shape[1], dtype=np.int64) | 1
    return rows[np.sort(np.unique((rows * factors).sum(axis=1), return_index=True)[1])]


def _within(counts: Rows, budget: Budget) -> Mask:
    low = counts >= (0 if budget.low is None else budget.low)
    return low & (counts <= budget.high) if budget.high is not None else low


def _log_scaled(column: Rows, choices: Rows) -> Floats:
    """Logarithms from -1 to 1 over the choices."""
    low, high = np.log(choices.min()), np.log(choices.max())
    return (2 * (np.log(column) - low) / (high - low) - 1) if high > low else np.zeros(len(column))


def _spread_over(size: Floats, count: int, rng: np.random.Generator) -> Rows:
    """About so many places, spread evenly over the range of sizes, where there is anything to choose from."""
    low, high = size.min(), size.max()
    strata = np.minimum((count // 4 * (size - low) / max(high - low, 1e-9)).astype(np.int64), count // 4)
    order = rng.permutation(len(size))
    # Each stratum gives its first ones before any gives its next ones.
    sorted_order = order[np.argsort(strata[order], kind="stable")]
    own = strata[sorted_order]
    starts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
    rank = np.arange(len(own)) - np.repeat(starts, np.diff(np.r_[starts, len(own)]))
    return np.sort(sorted_order[np.argsort(rank, kind="stable")[:count]])
