"""What happened and what it means: records, fronts and tables of runs.

`trials`, `architectures` and `effects` give the tables of a run directory as pandas frames; they load pandas when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rksearch.results.frames import architectures, effects, trials

__all__ = ["architectures", "effects", "trials"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("rksearch.results.frames"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
