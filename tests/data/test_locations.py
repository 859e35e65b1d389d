import errno
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

from rksearch.data.facts import dataset
from rksearch.data.images import load_data
from rksearch.data.locations import data_home
from rksearch.errors import DataError, RunError
from rksearch.results.run_dir import RunDir
from rksearch.results.storage_address import absolute_address
from tests.helpers.command_line import TINY_SPACE, Answer


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RKSEARCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_users_choice_comes_first_then_the_environment_then_a_folder_that_exists_then_the_cache(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data_home(None) == platformdirs.user_cache_path("rksearch", appauthor=False) / "data"
    (here / "data").write_text("a file is no folder")
    assert data_home(None) != here / "data"
    (here / "data").unlink()
    (here / "data").mkdir()
    assert data_home(None) == here / "data"
    monkeypatch.setenv("RKSEARCH_DATA", "elsewhere")
    assert data_home(None) == here / "elsewhere"
    assert data_home(Path("mine")) == here / "mine"
    assert data_home(Path("~/mine")) == Path.home() / "mine"


def test_a_working_directory_that_may_not_be_searched_has_no_such_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, **options: bool) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (here / "data").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", refuse)
        found = data_home(None)
    assert found == platformdirs.user_cache_path("rksearch", appauthor=False) / "data"


def test_a_home_that_is_not_known_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    (here / "tiny.yaml").write_text(TINY_SPACE.replace("dataset: digits", "dataset: folder:~nosuchuser/x"))
    for words in (
        ("export", "~nosuchuser/x", "--to", "there"),
        ("export", "~nosuchuser/x", "--front", "--to", "there"),
        ("export", "~nosuchuser/x:trial", "--to", "there"),
        ("data", "show", "folder:~nosuchuser/x"),
        ("space", "show", "tiny.yaml"),
    ):
        code, _, errors = answer(*words)
        assert (code, len(errors.splitlines())) == (2, 1), errors
        assert "must stand for a known home directory, but got '~nosuchuser/x" in errors
    with pytest.raises(RunError, match="known home directory"):
        absolute_address("~nosuchuser/x")
    with pytest.raises(DataError, match="known home directory"):
        load_data(dataset("digits"), Path("~nosuchuser/x"))
    monkeypatch.setenv("RKSEARCH_DATA", "~nosuchuser/x")
    code, _, errors = answer("data", "show", "cifar10", "--no-download")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "known home directory" in errors


def test_a_home_of_another_machine_is_no_place_to_look(here: Path) -> None:
    """A run that was copied here may have been given a directory of a user who is unknown here."""
    (here / "run").mkdir()
    assert RunDir(here / "run").data_dirs(Path("~nosuchuser/x")) == []


def test_without_a_home_data_lie_in_the_working_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    """As in a container whose user has no entry: embedded images need no directory, downloads are found again."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert data_home(None) == here / "data"
    code, _, _ = answer("data", "show", "digits")
    assert code == 0
    code, _, errors = answer("data", "show", "cifar10", "--no-download")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert str(here / "data") in errors
