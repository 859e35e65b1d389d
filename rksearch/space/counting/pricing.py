"""Families for the counting of spaces: costs of parts, and the members that periods make.

A network of a family that spaces hold costs a sum of parts, each of which belongs to one period or to two neighbours.
Where a family gives closed forms they price all choices at once; otherwise the rows of each choice are summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rksearch.arch import ArchSpec, Period, RungeKuttaFamily, Steps
from rksearch.arch.arrays import Integers
from rksearch.arch.closed_forms import STEM_AND_LINEAR, Alternatives, Largest, PartCosts, multiples
from rksearch.arch.cost import cost, depth_of, row_cost
from rksearch.arch.families import searchable
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import layout
from rksearch.arch.rows import Row
from rksearch.errors import PluginError
from rksearch.space.counting.dominance import Triples
from rksearch.space.definition import PeriodChoices

__all__ = ["NO_GROWTH", "Alternatives", "PricedFamily", "families", "multiples", "priced_family"]

NO_GROWTH = 0
"""Growth rate and growth multiple of a family that has none."""


@dataclass(frozen=True, slots=True)
class PricedFamily:
    """A family with the costs of its parts."""

    kind: RungeKuttaFamily

    @property
    def name(self) -> str:
        """Key of the family in space files."""
        return self.kind.key

    @property
    def grows(self) -> bool:
        """Whether networks have a growth rate k and their periods growth multiples m."""
        return self.kind.grows

    def prefix(self, k: int) -> str:
        """The beginning of all names with growth rate k; the growth multiples and the methods follow."""
        return f"{self.kind.head}-k{k}-m" if self.grows else f"{self.kind.head}-"

    def options(self, choices: PeriodChoices) -> Alternatives:
        """The different periods that choices allow; m varies slowest."""
        if not self.grows:
            return Alternatives(choices.decisions)
        return Alternatives(self.period(m, steps) for m in choices.m for steps in choices.decisions)

    def period(self, m: int, steps: Steps) -> Steps:
        """A period of this family, integrated by `steps`; m counts only where the family grows."""
        if not self.grows:
            return steps
        return Period(m=m, s=steps.s, r=steps.r, share=steps.share, solver=steps.solver)

    def periods(self, shape: ImageShape, k: int, options: Sequence[Steps], index: int, last: bool) -> Triples:
        """Costs of each option of period `index`; stem and head belong to the first and the last period."""
        form = self.kind.closed_form
        if form is not None:
            return _triples(form.periods(shape, k, options, index, last), len(options))
        parts = [f"period{index + 1}", *(["stem"] if index == 0 else []), *(["head"] if last else [])]
        before = (self._smallest,) * index
        return _stacked(self._price(shape, k, (*before, option), parts) for option in options)

    def link(self, shape: ImageShape, k: int, m_in: Integers, m_out: Integers, index: int) -> Triples:
        """Costs of the transition from period `index` to the next one, for many pairs of growth multiples."""
        form = self.kind.closed_form
        if form is not None:
            return _triples(form.link(shape, k, m_in, m_out, index), len(m_in))
        before, one = (self._smallest,) * index, Steps(s=1, r=1)
        pairs, places = np.unique(np.stack([m_in, m_out]), axis=1, return_inverse=True)
        found = _stacked(
            self._price(shape, k, (*before, self.period(a, one), self.period(b, one)), [f"transition{index + 1}"])
            for a, b in pairs.T.tolist()
        )
        return found.take(places.ravel())

    def magnitude(self, shape: ImageShape, k: int, periods: Sequence[Largest]) -> int:
        """A count no less than the params and the multiply-adds of the largest network.

        Raises:
            SpecError: without closed form, that network cannot be built.
        """
        form = self.kind.closed_form
        if form is not None:
            return form.magnitude(shape, k, periods)
        whole = [self.period(p.m, Steps(s=max(p.s, p.evaluations), r=p.r)) for p in periods]
        counted = cost(self.make(k, tuple(whole)), shape)
        return max(counted.params, counted.macs)

    def layers_deep(self, layers: int, periods: int) -> int:
        """Depth of a network with `layers` layers in its periods; at least one convolution each without closed form."""
        form = self.kind.closed_form
        return form.deepest(layers, periods) if form is not None else STEM_AND_LINEAR + layers

    def make(self, k: int, periods: tuple[Steps, ...]) -> ArchSpec:
        """The architecture."""
        return self.kind.make(k, periods)

    def read(self, spec: ArchSpec) -> tuple[int, tuple[Steps, ...]] | None:
        """Growth rate and periods of a member of the family, None for any other architecture."""
        if spec.family != self.kind.key:
            return None
        return self.kind.growth_rate(spec) or NO_GROWTH, self.kind.periods(spec)

    @property
    def _smallest(self) -> Steps:
        """A placeholder for periods that do not enter the cost."""
        return self.period(1, Steps(s=1, r=1))

    def _price(
        self, shape: ImageShape, k: int, periods: tuple[Steps, ...], parts: Sequence[str]
    ) -> tuple[int, int, int]:
        """Params, multiply-adds and depth of some top-level parts of a network."""
        rows = layout(self.make(k, periods), shape).rows
        self._check_parts(rows, len(periods))
        own = [row for row in rows if row.path.split(".")[0] in parts]
        counts = [row_cost(row) for row in own]
        return sum(c.params for c in counts), sum(c.macs for c in counts), depth_of(own)

    def _check_parts(self, rows: Iterable[Row], periods: int) -> None:
        numbers = range(1, periods + 1)
        known = {"stem", "head", *(f"{part}{i}" for part in ("period", "transition") for i in numbers)}
        for row in rows:
            if row.path.split(".")[0] not in known:
                raise PluginError(
                    "rows of a family that spaces hold lie under stem, period1, transition1, period2, ..., head, "
                    f"but {self.name} has {row.path}; move it there"
                )


def priced_family(name: str) -> PricedFamily:
    """The family of that key, as spaces count it."""
    return PricedFamily(searchable()[name])


def families() -> tuple[str, ...]:
    """Keys of the families that a space can mix, in the order of the choices."""
    return tuple(searchable())


def _triples(priced: PartCosts, length: int) -> Triples:
    part, depth = priced
    return Triples(*(_column(count, length) for count in (part.params, part.macs, depth)))


def _stacked(prices: Iterable[tuple[int, int, int]]) -> Triples:
    return Triples(*np.array(list(prices), dtype=np.int64).T)


def _column(count: object, length: int) -> Integers:
    return np.broadcast_to(np.asarray(count, dtype=np.int64), (length,))
