"""Pickles of arrays are read as pickle reads them; what names anything else runs nothing."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rksearch.data.unpickling import RefusedError, unpickled_arrays


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_and_plain_values_are_read(protocol: int) -> None:
    value = {"data": np.arange(24, dtype=np.uint8).reshape(4, 6), "labels": [1, 2, 3, 4], "name": "batch", "n": None}
    if protocol < 3:  # bytes are written by a codec there; in CIFAR, Python 2 wrote them
        value["data"] = [0]
    read = unpickled_arrays(pickle.dumps(value, protocol=protocol))
    assert np.array_equal(read.pop("data"), value.pop("data"))  # type: ignore[arg-type]
    assert read == value


def test_a_batch_of_python_2_is_read() -> None:
    """As CIFAR's archives have them: protocol 2, byte strings as text, the old name of NumPy's module."""
    content = (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x07K\x02eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\n"
        b"q\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"q\x08(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x01\x02\xfd\xfe\xfftbu."
    )
    read = unpickled_arrays(content)
    assert read["labels"] == [7, 2]
    assert read["data"].dtype == np.uint8
    assert read["data"].tolist() == [[0, 1, 2], [253, 254, 255]]


class Calls:
    """What calls a function where it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_function_is_not_called(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "was here"
    for function, arguments in (
        (os.system, (f"touch '{target}'",)),
        (eval, (f"open({str(target)!r}, 'w')",)),
        (os.mkdir, (str(target),)),
        (np.save, (str(target), [1])),
        (getattr, ([], "append")),
        (np.frombuffer, (b"abc",)),
    ):
        with pytest.raises(RefusedError, match="which is no part of an array"):
            unpickled_arrays(pickle.dumps({"data": Calls(function, *arguments)}, protocol=protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"cos\nsystem\n(S'true'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."]
)
def test_handwritten_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(RefusedError):
        unpickled_arrays(content)


def test_references_to_outside_are_refused() -> None:
    with pytest.raises(RefusedError, match="outside"):
        unpickled_arrays(b"Pname\n.")


@pytest.mark.parametrize(
    "value",
    [
        {"data": np.zeros(3, np.float32)},
        {"data": np.array([None, print], dtype=object)},
        {"data": np.array([b"abc"])},
        [np.zeros(3, np.uint8)],
        3,
    ],
)
def test_other_arrays_are_refused(value: object) -> None:
    with pytest.raises(RefusedError):
        unpickled_arrays(pickle.dumps(value, protocol=4))


def test_an_array_in_the_order_of_fortran_is_read() -> None:
    value = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert np.array_equal(unpickled_arrays(pickle.dumps({"data": value}, protocol=4))["data"], value)


def test_damaged_pickles_raise_and_run_nothing() -> None:
    rng = random.Random(0)
    whole = pickle.dumps({"data": np.zeros((3, 8), np.uint8), "labels": [0, 1, 2]}, protocol=4)
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            unpickled_arrays(bytes(content))
        except Exception:  # noqa: BLE001, S112 - any exception will do, and a crash would end the test
            continue
