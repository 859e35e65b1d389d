import errno
import gc
import hashlib
import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rksearch.errors import CheckpointError
from rksearch.training.checkpoint import MOST_BYTES, NEWEST, PREVIOUS, CheckpointStore

IDENTITY = {"arch": "ResNet-8", "seed": 1}


def state(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "weights": torch.arange(100.0) + epoch, "loss": 0.1 * epoch}


def found(directory: Path, identity: dict[str, Any] = IDENTITY) -> list[int]:
    return [saved.state["epoch"] for saved in CheckpointStore(directory, identity).newest_first()]


def filled(directory: Path) -> CheckpointStore:
    store = CheckpointStore(directory, IDENTITY)
    store.save(state(1))
    store.save(state(2))
    return store


def test_what_is_saved_is_read_newest_first_and_exactly(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    store = filled(tmp_path)
    store.save(state(3))
    assert found(tmp_path) == [3, 2]
    newest = next(store.newest_first())
    assert newest.file == NEWEST
    assert newest.state["loss"] == 0.1 * 3
    assert torch.equal(newest.state["weights"], state(3)["weights"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [NEWEST, PREVIOUS]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["cut", "flip"]))
def test_any_damage_to_the_newest_is_noticed(tmp_path: Path, share: float, kind: str) -> None:
    store = filled(tmp_path)
    path = tmp_path / NEWEST
    content = bytearray(path.read_bytes())
    at = int(share * len(content))
    if kind == "cut":
        del content[at:]
    else:
        content[at] ^= 0x10
    path.write_bytes(content)
    assert found(tmp_path) == [1]
    assert content in [path.read_bytes() for path in tmp_path.glob(f"{NEWEST}.unusable*")]
    store.save(state(3))
    assert found(tmp_path) == [3, 1]


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "huge", "huge and begun"])
def test_what_is_no_checkpoint_is_neither_waited_for_nor_held_in_memory(tmp_path: Path, kind: str) -> None:
    filled(tmp_path)
    path = tmp_path / NEWEST
    if kind == "huge and begun":
        os.truncate(path, 2**28)
    else:
        path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "huge":
            path.touch()
            os.truncate(path, MOST_BYTES + 1)
    tracemalloc.start()
    try:
        assert found(tmp_path) == [1]
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ESTALE])
def test_a_checkpoint_that_cannot_be_read_now_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    filled(tmp_path)
    opened = os.open

    def refuse(path: Any, *arguments: Any) -> int:
        if Path(path).name == NEWEST:
            raise OSError(number, os.strerror(number))
        return opened(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(CheckpointError, match=rf"must be readable, but .*{NEWEST} is not \({os.strerror(number)}"):
            found(tmp_path)
        read_only = CheckpointStore(tmp_path, IDENTITY, read_only=True)
        assert [saved.file for saved in read_only.newest_first()] == [PREVIOUS]
    assert found(tmp_path) == [2, 1]


def test_damage_is_said_and_both_damaged_leave_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path)
    (tmp_path / NEWEST).write_bytes(b"PK\x03\x04 something else")
    (tmp_path / PREVIOUS).write_bytes(b"")
    assert found(tmp_path) == []
    notes = (tmp_path / "notes.txt").read_text().splitlines()
    assert len(notes) == 2
    assert "is damaged (not a checkpoint of this format)" in notes[0]
    assert [record.message for record in caplog.records] == notes
    assert found(tmp_path) == []


def test_checkpoints_of_another_trial_are_set_aside(tmp_path: Path) -> None:
    filled(tmp_path)
    assert found(tmp_path, {"arch": "ResNet-8", "seed": 2}) == []
    assert "belongs to another trial or recipe" in (tmp_path / "notes.txt").read_text()
    assert (tmp_path / f"{NEWEST}.unusable").exists()


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    CheckpointStore(tmp_path, IDENTITY).save({"epoch": Evil()})
    assert found(tmp_path) == []
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_leaves_the_old_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*make room") as error:
        store.save(state(3))
    assert "\n" not in str(error.value)
    assert found(tmp_path) == [2, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [NEWEST, PREVIOUS]
    del error
    gc.collect()  # Python 3.12.1 ended here with a segmentation fault


@pytest.mark.parametrize("survived", [0, 1])
def test_a_crash_between_the_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    store = filled(tmp_path)
    rename = os.replace
    done: list[Path] = []

    def crash(source: Path, target: Path) -> None:
        if len(done) == survived:
            raise KeyboardInterrupt
        done.append(source)
        rename(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        store.save(state(3))
    monkeypatch.undo()
    assert found(tmp_path) == ([2, 1], [2])[survived]
    store.save(state(3))
    assert found(tmp_path) == [3, 2]


def test_damage_that_comes_again_takes_no_more_of_the_disk(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for epoch in range(3, 13):
        (tmp_path / NEWEST).write_bytes(b"damage %d" % epoch)
        assert found(tmp_path) == [epoch - 2]
        store.save(state(epoch - 1))
        store.save(state(epoch))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([NEWEST, PREVIOUS, f"{NEWEST}.unusable", f"{NEWEST}.unusable-2", "notes.txt"])
    assert (tmp_path / f"{NEWEST}.unusable").read_bytes() == b"damage 12"
    assert (tmp_path / f"{NEWEST}.unusable-2").read_bytes() == b"damage 11"


class Touches:
    """What makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_that_would_run_code_is_set_aside(tmp_path: Path) -> None:
    """Its checksum is right: whoever can write to a mirror can write that too."""
    filled(tmp_path)
    for evil in (Touches(tmp_path / "was here"), {"identity": "{}", "state": Touches(tmp_path / "was here")}):
        buffer = io.BytesIO()
        torch.save(evil, buffer)
        payload = buffer.getvalue()
        header = b"rksearch checkpoint 1 " + hashlib.sha256(payload).hexdigest().encode() + b"\n"
        (tmp_path / NEWEST).write_bytes(header + payload)
        assert found(tmp_path) == [1]
    assert not (tmp_path / "was here").exists()
