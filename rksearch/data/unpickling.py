"""Pickles of arrays, read without running what else a pickle can name.

CIFAR's batches are pickles. The pickle machine can be made to call any function that it can import; here it finds the
few constructors of NumPy's arrays and nothing else.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


class RefusedError(pickle.UnpicklingError):
    """A pickle that names something other than the parts of an array."""


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The constructor of this name, of those that make arrays of numbers.

        Raises:
            RefusedError: it is none of them.
        """
        import numpy as np
        from numpy._core.multiarray import _reconstruct  # type: ignore[attr-defined]

        if module in _ARRAY_MODULES and name == "_reconstruct":
            return _reconstruct
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise RefusedError(f"it names {module}.{name}, which is no part of an array")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside of the pickle.

        Raises:
            RefusedError: always.
        """
        raise RefusedError("it refers to an object outside of it")


def unpickled_arrays(content: bytes) -> Any:
    """Plain values and arrays of a pickle; strings of Python 2 are read as Latin-1.

    Raises:
        RefusedError: it names anything else.
        pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError, IndexError, KeyError,
        MemoryError: it is damaged.
    """
    return _Arrays(io.BytesIO(content), encoding="latin1").load()
