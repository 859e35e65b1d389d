"""Memory of a training step, from arithmetic alone: what autograd keeps for the backward pass, and the peak.

Kept by each row of the layout, in elements per image
-------------------------------------------------------
norm         its input (a concatenation, a sum or a convolution's output) and the activation behind it, which is also
             the input of the next convolution; mean and inverse deviation of every channel (float32, once per batch).
conv         its input only where that is nothing that a norm keeps already: a concatenation or a sum of slopes in the
             residual families, a pooled activation in a transition. Under bf16 autocast also the images and the
             weights, rounded.
avgpool      its input where that is a convolution's output (RKCNN); maxpool the place of every maximum (int64).
linear       its input. The loss keeps the log-probabilities (float32) and the labels (int64).
coefficients learned ones keep the slopes that they multiply; a slope of a dense stage is a slice of the stage's
             last concatenation, all of which stays.

Concatenations copy, so a dense layer keeps all channels before it again: memory is quadratic in the layers of a block
or time-step. `recompute` (see `rksearch.models.recompute`) keeps every growth once instead, and the input of each
transition, residual block or stage; the rest is computed again in the backward pass, one layer at a time.

The peak lies in the backward pass: what the rows before still hold, what the present row works with (`WORKING_MAPS`),
the gradients of the weights behind it, besides weights and momentum. The arithmetic is that of eager mode; compiled
steps and captured graphs may hold more or less. The copies of a convolution's weights that oneDNN makes on some CPUs
are left out: with AVX2 several times the weights of the largest convolution, whatever the batch.

An evaluation keeps nothing; what it holds at once is found by a run without numbers, see
`rksearch.training.memory.evaluation`.
"""

from rksearch.training.memory.footprint import ELEMENT_BYTES, Footprint, activation_bytes, footprint
from rksearch.training.memory.held import held
from rksearch.training.memory.item import Held
from rksearch.training.memory.plan import plan_memory

__all__ = [
    "ELEMENT_BYTES",
    "Footprint",
    "Held",
    "activation_bytes",
    "footprint",
    "held",
    "plan_memory",
]
