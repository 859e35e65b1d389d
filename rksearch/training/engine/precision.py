"""Precision of a training; imports no torch, for those who only count."""

from typing import Literal

Precision = Literal["fp32", "bf16"]
"""`bf16`: matrix products and convolutions in bfloat16 by autocast, weights and optimiser in float32."""
