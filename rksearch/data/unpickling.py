"""Pickles of arrays of bytes, read without running anything that a pickle can name.

CIFAR's batches are pickles. The pickle machine can be made to call any function that it can import, and NumPy's own
types cannot be trusted with a foreign state. So the few names that an array's pickle holds stand for inert objects
here, and arrays are made of their contents afterwards.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

UINT8 = ("u1", "|u1", "uint8")
"""Names of the one type of values that is read."""


class RefusedError(pickle.UnpicklingError):
    """A pickle that names something other than the parts of an array of bytes."""


class _StoredArray:
    """An array as its pickle describes it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> npt.NDArray[np.uint8]:
        """The array.

        Raises:
            RefusedError: it is none of bytes, or its shape is not that of its contents.
        """
        import numpy as np

        match self.state:
            case (int(), tuple(shape), _StoredType(name=name), bool() | int() as fortran, (bytes() | str()) as content):
                # Python 2 wrote bytes as text, which is read as Latin-1.
                raw = content.encode("latin1") if isinstance(content, str) else content
            case _:
                raise RefusedError("it has an array in a form that is not known")
        whole = all(type(side) is int and side >= 0 for side in shape)
        if name not in UINT8 or not whole or math.prod(shape) != len(raw):
            raise RefusedError(f"it has an array of {name!r} and shape {shape}, with {len(raw)} bytes")
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C").copy()


class _StoredType:
    """A type of values as a pickle describes it."""

    def __init__(self, *arguments: Any) -> None:
        self.name = arguments[0] if arguments and isinstance(arguments[0], str) else ""

    def __setstate__(self, state: Any) -> None:
        """Ignore byte order and flags: a byte has neither."""


KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _StoredArray,
    ("numpy._core.multiarray", "_reconstruct"): _StoredArray,
    ("numpy", "ndarray"): _StoredArray,
    ("numpy", "dtype"): _StoredType,
}
"""What may be named, and what it stands for."""


class _ArrayReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The inert class that a name stands for.

        Raises:
            RefusedError: it stands for none.
        """
        if (module, name) not in KNOWN:
            raise RefusedError(f"it names {module}.{name}, which is no part of an array")
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside of the pickle.

        Raises:
            RefusedError: always.
        """
        raise RefusedError("it refers to an object outside of it")


def unpickled_arrays(content: bytes) -> dict[str, Any]:
    """The dictionary of a pickle: arrays of bytes and plain values; strings of Python 2 are read as Latin-1.

    Raises:
        RefusedError: it names anything else, holds other arrays, or is no dictionary.
        Exception: almost any, where it is damaged.
    """
    found = _ArrayReader(io.BytesIO(content), encoding="latin1").load()
    if not isinstance(found, dict):
        raise RefusedError(f"it holds a {type(found).__name__} instead of a dictionary")
    return {key: value.array() if isinstance(value, _StoredArray) else value for key, value in found.items()}
