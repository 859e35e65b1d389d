from pathlib import Path

import platformdirs
import pytest

from rksearch.data.locations import data_home


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
