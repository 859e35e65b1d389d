"""Many members of a space at once, as rows of numbers: their costs, and features for a model.

Rows are priced by tables of the costs of parts, so that thousands of them cost milliseconds. A space that lists
architectures is listed here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rksearch.arch import ArchSpec, Period, Steps, parse
from rksearch.arch.arrays import Floats, Integers
from rksearch.arch.layout import layout
from rksearch.space import Space, SpaceDefinition
from rksearch.space.counting import Chain, box_of, chains_of

Rows = Integers
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Members of a space.

    Attributes:
        rows: one per member; the `Listing` that made them can read them.
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
    """Group number of each feature; features of one group are of one kind."""

    def candidates(self, rows: Rows) -> Candidates:
        """Costs and features of rows."""

    def row(self, arch: str) -> Rows:
        """The row of a member."""

    def names(self, rows: Rows) -> list[str]:
        """The names of rows."""

    def pool(self, count: int, rng: np.random.Generator) -> Rows:
        """About `count` members, spread over sizes; all of them where the space is that small."""

    def neighbours(self, rows: Rows) -> Rows:
        """Members that differ from any of the rows in one decision."""


def listing(space: Space) -> Listing:
    """The listing of a space."""
    return _Listed(space) if space.definition.architectures else _Chosen(space)


class _Chosen:
    """Listing of a space of choices: a row is the number of a chain (family and k) and an option for each period."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._chains = chains_of(space.definition)
        self._boxes = [box_of(space.definition, chain) for chain in self._chains]
        self._periods = len(space.definition.periods)
        self._whole: Rows | None = None
        ends = np.log(np.array([[m.params, m.macs] for m in (space.smallest, space.largest)], dtype=float))
        self._middle, self._spread = ends.mean(axis=0), np.maximum(np.ptp(ends, axis=0) / 3.5, 0.1)
        self._described = _Descriptions(self._chains)
        self.groups = self._described.groups
        self._adjacent = [[_adjacent(own) for own in chain.options] for chain in self._chains]
        self._same = [[self._translation(a, b) for b in self._chains] for a in self._chains]

    def candidates(self, rows: Rows) -> Candidates:
        params, macs, _ = (own.astype(float) for own in self._price(rows)[0])
        size = (np.log(np.stack([params, macs], axis=1)) - self._middle) / self._spread
        features = np.concatenate([size, self._described.of(rows)], axis=1)
        return Candidates(rows, {"params": params, "macs": macs}, features)

    def row(self, arch: str) -> Rows:
        spec = parse(arch)
        for number, chain in enumerate(self._chains):
            digits = chain.digits(spec)
            if digits is not None:
                return np.array([number, *digits])
        raise AssertionError(f"{arch} is no member")

    def names(self, rows: Rows) -> list[str]:
        return [str(self._chains[number].spec(digits)) for number, *digits in rows.tolist()]

    def pool(self, count: int, rng: np.random.Generator) -> Rows:
        if len(self._space) <= count:
            if self._whole is None:
                self._whole = np.stack([self.row(priced.name) for priced in self._space.by_name()])
            return self._whole
        found = np.zeros((0, 1 + self._periods), dtype=np.int64)
        sizes = np.array([float(chain.size) for chain in self._chains])
        for _ in range(8):
            number = rng.choice(len(self._chains), 4 * count, p=sizes / sizes.sum())
            options = np.array([[len(own) for own in chain.options] for chain in self._chains])[number]
            drawn = np.concatenate([number[:, None], rng.integers(0, options)], axis=1)
            found = _distinct(np.concatenate([found, self._members(drawn)]))
            if len(found) >= 2 * count:
                break
        if not len(found):
            # Budgets leave little: go from a member to its neighbours and theirs.
            found = self.row(str(self._space.at(int(rng.integers(len(self._space))))))[None, :]
        while len(found) < count:
            more = _distinct(np.concatenate([found, self.neighbours(rng.permutation(found)[:64])]))
            if len(more) == len(found):
                break
            found = more
        return found[_spread_over(np.log(self._price(found)[0][0]), count, rng)]

    def neighbours(self, rows: Rows) -> Rows:
        found = [rows[:0]]
        for row in rows:
            number = int(row[0])
            for i, adjacent in enumerate(self._adjacent[number]):
                others = np.flatnonzero(adjacent[row[1 + i]])
                changed = np.repeat(row[None, :], len(others), axis=0)
                changed[:, 1 + i] = others
                found.append(changed)
            for other, tables in enumerate(self._same[number]):
                if tables is not None:
                    found.append(np.array([[other, *(table[d] for table, d in zip(tables, row[1:], strict=True))]]))
        every = np.concatenate(found)
        return _distinct(self._members(every[(every >= 0).all(axis=1)]))

    def _translation(self, a: Chain, b: Chain) -> list[Rows] | None:
        """For each period the number in b of each option of a, -1 for none; None where b is too far away."""
        if a is b or (a.family.name != b.family.name and a.k != b.k):
            return None
        places = [{option: i for i, option in enumerate(own)} for own in b.options]
        return [np.array([p.get(o, -1) for o in own]) for p, own in zip(places, a.options, strict=True)]

    def _price(self, rows: Rows) -> tuple[Rows, Mask]:
        """Params, macs and depth, and whether the constraints between neighbouring periods hold."""
        counts, allowed = np.zeros((3, len(rows)), dtype=np.int64), np.ones(len(rows), dtype=bool)
        for number, chain in enumerate(self._chains):
            own = np.flatnonzero(rows[:, 0] == number)
            digits = rows[own, 1:].T
            states = [state[d] for state, d in zip(chain.state, digits, strict=True)]
            for costs, d in zip(chain.costs, digits, strict=True):
                counts[:, own] += np.stack(costs)[:, d]
            for link, (a, b) in zip(chain.links, pairwise(states), strict=True):
                counts[:, own] += link.costs[:, a, b]
                allowed[own] &= link.allowed[a, b]
        return counts, allowed

    def _members(self, rows: Rows) -> Rows:
        """The rows that are in the space."""
        counts, kept = self._price(rows)
        for number, box in enumerate(self._boxes):
            own = rows[:, 0] == number
            kept[own] &= box.keeps(counts[:, own])
        return rows[kept]


class _Descriptions:
    """Features of the decisions: values of the options, scaled to reach from -1 to 1, and the chain they belong to."""

    def __init__(self, chains: Sequence[Chain]) -> None:
        periods = range(len(chains[0].options))
        raw = [[_columns(chain.options[i]) for i in periods] for chain in chains]
        kinds: list[int] = []
        self._options: list[list[Floats]] = [[] for _ in chains]
        for i in periods:
            keys = sorted({key for own in raw for key in own[i]})
            whole = [
                np.stack([own[i].get(key, np.zeros(len(chain.options[i]))) for key in keys], axis=1)
                for chain, own in zip(chains, raw, strict=True)
            ]
            scaled, useful = _scaled(whole)
            for found, own in zip(self._options, scaled, strict=True):
                found.append(own)
            kinds += [OF_COLUMN[key.split()[0]] for key, kept in zip(keys, useful, strict=True) if kept]
        families = sorted({chain.family.name for chain in chains})
        wholes = [
            np.array([[math.log(max(chain.k, 1)), *(float(chain.family.name == name) for name in families[1:])]])
            for chain in chains
        ]
        scaled, useful = _scaled(wholes)
        self._chain = np.concatenate(scaled)
        kinds += [kind for kind, kept in zip([1, *[2] * len(families[1:])], useful, strict=True) if kept]
        self.groups = np.unique([0, 0, *kinds], return_inverse=True)[1]

    def of(self, rows: Rows) -> Floats:
        """Features of each row: (rows, features)."""
        found = np.zeros((len(rows), len(self.groups) - 2))
        for number, options in enumerate(self._options):
            own = np.flatnonzero(rows[:, 0] == number)
            parts = [table[rows[own, 1 + i]] for i, table in enumerate(options)]
            found[own] = np.concatenate([*parts, np.repeat(self._chain[number][None, :], len(own), axis=0)], axis=1)
        return found


OF_COLUMN = {"m": 3, "s": 4, "r": 5, "share": 6, "solver": 7, "trainable": 7, "tie": 7, "h": 7}
"""Kinds of features: 0 are costs, 1 is k, 2 the family."""


def _columns(options: Sequence[Steps]) -> dict[str, Floats]:
    """Values of the options of a period, as numbers."""
    solvers = [option.solver for option in options]
    found = {
        "m": np.array([math.log(option.m) if isinstance(option, Period) else 0.0 for option in options]),
        "s": np.array([math.log(option.evaluations) for option in options]),
        "r": np.array([math.log(option.r) for option in options]),
        # Between shared and not shared: nothing to share.
        "share": np.array([2.0 * option.share - 1 if option.r > 1 else 0.0 for option in options]),
        "trainable": np.array([float(s is not None and (s.trainable or s.learn_h)) for s in solvers]),
        "tie": np.array([float(s is not None and s.tie) for s in solvers]),
        "h": np.array([math.log(s.h) if s is not None else 0.0 for s in solvers]),
    }
    for name in sorted({s.tableau for s in solvers if s is not None}):
        found[f"solver {name}"] = np.array([float(s is not None and s.tableau == name) for s in solvers])
    return found


def _scaled(tables: Sequence[Floats]) -> tuple[list[Floats], Mask]:
    """Columns over all tables from -1 to 1, and which of them vary; constant ones are left out."""
    whole = np.concatenate(tables)
    low, high = whole.min(axis=0), whole.max(axis=0)
    useful = high > low
    return [2 * (own - low)[:, useful] / (high - low)[useful] - 1 for own in tables], useful


def _adjacent(options: Sequence[Steps]) -> Mask:
    """Mask (options, options) of those that differ in one decision: m, method (with its stages), r or share."""
    methods = {key: i for i, key in enumerate(dict.fromkeys((o.s, str(o.solver)) for o in options))}
    m = np.array([o.m if isinstance(o, Period) else 0 for o in options])
    method = np.array([methods[o.s, str(o.solver)] for o in options])
    r, share = np.array([o.r for o in options]), np.array([o.share for o in options])
    apart = np.zeros((len(options), len(options)), dtype=np.int64)
    for own in (m, method, r):
        apart += own[:, None] != own[None, :]
    # Sharing is a decision only between options in which it decides something.
    apart += (share[:, None] != share[None, :]) & (r[:, None] > 1) & (r[None, :] > 1)
    return np.asarray(apart == 1)


class _Listed:
    """Listing of a space that lists architectures: a row is an index."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._place: dict[str, int] = {}
        members = list(space.by_name())
        specs = [parse(priced.name) for priced in members]
        self._place = {priced.name: i for i, priced in enumerate(members)}
        self._names = [priced.name for priced in members]
        counts = np.array([[p.params, p.macs, p.depth] for p in members], dtype=float)
        self._costs = {"params": counts[:, 0], "macs": counts[:, 1]}
        stated = [_facts(spec, space.definition) for spec in specs]
        keys = sorted({key for facts in stated for key in facts})
        columns = np.array([[facts.get(key, 0.0) for key in keys] for facts in stated]).reshape(len(members), len(keys))
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
    """Facts that a name states, as numbers: `family dense_bc`, `s 1`, `method rk4`, ..."""
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


def _spread_over(size: Floats, count: int, rng: np.random.Generator) -> Rows:
    """About `count` places, spread evenly over the range of sizes."""
    low, high = size.min(), size.max()
    strata = np.minimum((count // 4 * (size - low) / max(high - low, 1e-9)).astype(np.int64), count // 4)
    order = rng.permutation(len(size))
    # Each stratum gives its first ones before any gives its next ones.
    sorted_order = order[np.argsort(strata[order], kind="stable")]
    own = strata[sorted_order]
    starts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
    rank = np.arange(len(own)) - np.repeat(starts, np.diff(np.r_[starts, len(own)]))
    return np.sort(sorted_order[np.argsort(rank, kind="stable")[:count]])
