"""The examples of docs/extending.md, kept outside of the package as a user has them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from rksearch.arch.registry import Registry
from tests.helpers.command_line import environment
from tests.helpers.documents import ROOT, blocks

DOCUMENT = ROOT / "docs" / "extending.md"


def example(section: str) -> str:
    """The first Python code of a section."""
    return blocks(DOCUMENT, "python", section=section)[0]


def register_smooth() -> None:
    """Register the family of the document in this process, under the key `smooth`."""
    module = ModuleType("smooth_rk")
    exec(example("A family"), module.__dict__)
    module.register()


@contextmanager
def registrations_forgotten(registry: Registry[Any]) -> Iterator[None]:
    """Whatever is registered in the block is unknown after it."""
    registry.items()
    before = dict(registry._items or {}), dict(registry._added)
    try:
        yield
    finally:
        registry._items, registry._added = before


def beside(directory: Path) -> dict[str, str]:
    """Environment of a process that imports modules from this directory, and the package from the checkout."""
    own = environment()
    return {**own, "PYTHONPATH": os.pathsep.join([str(directory), own["PYTHONPATH"]])}


def installed(directory: Path, name: str, module: str, code: str) -> dict[str, str]:
    """Environment of a process in which the plugin `name` is installed: a module with a function `register`."""
    about = directory / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (directory / f"{module}.py").write_text(code, encoding="utf-8")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[rksearch.plugins]\n{name} = {module}:register\n", encoding="utf-8")
    return beside(directory)
