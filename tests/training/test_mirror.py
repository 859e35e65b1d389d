import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rksearch.errors import RunError, StorageError
from rksearch.results.ledger import Ledger
from rksearch.results.storage_address import absolute_address
from rksearch.training import mirror as mirror_module
from rksearch.training.checkpoint import CheckpointStore
from rksearch.training.mirror import KEPT, UNUSABLE, Mirror, require_storage
from tests.helpers.command_line import TINY_SPACE, rksearch

IDENTITY = {"arch": "ResNet-8", "seed": 1}


def state(epochs: int) -> dict[str, Any]:
    return {"epochs": list(range(epochs)), "weights": torch.arange(10.0) * epochs}


def store(directory: Path, mirror: Mirror) -> CheckpointStore:
    directory.mkdir(exist_ok=True)
    return CheckpointStore(directory, IDENTITY, mirror)


def ages(directory: Path, mirror: Mirror) -> list[int]:
    return [len(saved.state["epochs"]) for saved in store(directory, mirror).newest_first()]


@pytest.fixture(params=["path", "file", "fsspec"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    """A directory of this machine, by its path and as a URI, and a store that is none."""
    return Mirror(
        {
            "path": str(tmp_path / "mirror" / "trial"),
            "file": f"file://{tmp_path}/mirror/trial",
            "fsspec": f"fsspec+memory://{tmp_path}/mirror/trial",
        }[request.param]
    )


def test_the_last_copies_are_kept_and_read_back(mirror: Mirror) -> None:
    assert mirror.epochs() == []
    for epoch in range(1, 6):
        mirror.put(epoch, b"after %d" % epoch)
        assert mirror.epochs() == sorted(range(max(1, epoch - KEPT + 1), epoch + 1), reverse=True)
    assert mirror.get(5) == b"after 5"
    assert mirror.get(1) is None
    mirror.put(5, b"again")
    assert mirror.get(5) == b"again"
    mirror.remove(5)
    mirror.remove(5)
    assert mirror.epochs() == [4]


def test_a_late_worker_of_a_lost_node_removes_nothing_newer(mirror: Mirror) -> None:
    mirror.put(8, b"8")
    mirror.put(9, b"9")
    mirror.put(3, b"3")
    assert mirror.epochs() == [9, 8, 3]
    mirror.put(10, b"10")
    assert mirror.epochs() == [10, 9]


def test_a_directory_that_is_new_gets_the_mirrors_newest(tmp_path: Path, mirror: Mirror) -> None:
    first = store(tmp_path / "a", mirror)
    for epoch in (1, 2, 3):
        first.save(state(epoch))
    assert ages(tmp_path / "b", mirror) == [3, 2]
    second = store(tmp_path / "b", mirror)
    second.save(state(4))
    # What lies here and is as new comes first; what is newer there comes before what is older here.
    assert ages(tmp_path / "b", mirror)[:2] == [4, 4]
    assert ages(tmp_path / "a", mirror) == [4, 3, 3, 2]


def test_a_damaged_copy_is_set_aside_and_the_one_before_it_used(tmp_path: Path, mirror: Mirror) -> None:
    first = store(tmp_path / "a", mirror)
    first.save(state(1))
    first.save(state(2))
    content = mirror.get(2)
    assert content is not None
    mirror.put(2, content[:-7])
    assert ages(tmp_path / "b", mirror) == [1]
    assert "its checksum is wrong" in (tmp_path / "b" / "notes.txt").read_text()
    assert mirror.epochs() == [1], "set aside"
    store(tmp_path / "b", mirror).save(state(2))
    assert ages(tmp_path / "c", mirror) == [2, 1]


def test_copies_of_another_trial_are_not_used(tmp_path: Path, mirror: Mirror) -> None:
    store(tmp_path / "a", mirror).save(state(2))
    (tmp_path / "b").mkdir()
    other = CheckpointStore(tmp_path / "b", {"arch": "ResNet-14"}, mirror)
    assert list(other.newest_first()) == []
    assert "belongs to another trial" in (tmp_path / "b" / "notes.txt").read_text()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    nodes=st.lists(st.integers(0, 2), min_size=1, max_size=7),
    wiped=st.sets(st.integers(0, 2)),
    damaged=st.booleans(),
)
def test_wherever_it_goes_on_it_goes_on_from_the_newest_that_is_whole(
    tmp_path_factory: pytest.TempPathFactory, nodes: list[int], wiped: set[int], damaged: bool
) -> None:
    """Each epoch is trained on some node; then some nodes are lost, and perhaps the newest copy is damaged."""
    root = tmp_path_factory.mktemp("nodes")
    mirror = Mirror(str(root / "mirror"))
    for epoch, node in enumerate(nodes, 1):
        newest = max(ages(root / str(node), mirror), default=0)
        assert newest == epoch - 1
        store(root / str(node), mirror).save(state(epoch))
    if damaged:
        mirror.put(len(nodes), b"half")
    copies = [e for e in range(1, len(nodes) + 1) if e > len(nodes) - KEPT and not (damaged and e == len(nodes))]
    for node in range(3):
        here = [] if node in wiped else [e for e, n in enumerate(nodes, 1) if n == node]
        found = ages(root / (f"new{node}" if node in wiped else str(node)), mirror)
        assert found == sorted(found, reverse=True)
        assert max(found, default=0) == max(here + copies, default=0)


@pytest.mark.parametrize("address", ["nonsense://bucket", "file:///proc/none/here"])
def test_a_storage_that_cannot_be_used_is_one_line(address: str) -> None:
    with pytest.raises((RunError, StorageError), match="the storage must be reachable") as error:
        require_storage(address)
    assert "\n" not in str(error.value)
    assert address in str(error.value)


def test_a_storage_that_accepts_and_says_nothing_is_one_line_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "ANSWER_S", 1.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"s3://b/x?scheme=http&endpoint_override=127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StorageError, match="did not answer within 1 s; check --storage") as error:
            require_storage(address)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_run_with_such_a_storage_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    arguments = ("run", "--space", "tiny.yaml", "--out", "run", "--storage", "nonsense://bucket")
    done = rksearch(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nonsense://bucket" in done.stderr
    assert Ledger(tmp_path / "run").read().sessions == ()


def test_a_storage_that_can_be_used_is_left_as_it_was(tmp_path: Path) -> None:
    require_storage(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_paths_are_made_absolute_and_uris_left() -> None:
    assert absolute_address("mirror") == str(Path.cwd() / "mirror")
    assert absolute_address("s3://bucket/mirror") == "s3://bucket/mirror"


def test_an_unfinished_copy_is_not_seen(tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path))
    mirror.put(1, b"whole")
    torn = tmp_path / "checkpoint-000002.pt.tmp-0123abcd"
    torn.write_bytes(b"to")
    assert mirror.epochs() == [1]
    mirror.put(3, b"whole")
    mirror.put(4, b"whole")
    assert not torn.exists()
    assert mirror.epochs() == [4, 3]


def test_unusable_copies_are_bounded(mirror: Mirror) -> None:
    for epoch in range(1, 8):
        mirror.put(epoch, b"damage")
        mirror.set_aside(epoch)
    assert mirror.epochs() == []
    assert len([info for info in mirror._files() if info.base_name.endswith(UNUSABLE)]) == KEPT
