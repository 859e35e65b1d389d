"""Memory of a training step, from arithmetic alone: what autograd keeps for the backward pass, and the peak.

What is kept, by row of the layout, in elements per image
-----------------------------------------------------------
norm         its input (a concatenation, a sum or a convolution's output) and the activation behind it, which is also
             the input of the next convolution; mean and inverse deviation of every channel (float32, once per batch).
conv         its input only where that is nothing that a norm keeps already: a concatenation or a sum of slopes in the
             residual families. Under bf16 autocast also the images and the weights, rounded.
avgpool      its input; maxpool the place of every maximum (int64).
linear       its input. The loss keeps the log-probabilities (float32) and the labels (int64).
coefficients learned ones keep the slopes that they multiply; a slope of a dense stage is a slice of the stage's
             last concatenation, all of which stays.

Concatenations copy, so a dense layer keeps all channels before it anew: memory is quadratic in the layers of a block or
time-step. `recompute` (see `rksearch.models.recompute`) keeps every growth once instead, and the input of each
transition, residual block or stage; the rest is computed again in the backward pass, one layer at a time.

The peak lies in the backward pass: what the rows before still hold, what the present row works with (`WORKING_MAPS`),
the gradients of the weights behind it, besides weights and momentum. The arithmetic is that of eager mode; compiled
steps and captured graphs may hold more or less.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from rksearch.cost import row_cost
from rksearch.datasets import Dataset
from rksearch.layout import Layout, Row, layout
from rksearch.spec import (
    RKCNN,
    ArchSpec,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    ResidualRKNet,
    ResNet,
    RKNet,
    Solver,
)

Precision = Literal["fp32", "bf16"]

ELEMENT_BYTES = {"fp32": 4, "bf16": 2}
"""Bytes of an element of a feature map: bf16 autocast keeps all feature maps in bfloat16."""

FLOAT_BYTES = 4
INDEX_BYTES = 8

WORKING_MAPS = 3
"""Maps as large as a norm's input that its backward pass needs at once besides what is kept: the gradients behind and
before the activation and before the norm. In a forward pass that keeps nothing: input, norm and activation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one row of a layout holds in memory.

    Attributes:
        row: the layer.
        elements: of feature maps that are kept for the backward pass, per image.
        index_bytes: of integers that are kept, per image.
        batch_bytes: kept once per batch: statistics of a norm.
        working: elements per image that exist only while the row's gradients are computed.
        unit: path of the module that recomputation treats as a whole, None for what is never recomputed.
        boundary: with recomputation, elements per image that are kept nevertheless.
        again: elements per image that exist while the row's unit is recomputed, besides all boundaries.
    """

    row: Row
    elements: int
    index_bytes: int = 0
    batch_bytes: int = 0
    working: int = 0
    unit: str | None = None
    boundary: int = 0
    again: int = 0
    slope: int = 0
    shares_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Predicted bytes of a training, by what they are for.

    Attributes:
        weights: parameters and running statistics, float32.
        momentum: of the optimiser, as large as the parameters.
        gradients: of all parameters, when the backward pass has ended.
        batch: float32 images and labels.
        activations: what the forward pass keeps for the backward pass, weights rounded by autocast included.
        step_peak: most that exists at once in a training step.
        evaluation_peak: most that exists at once while a batch is evaluated, gradients of the last step included.
    """

    weights: int
    momentum: int
    gradients: int
    batch: int
    activations: int
    step_peak: int
    evaluation_peak: int

    @property
    def peak(self) -> int:
        """Most that exists at once."""
        return max(self.step_peak, self.evaluation_peak)


def activation_bytes(
    spec: ArchSpec, data: Dataset, batch_size: int = 1, precision: Precision = "fp32", *, recompute: bool = False
) -> int:
    """Bytes that a training's forward pass keeps for the backward pass, beside weights and the batch itself.

    Raises:
        SpecError: the images are too small for the network.
    """
    return _kept_bytes(held(layout(spec, data)), batch_size, precision, recompute)


def footprint(
    spec: ArchSpec,
    data: Dataset,
    batch_size: int,
    precision: Precision,
    *,
    recompute: bool = False,
    eval_batch_size: int = 0,
) -> Footprint:
    """Everything that training `spec` holds in memory besides the data set.

    Args:
        spec: the network.
        data: shape of its images.
        batch_size: images in a training step.
        precision: `fp32`, or `bf16` autocast over float32 weights.
        recompute: whether activations are computed again in the backward pass.
        eval_batch_size: images evaluated at a time; 0 leaves the evaluation out.

    Raises:
        SpecError: the images are too small for the network.
    """
    rows = held(layout(spec, data))
    params = FLOAT_BYTES * sum(row_cost(item.row).params for item in rows)
    statistics = sum(2 * FLOAT_BYTES * item.row.in_channels + INDEX_BYTES for item in rows if _owns_statistics(item.row))
    pixels = FLOAT_BYTES * data.channels * data.height * data.width
    weights = params + statistics
    batch = batch_size * (pixels + INDEX_BYTES)
    copies = _weight_copies(rows, precision)
    most = max(item.working for item in rows) * ELEMENT_BYTES[precision]
    return Footprint(
        weights=weights,
        momentum=params,
        gradients=params,
        batch=batch,
        activations=_kept_bytes(rows, batch_size, precision, recompute),
        step_peak=weights + params + batch + copies + _highest(rows, batch_size, precision, recompute),
        evaluation_peak=weights + 2 * params + copies + eval_batch_size * (pixels + INDEX_BYTES + most)
        if eval_batch_size
        else 0,
    )


def _owns_statistics(row: Row) -> bool:
    return row.kind == "norm" and row.owns_weights


def _weight_copies(rows: Iterable[Held], precision: Precision) -> int:
    """Bytes of the weights that autocast rounds once and keeps until the step's end."""
    if precision == "fp32":
        return 0
    weights = [i.row for i in rows if i.row.owns_weights and i.row.kind in ("conv", "linear")]
    return ELEMENT_BYTES[precision] * sum(row.in_channels * row.out_channels * row.kernel**2 for row in weights)


def _loss_bytes(rows: Sequence[Held]) -> int:
    """Log-probabilities per image."""
    return FLOAT_BYTES * rows[-1].row.out_channels


def _image_copy(rows: Sequence[Held], precision: Precision) -> int:
    """Bytes per image of the batch as autocast rounds it."""
    stem = rows[0].row
    return 0 if precision == "fp32" else ELEMENT_BYTES[precision] * stem.in_channels * stem.in_size.area


def _kept_bytes(rows: Sequence[Held], batch_size: int, precision: Precision, recompute: bool) -> int:
    size = ELEMENT_BYTES[precision]
    whole = batch_size * (_image_copy(rows, precision) + _loss_bytes(rows))
    whole += _weight_copies((item for item in rows if not (recompute and item.unit)), precision)
    for item in rows:
        if recompute and item.unit is not None:
            whole += batch_size * size * item.boundary
        else:
            whole += batch_size * (size * item.elements + item.index_bytes) + item.batch_bytes
    return whole


def _highest(rows: Sequence[Held], batch_size: int, precision: Precision, recompute: bool) -> int:
    """Most bytes of activations and gradients at once, over all rows of the backward pass.

    A unit that is recomputed holds all its own activations again while the rows behind it hold none any more.
    """
    size = ELEMENT_BYTES[precision]
    before = batch_size * (_image_copy(rows, precision) + _loss_bytes(rows))
    gradients = FLOAT_BYTES * sum(row_cost(item.row).params for item in rows)
    highest = before + gradients
    for _, group in itertools.groupby(rows, key=lambda item: item.unit or item.row.path):
        members = list(group)
        again = recompute and members[0].unit is not None
        if again:
            before += batch_size * size * sum(item.boundary for item in members)
        inner = before
        for item in members:
            elements = item.again if again else item.elements
            inner += batch_size * (size * elements + item.index_bytes) + item.batch_bytes
            gradients -= FLOAT_BYTES * row_cost(item.row).params
            highest = max(highest, inner + batch_size * size * item.working + gradients)
        if not again:
            before = inner
    return highest


def held(net: Layout) -> list[Held]:
    """What every row of a layout holds, in forward order."""
    spec = net.spec
    items = [_generic(row) for row in net.rows]
    match spec:
        case ResNet():
            items = [replace(i, shares_input=i.row.path == "group1.block1.conv1") for i in items]
        case RKCNN():
            items = list(_rkcnn(spec, items))
        case CliqueNet():
            items = list(_clique(items))
        case ResidualRKNet():
            items = list(_residual(items, {f"period{i}": p.solver for i, p in enumerate(spec.periods, 1)}))
    if isinstance(spec, RKNet | ResidualRKNet):
        for number, period in enumerate(spec.periods, 1):
            if period.solver is not None:
                items = _solved(items, f"period{number}", period.solver)
    return list(_units(spec, items))


def _generic(row: Row) -> Held:
    """What a row holds whatever its family; see the module's text."""
    maps_in, maps_out = row.in_channels * row.in_size.area, row.out_channels * row.out_size.area
    match row.kind:
        case "norm":
            statistics = 2 * FLOAT_BYTES * row.in_channels
            return Held(row=row, elements=2 * maps_in, batch_bytes=statistics, working=WORKING_MAPS * maps_in)
        case "conv":
            return Held(row=row, elements=0, working=maps_in + maps_out)
        case "avgpool":
            return Held(row=row, elements=maps_in, working=maps_in + maps_out)
        case "maxpool":
            return Held(row=row, elements=0, index_bytes=INDEX_BYTES * maps_out, working=maps_in + maps_out)
        case "linear":
            return Held(row=row, elements=row.in_channels)
        case "global_pool":
            return Held(row=row, elements=0, working=maps_in)
        case "coefficients":
            return Held(row=row, elements=0)


def _input(row: Row) -> int:
    """Elements per image of what a row reads."""
    return row.in_channels * row.in_size.area


def _more(item: Held, elements: int) -> Held:
    return replace(item, elements=item.elements + elements)


def _rkcnn(spec: RKCNN, items: list[Held]) -> Iterator[Held]:
    """Attention keeps what it weighs and the weights; dropout its mask; two norms read each period but the last."""
    last = f"head.scale{len(spec.periods)}.norm"
    for item in items:
        row = item.row
        if row.path.startswith("transition") and row.path.endswith(".conv") and spec.dropout_pct:
            item = _more(item, row.out_channels * row.out_size.area)
        if row.path.endswith(".attention.pool"):
            item = _more(item, _input(row))
        elif row.path.endswith(".attention.excite"):
            item = _more(item, row.out_channels)
        elif row.path.startswith("head.scale") and row.kind == "norm" and row.path != last:
            item = _more(item, -_input(row))
        yield item


def _clique(items: list[Held]) -> Iterator[Held]:
    """A transition reads a slice of a block's output, the whole of which is kept and is also what the head reads."""
    for item in items:
        path = item.row.path
        before_last = path.startswith("head.scale") and path != f"head.scale{CliqueNet.BLOCKS}.norm"
        if path.endswith(".norm") and (path.startswith("transition") or before_last):
            whole = next(i.row for i in items if i.row.path == f"head.scale{path.split('.')[-2][-1]}.norm")
            item = _more(item, -_input(item.row) if before_last else _input(whole) - _input(item.row))
        yield item


def _residual(items: list[Held], solvers: Mapping[str, Solver | None]) -> Iterator[Held]:
    """A stage's or transition's first convolution keeps a concatenation or sum of slopes, which no norm keeps.

    Not so where it reads the activation at the end of stem or transition.
    """
    for item in items:
        row = item.row
        first = row.path.endswith(".conv1")
        if row.path.startswith("transition") or (first and solvers[row.path.split(".")[0]] is None):
            after_activation = row.path.endswith(".step1.stage1.conv1")
            item = _more(item, _input(row)) if first and not after_activation else item
            item = replace(item, shares_input=row.path == "period1.step1.stage1.conv1")
        yield item


def _solved(items: list[Held], prefix: str, solver: Solver) -> list[Held]:
    """A period with explicit coefficients: stages may read the same state, and learned numbers keep slopes."""
    found = [item for item in items if not item.row.path.startswith(f"{prefix}.step")]
    place = next(i for i, item in enumerate(items) if item.row.path.startswith(f"{prefix}.step"))
    inside = [item for item in items if item.row.path.startswith(f"{prefix}.step")]
    state_is_kept = kept_by_unit = False
    changed: list[Held] = []
    for stage, group in itertools.groupby(inside, key=lambda item: _stage(item.row.path)):
        members = list(group)
        dense = members[0].row.kind == "norm"
        source = _input(members[0].row)
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
            # The slope is a slice of all that the stage has concatenated: its input, and as much again.
            members[-1] = replace(_more(members[-1], 2 * source), slope=2 * source)
        elif _keeps_slope(solver, stage):
            members[-1] = replace(members[-1], slope=source)
        changed += members
    return [*found[:place], *changed, *found[place:]]


class _Stage(NamedTuple):
    """One evaluation of a stage function, all numbers from 1; sweep 0 in an explicit method."""

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
    """Whether the stage reads the state alone: there are no slopes yet, or none with a coefficient."""
    method = solver.method
    slopes = stage.number - 1 if method.explicit else method.stages if stage.sweep > 1 else 0
    return not any(solver.trainable or method.a[stage.number - 1][j] for j in range(slopes))


def _keeps_slope(solver: Solver, stage: _Stage) -> bool:
    """Whether the slope is multiplied by a number that learns."""
    if not (solver.trainable or solver.learn_h):
        return False
    method, j = solver.method, stage.number - 1
    within = [method.a[i][j] for i in range(stage.number if method.explicit else 0, method.stages)]
    if method.explicit:
        factors = [*within, method.b[j]]
    else:
        factors = [method.b[j]] if stage.sweep == solver.sweeps else within
    return any(solver.trainable or factor for factor in factors)


def _units(spec: ArchSpec, items: list[Held]) -> Iterator[Held]:
    """With the modules that `rksearch.models.recompute` recomputes, and what these keep."""
    for unit, group in itertools.groupby(items, key=lambda item: _unit(spec, item.row)):
        members = list(group)
        if unit is None:
            yield from members
            continue
        first = members[0]
        source = _input(first.row)
        if first.row.kind == "conv":
            boundary, again = 0 if first.shares_input else source, 0
        elif _grows(spec) and not unit.endswith("layer1") and not unit.startswith("transition"):
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
                again=again if item is first else item.elements - (item.slope if _grows(spec) else 0),
            )


def _grows(spec: ArchSpec) -> bool:
    return isinstance(spec, RKNet | DenseNet | ImageNetDenseNet)


def _unit(spec: ArchSpec, row: Row) -> str | None:
    parent = row.path.rpartition(".")[0]
    part = parent.split(".")[0]
    if row.kind == "coefficients" or part in ("stem", "head") or parent.startswith("head"):
        return None
    if isinstance(spec, RKCNN) and part.startswith("transition"):
        return None  # it may have dropout, whose draws must not be repeated
    return parent
