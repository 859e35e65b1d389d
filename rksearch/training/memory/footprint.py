"""Bytes of a training from what its rows hold: the sum that is kept, and the peak of a step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rksearch.arch import ArchSpec
from rksearch.arch.cost import row_cost
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import Row, layout
from rksearch.training.engine.precision import Precision
from rksearch.training.memory.held import held
from rksearch.training.memory.item import FLOAT_BYTES, INDEX_BYTES, Held

ELEMENT_BYTES = {"fp32": 4, "bf16": 2}
"""Bytes of an element of a feature map: bf16 autocast keeps all feature maps in bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Predicted bytes of a training, by purpose.

    Attributes:
        weights: parameters and running statistics, float32.
        momentum: of the optimiser, as large as the parameters.
        gradients: of all parameters, at the end of the backward pass.
        batch: float32 images and labels.
        activations: kept by the forward pass for the backward pass, weights rounded by autocast included.
        step_peak: maximum at once in a training step.
        evaluation_peak: maximum at once while a batch is evaluated.
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
        """Maximum at once."""
        return max(self.step_peak, self.evaluation_peak)


def activation_bytes(
    spec: ArchSpec, data: ImageShape, batch_size: int = 1, precision: Precision = "fp32", *, recompute: bool = False
) -> int:
    """Bytes that a training's forward pass keeps for the backward pass, beside weights and the batch itself.

    Raises:
        SpecError: the images are too small for the network.
    """
    return _kept_bytes(held(layout(spec, data)), batch_size, precision, recompute)


def footprint(
    spec: ArchSpec,
    data: ImageShape,
    batch_size: int,
    precision: Precision,
    *,
    recompute: bool = False,
    eval_batch_size: int = 0,
) -> Footprint:
    """Predict everything that training `spec` holds in memory besides the data set.

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
    statistics = sum(
        2 * FLOAT_BYTES * item.row.in_channels + INDEX_BYTES for item in rows if _owns_statistics(item.row)
    )
    pixels = FLOAT_BYTES * data.channels * data.height * data.width
    weights = params + statistics
    batch = batch_size * (pixels + INDEX_BYTES)
    copies = _weight_copies(rows, precision)
    return Footprint(
        weights=weights,
        momentum=params,
        gradients=params,
        batch=batch,
        activations=_kept_bytes(rows, batch_size, precision, recompute),
        step_peak=weights + params + batch + _highest(rows, batch_size, precision, recompute),
        evaluation_peak=weights + params + copies + eval_batch_size * _evaluated_bytes(spec, data, precision)
        if eval_batch_size
        else 0,
    )


COUNTED_BYTES = 9
"""Bytes per image and class that counting errors takes beside the logits: a truth value and its whole number."""


def _evaluated_bytes(spec: ArchSpec, data: ImageShape, precision: Precision) -> int:
    """Bytes per image of an evaluation: image, label, logits, and what the network or the counting holds at once.

    The logits of a batch are held while the next one passes through the network.
    """
    from rksearch.training.memory.evaluation import evaluation_elements  # needs torch, which all else here does without

    image = FLOAT_BYTES * data.channels * data.height * data.width + INDEX_BYTES
    maps = ELEMENT_BYTES[precision] * evaluation_elements(spec, data)
    return image + FLOAT_BYTES * data.classes + max(maps, COUNTED_BYTES * data.classes)


def _owns_statistics(row: Row) -> bool:
    return row.kind == "norm" and row.owns_weights


def _weight_copies(rows: Iterable[Held], precision: Precision) -> int:
    """Bytes of the weights that autocast rounds once and keeps until the step's end."""
    if precision == "fp32":
        return 0
    weights = [i.row for i in rows if i.row.owns_weights and i.row.kind in ("conv", "linear")]
    return ELEMENT_BYTES[precision] * sum(row.in_channels * row.out_channels * row.kernel**2 for row in weights)


def _loss_bytes(rows: Sequence[Held]) -> int:
    """Bytes per image of the log-probabilities."""
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
    """Maximum bytes of activations and gradients at once, over all rows of the backward pass.

    A recomputed unit holds all its own activations again while the rows behind it no longer hold any.
    """
    size = ELEMENT_BYTES[precision]
    lasting = [item for item in rows if not (recompute and item.unit)]
    before = batch_size * (_image_copy(rows, precision) + _loss_bytes(rows))
    gradients = FLOAT_BYTES * sum(row_cost(item.row).params for item in rows)
    highest = before + gradients
    for _, group in itertools.groupby(rows, key=lambda item: item.unit or item.row.path):
        members = list(group)
        again = recompute and members[0].unit is not None
        if again:
            before += batch_size * size * sum(item.boundary for item in members)
        # A rounded weight is freed when the last row that uses it, the first of the forward pass, has its gradient.
        inner = before + _weight_copies(members, precision)
        for item in members:
            elements = item.again if again else item.elements
            inner += batch_size * (size * elements + item.index_bytes) + item.batch_bytes
            gradients -= FLOAT_BYTES * row_cost(item.row).params
            highest = max(highest, inner + batch_size * size * item.working + gradients)
        if not again:
            before = inner
    # When the forward pass ends, autocast still holds all rounded weights.
    again_rounded = _weight_copies(rows, precision) - _weight_copies(lasting, precision)
    return max(highest, before + again_rounded)
