"""Extensions that a program has registered, sent to Ray's workers with the trainable.

A worker loads plugins by itself, but knows nothing of what a script has registered. Samplers stay in the driver, which
is the only process that proposes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rksearch.arch.families import FAMILIES
from rksearch.arch.registry import Registry
from rksearch.data.facts import datasets


@dataclass(frozen=True, slots=True)
class Extensions:
    """Registered items, one tuple for each registry; functions and classes of a script are pickled by value."""

    items: tuple[tuple[Any, ...], ...]

    @classmethod
    def here(cls) -> Extensions:
        """Items that this process's program has registered itself."""
        return cls(tuple(registry.added() for registry in _registries()))

    def register(self) -> None:
        """Register each item whose name this process does not know yet."""
        for registry, added in zip(_registries(), self.items, strict=True):
            registry.adopt(added)


def _registries() -> tuple[Registry[Any], ...]:
    return (FAMILIES, datasets)
