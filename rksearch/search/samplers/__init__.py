"""Samplers: they choose the next architecture. Nothing is imported before a sampler is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "SAMPLERS": "making",
    "Observation": "making",
    "Sampler": "making",
    "make": "making",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
