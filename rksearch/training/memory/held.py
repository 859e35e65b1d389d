"""Memory of every row of a layout, in elements of feature maps; see the package's text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from rksearch.arch import Family, Keeping, Solver, Steps, family_of
from rksearch.arch.layout import Layout, Row
from rksearch.training.memory.item import Held, held_alone


def held(net: Layout) -> list[Held]:
    """Memory that each row of a layout holds, in forward order.

    It is computed by arithmetic where the family states the facts for it (`rksearch.arch.family.Keeping`); otherwise
    the network is run on the meta device, which needs torch.
    """
    family = family_of(net.spec)
    if family.keeping is None:
        from rksearch.training.memory.forward import held_by_running

        return held_by_running(net, [held_alone(row) for row in net.rows])
    keeping, periods = family.keeping, family.periods(net.spec)
    items = _pooled_first([held_alone(row) for row in net.as_trained().rows])
    items = [replace(item, shares_input=True) if item.row.path == keeping.reads_stem else item for item in items]
    items = list(_attended(items, family.draws_random_numbers(net.spec)))
    items = list(_scales(items))
    if keeping.convolves_states:
        items = list(_convolved_states(items, periods))
    for number, period in enumerate(periods, 1):
        if period.solver is not None:
            items = _solved(items, f"period{number}", period.solver)
    return list(_units(family, keeping, items))


def _pooled_first(items: list[Held]) -> list[Held]:
    """Correct transitions that pool before they convolve: the norm keeps the activation, the convolution its input."""
    changed = list(items)
    for at, (pool, conv) in enumerate(itertools.pairwise(items)):
        if pool.row.kind == "avgpool" and conv.row.kind == "conv":
            changed[at] = replace(pool, elements=0)
            changed[at + 1] = _more(conv, _input(conv.row))
    return changed


def _input(row: Row) -> int:
    """Elements per image of a row's input."""
    return row.in_channels * row.in_size.area


def _more(item: Held, elements: int) -> Held:
    return replace(item, elements=item.elements + elements)


def _attended(items: list[Held], drops: bool) -> Iterator[Held]:
    """Add the input and weights that attention keeps, and the mask of dropout after a transition's convolution."""
    for item in items:
        row = item.row
        if drops and row.path.startswith("transition") and row.path.endswith(".conv"):
            item = _more(item, row.out_channels * row.out_size.area)
        if row.path.endswith(".attention.pool"):
            item = _more(item, _input(row))
        elif row.path.endswith(".attention.excite"):
            item = _more(item, row.out_channels)
        yield item


def _scales(items: list[Held]) -> Iterator[Held]:
    """Correct heads that read every period or block: the transition behind it reads the same map, or a slice of it.

    The map is kept once and whole, since a slice keeps the map that it views.
    """
    scales = [item.row for item in items if item.row.path.startswith("head.scale") and item.row.kind == "norm"]
    whole = {f"transition{number}.norm": _input(row) for number, row in enumerate(scales, 1)}
    for item in items:
        if item.row in scales[:-1]:
            item = _more(item, -_input(item.row))
        elif item.row.path in whole:
            item = _more(item, whole[item.row.path] - _input(item.row))
        yield item


def _convolved_states(items: list[Held], periods: Sequence[Steps]) -> Iterator[Held]:
    """Add the concatenation or sum of slopes that the first convolution of a learned stage or transition keeps.

    It keeps none where it reads the activation at the end of stem or transition.
    """
    learned = {f"period{number}" for number, period in enumerate(periods, 1) if period.solver is None}
    for item in items:
        path = item.row.path
        part = path.split(".")[0]
        first = path.endswith(".conv1") and not path.endswith(".step1.stage1.conv1")
        yield _more(item, _input(item.row)) if first and (part in learned or part.startswith("transition")) else item


def _solved(items: list[Held], prefix: str, solver: Solver) -> list[Held]:
    """Correct a period with a tableau: stages may read the same state, and learned coefficients keep slopes."""
    found = [item for item in items if not item.row.path.startswith(f"{prefix}.step")]
    place = next(i for i, item in enumerate(items) if item.row.path.startswith(f"{prefix}.step"))
    inside = [item for item in items if item.row.path.startswith(f"{prefix}.step")]
    state_is_kept = kept_by_unit = False
    changed: list[Held] = []
    for stage, group in itertools.groupby(inside, key=lambda item: _stage(item.row.path)):
        members = list(group)
        dense = members[0].row.kind == "norm"
        source = _input(members[0].row)
        # Gradients of the state and of all slopes wait while one stage is differentiated.
        members = [replace(item, working=item.working + solver.method.stages * source) for item in members]
        if stage.first_of_step:
            # The activation at the end of the stem is always kept there, that of a transition unless it is recomputed.
            state_is_kept = not dense and stage.step == 1
            kept_by_unit = state_is_kept and prefix == "period1"
        if _reads_state(solver, stage):
            if dense and state_is_kept:
                members[0] = _more(members[0], -source)
            elif not dense and not state_is_kept:
                members[0] = _more(members[0], source)
            members[0] = replace(members[0], shares_input=kept_by_unit)
            state_is_kept = kept_by_unit = True
        elif not dense:
            members[0] = _more(members[0], source)
        if dense and _keeps_slope(solver, stage):
            # The slope is a tensor of its own, or the stage's only growth, which nothing else keeps.
            members[-1] = replace(_more(members[-1], source), slope=source)
        elif _keeps_slope(solver, stage):
            members[-1] = replace(members[-1], slope=source)
        changed += members
    return [*found[:place], *changed, *found[place:]]


class _Stage(NamedTuple):
    """Evaluation of a stage function; numbers count from 1, and the sweep of an explicit method is 0."""

    step: int
    sweep: int
    number: int

    @property
    def first_of_step(self) -> bool:
        return self.sweep <= 1 and self.number == 1


def _stage(path: str) -> _Stage:
    numbers = {name.rstrip("0123456789"): name.lstrip("abcdefghijklmnopqrstuvwxyz") for name in path.split(".")}
    return _Stage(int(numbers["step"]), int(numbers.get("sweep", 0)), int(numbers["stage"]))


def _reads_state(solver: Solver, stage: _Stage) -> bool:
    """Whether the stage reads only the state: there are no slopes yet, or none with a coefficient."""
    method = solver.method
    slopes = stage.number - 1 if method.explicit else method.stages if stage.sweep > 1 else 0
    return not any(solver.trainable or method.a[stage.number - 1][j] for j in range(slopes))


def _keeps_slope(solver: Solver, stage: _Stage) -> bool:
    """Whether the slope is multiplied by a learned number."""
    if not (solver.trainable or solver.learn_h):
        return False
    method, j = solver.method, stage.number - 1
    within = [method.a[i][j] for i in range(stage.number if method.explicit else 0, method.stages)]
    last = method.explicit or stage.sweep == solver.sweeps
    factors = [*(within if method.explicit or not last else []), *([method.b[j]] if last else [])]
    return any(solver.trainable or factor for factor in factors)


def _units(family: Family, keeping: Keeping, items: list[Held]) -> Iterator[Held]:
    """Add to each item the module that `rksearch.models.recompute` recomputes, and the elements that it keeps."""
    for unit, group in itertools.groupby(items, key=lambda item: _unit(family, item.row)):
        members = list(group)
        if unit is None:
            yield from members
            continue
        first = members[0]
        source = _input(first.row)
        if first.row.kind == "conv":
            boundary, again = 0 if first.shares_input else source, 0
        elif keeping.layers_grow and not unit.endswith("layer1") and not unit.startswith("transition"):
            # Every growth is kept once; their concatenation is made again.
            growth = members[-1].row
            boundary, again = growth.out_channels * growth.out_size.area, first.elements
        else:
            boundary, again = first.elements - source, source
        for item in members:
            yield replace(
                item,
                unit=unit,
                boundary=(boundary if item is first else 0) + item.slope,
                again=again if item is first else item.elements - (item.slope if keeping.layers_grow else 0),
            )


def _unit(family: Family, row: Row) -> str | None:
    parent = row.path.rpartition(".")[0]
    part = parent.split(".")[0]
    if row.kind == "coefficients" or part in ("stem", "head") or parent.startswith("head"):
        return None
    if not family.pools_first and part.startswith("transition"):
        return None  # it may have dropout, whose draws must not be repeated
    return parent
