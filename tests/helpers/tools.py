"""Scripts of `tools/` as modules."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from tests.helpers.documents import ROOT


def tool(name: str) -> ModuleType:
    """The script of this name."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look for the module of their annotations
    spec.loader.exec_module(module)
    return module
