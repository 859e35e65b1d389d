"""Pipes, devices and files of absurd size where a command expects a file: one line within seconds."""

from __future__ import annotations

import errno
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rksearch
from rksearch.bench.recipes import page as recipes_page
from rksearch.bench.replay import page as replay_page
from rksearch.cli.output import require_measurement
from rksearch.errors import DataError, ExportError, TakenError
from rksearch.results.ledger import FILE_NAME, LONGEST_LINE, Ledger
from rksearch.results.run_dir import read_run
from tests.helpers.command_line import TINY_SPACE, Answer
from tests.helpers.command_line import rksearch as rksearch_command
from tests.helpers.documents import ROOT
from tests.helpers.ledgers import begin, complete, trial
from tests.helpers.pictures import photos_folder

SECONDS = 5.0

Place = Callable[[Path], object]
"""Makes something at a path."""


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


SPECIAL: dict[str, Place] = {
    "device": lambda path: path.symlink_to("/dev/zero"),
    "pipe": os.mkfifo,
    "huge": sparse,
    "directory": Path.mkdir,
}


@pytest.fixture(params=SPECIAL)
def special(request: pytest.FixtureRequest) -> Place:
    return SPECIAL[request.param]


def refused(answer: Callable[..., Answer], *words: object) -> str:
    """The one line with which a command ends that is refused."""
    began = time.monotonic()
    code, shown, errors = answer(*words)
    assert time.monotonic() - began < SECONDS
    assert (code, shown) == (2, ""), errors
    [line] = errors.splitlines()
    return line


@pytest.mark.parametrize("kind", ["device", "pipe", "huge"])
def test_exports_and_packs_are_written_where_a_directory_can_be(
    tmp_path: Path, answer: Callable[..., Answer], kind: str
) -> None:
    place, photos = tmp_path / "place", photos_folder(tmp_path / "photos", classes=2, each=6)
    SPECIAL[kind](place)
    assert str(place) in refused(answer, "export", "DenseNet-10-k2", "--to", place)
    assert str(place) in refused(
        answer, "data", "pack", f"folder:{photos},size=8,stream=yes", "--to", place / "x.rkpack", "--json"
    )


@pytest.mark.parametrize("command", [("space", "show"), ("space", "sample"), ("run", "--space")])
def test_a_space(tmp_path: Path, special: Place, answer: Callable[..., Answer], command: tuple[str, ...]) -> None:
    special(tmp_path / "space.yaml")
    assert f"cannot read the space file {tmp_path}/space.yaml" in refused(answer, *command, tmp_path / "space.yaml")


def test_a_recipe(tmp_path: Path, special: Place, answer: Callable[..., Answer]) -> None:
    special(tmp_path / "mine.yaml")
    line = refused(answer, "recipe", "show", tmp_path / "mine.yaml")
    assert f"cannot read the recipe file {tmp_path}/mine.yaml" in line
    (tmp_path / "space.yaml").write_text(TINY_SPACE.replace("{name: short, epochs: 2, batch_size: 32}", "./mine.yaml"))
    assert "mine.yaml" in refused(answer, "space", "show", tmp_path / "space.yaml")


@pytest.mark.parametrize("command", ["status", "report", "resume", "final"])
def test_a_ledger(tmp_path: Path, special: Place, answer: Callable[..., Answer], command: str) -> None:
    special(tmp_path / FILE_NAME)
    began = time.monotonic()
    code, shown, errors = answer(command, tmp_path)
    assert time.monotonic() - began < SECONDS
    assert (code in (1, 2), shown) == (True, "")
    [line] = errors.splitlines()
    assert FILE_NAME in line


def test_an_export(tmp_path: Path, special: Place, answer: Callable[..., Answer]) -> None:
    assert answer("export", "DenseNet-10-k2", "--dataset", "digits", "--to", tmp_path)[0] == 0
    for name in ("model.safetensors", "spec.json"):
        kept = tmp_path / f"{name}.kept"
        (tmp_path / name).rename(kept)
        special(tmp_path / name)
        with pytest.raises(ExportError, match="cannot be read"):
            rksearch.load(tmp_path)
        (tmp_path / name).rmdir() if (tmp_path / name).is_dir() else (tmp_path / name).unlink()
        kept.rename(tmp_path / name)
    rksearch.load(tmp_path)


@pytest.mark.parametrize("words", [("report", "run", "--to", "loop"), ("compare", "run", "loop")])
def test_a_link_that_leads_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer], words: tuple[str, ...]
) -> None:
    begin(tmp_path / "run").write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    assert "loop" in refused(answer, *words)


def test_a_readme_beside_a_new_run(tmp_path: Path, special: Place, answer: Callable[..., Answer]) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    (tmp_path / "run").mkdir()
    special(tmp_path / "run" / "README.md")
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path / "run")
    [line] = errors.splitlines()
    assert code == 2
    assert "replaces only what it wrote itself" in line


def test_an_image_that_is_a_pipe(tmp_path: Path) -> None:
    from PIL import Image

    from rksearch.data.facts import dataset

    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("L", (8, 8), i).save(tmp_path / name / f"{i}.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    for options in ("", ",size=8", ",size=8,stream=yes"):
        with pytest.raises(DataError, match=r"images must be ordinary files, but .*pipe.png is none"):
            dataset(f"folder:{tmp_path}{options}")


def test_arrays_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.data import folder
    from rksearch.data.facts import dataset

    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((40_000, 16, 16), np.uint8), y=np.arange(40_000) % 2)
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    monkeypatch.setattr(folder, "memory_bytes", lambda: 10_000_000)
    with pytest.raises(DataError, match="must fit in half of the memory"):
        dataset(f"npz:{tmp_path / 'bomb.npz'}")


def test_a_line_of_absurd_length_is_damage_and_the_others_live(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    with ledger.path.open("wb") as file:
        file.writelines(lines[:-1])
        file.seek(2 * LONGEST_LINE + 7, os.SEEK_CUR)
        file.write(b"\n" + lines[-1])
    follower = Ledger(tmp_path).follow()
    history = follower.refresh()
    assert [damage.line for damage in history.damage] == [len(lines)]
    assert list(history.trials) == ["ResNet-8@0"]
    ledger.write_trial(trial("ResNet-14"), complete(20.0), wall_time_s=1.0)
    assert list(follower.refresh().trials) == ["ResNet-8@0", "ResNet-14@0"]


def test_a_ledger_whose_last_line_has_no_end(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole.rstrip(b"\n"))
    assert list(read_run(tmp_path).trials) == ["ResNet-8@0"]
    ledger.path.write_bytes(whole[:-20])
    assert read_run(tmp_path).damaged == 1


def test_a_spec_that_stands_for_too_many_weights(tmp_path: Path) -> None:
    record = {"format": 1, "name": "RKNet-k1-m10000-1x1", "family": "dense", "data": {"name": "digits"}}
    (tmp_path / "spec.json").write_text(json.dumps(record))
    began = time.monotonic()
    with pytest.raises(ExportError):
        rksearch.load(tmp_path)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("name", ["x" * 300, "d/" * 2500], ids=["name", "path"])
def test_a_path_that_is_too_long(tmp_path: Path, answer: Callable[..., Answer], name: str) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    for words in (
        ("run", "--space", tmp_path / "tiny.yaml", "--out"),
        ("export", "ResNet-8", "--dataset", "digits", "--to"),
        ("space", "export", "quickstart", "--to"),
        ("status",),
        ("resume",),
    ):
        assert "too long" in refused(answer, *words, tmp_path / name)
    folder = rksearch_command("data", "show", f"folder:{name}")
    assert folder.returncode == 2
    assert len(folder.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["x" * 5_000, "0, " * 2_000, "a/" * 2_500], ids=["letters", "list", "path"])
@pytest.mark.parametrize(
    "words",
    ["describe NAME", "describe ResNet-8 --dataset NAME", "data show NAME", "space show NAME", "predict NAME x.png"],
)
def test_a_name_of_absurd_length_leaves_the_rule_and_the_remedy_in_sight(
    answer: Callable[..., Answer], words: str, name: str
) -> None:
    assert len(refused(answer, *(word.replace("NAME", name) for word in words.split()))) < 2_200


def test_a_value_of_absurd_length_in_a_file_leaves_the_rule_and_the_remedy_in_sight(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"format": "9" * 5_000}))
    with pytest.raises(ExportError) as caught:
        rksearch.load(tmp_path)
    message = str(caught.value)
    assert len(message) < 2_100
    assert message.startswith(f"{tmp_path / 'spec.json'} must be of format 1, but it is of '999")
    assert " ... 999" in message
    assert not message.endswith("999")


@pytest.mark.parametrize("command", ["train", "optimisations", "run"])
@pytest.mark.parametrize("content", ["my notes", '{"environment": {"python": "3.11"}}', "[1]"])
def test_a_measurement_replaces_measurements_alone(
    tmp_path: Path, answer: Callable[..., Answer], command: str, content: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    assert "replaces only what it wrote itself" in refused(answer, "bench", command, "--to", path)
    assert path.read_text() == content


def test_committed_measurements_are_known_as_such() -> None:
    for name in ("performance", "precision", "recipes", "search_benchmark"):
        found = list((ROOT / "reports" / name).rglob("*.json"))
        assert found
        for path in found:
            require_measurement(path)
    for directory in (ROOT / "reports" / "recipes", ROOT / "reports" / "recipes" / "terms"):
        recipes_page.require_own_files(directory)
    replay_page.require_own_files(ROOT / "reports" / "search_benchmark" / "digits_table")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "# Mine\n"),
        ("recipes.json", "{}"),
        ("errors.svg", "<svg/>"),
        ("trainings.jsonl", "my notes"),
    ],
)
def test_a_comparison_of_recipes_leaves_files_of_the_users(
    tmp_path: Path, answer: Callable[..., Answer], name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    assert "replaces only what it wrote itself" in refused(
        answer, "bench", "recipes", "--dataset", "digits", "--train-images", "64", "--out", tmp_path
    )
    assert (tmp_path / name).read_text() == content


@pytest.mark.parametrize("name", ["README.md", "standings.json", "curves.csv", "curves_same_tight.svg"])
def test_a_replay_leaves_files_of_the_users(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(TakenError, match="replaces only what it wrote itself"):
        replay_page.require_own_files(tmp_path)


WRITES = {
    "page": ("space", "show", "quickstart", "--html"),
    "table": ("space", "export", "quickstart", "--to"),
    "drawing": ("describe", "ResNet-8", "--dataset", "digits", "--draw"),
    "sheet": ("data", "show", "digits", "--contact-sheet"),
}


def png(**about: str) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    chunks, content = PngInfo(), io.BytesIO()
    for key, value in about.items():
        chunks.add_text(key, value)
    Image.new("RGB", (4, 4), "red").save(content, format="PNG", pnginfo=chunks)
    return content.getvalue()


THEIRS = {
    "page": [
        b"<!doctype html>\n<title>mine</title>",
        b'<!doctype html><p>Made like <meta name="generator" content="rksearch space show">',
    ],
    "table": [b"PAR1 mine PAR1"],
    "drawing": [
        b"<svg>mine</svg>",
        b'<svg version="1.1"><svg xmlns="http://www.w3.org/2000/svg" data-generator="rksearch"/></svg>',
    ],
    "sheet": [png(), png(Software="GIMP", Comment="of rksearch")],
}
"""Files of the user's of the kind that a command writes, some of which mention rksearch."""


@pytest.mark.parametrize("kind", WRITES)
def test_a_file_that_is_something_else_is_not_replaced(
    tmp_path: Path, answer: Callable[..., Answer], kind: str
) -> None:
    path = tmp_path / "mine.parquet"
    for content in (b"my notes", *THEIRS[kind]):
        path.write_bytes(content)
        assert "replaces only what it wrote itself" in refused(answer, *WRITES[kind], path)
        assert path.read_bytes() == content
    path.unlink()
    for _ in range(2):  # its own is replaced
        assert answer(*WRITES[kind], path)[0] == 0
    path.unlink()
    os.mkfifo(path)
    assert "must be an ordinary one" in refused(answer, *WRITES[kind], path)


@pytest.mark.parametrize("kind", ["page", "drawing", "sheet"])
def test_a_full_disk_leaves_the_earlier_file(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "mine"
    assert answer(*WRITES[kind], path)[0] == 0
    before = path.read_bytes()

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    code, _, errors = answer(*WRITES[kind], path)
    assert code == 1
    [line] = errors.splitlines()
    assert "No space left on device" in line
    assert {found: found.read_bytes() for found in tmp_path.iterdir()} == {path: before}


@pytest.mark.parametrize("kind", [*WRITES, "pack"])
def test_a_link_to_a_file_stays_a_link(tmp_path: Path, answer: Callable[..., Answer], kind: str) -> None:
    """And the file is written on its own disk, not on the link's."""
    photos = photos_folder(tmp_path / "photos", classes=2, each=6)
    command = WRITES.get(kind, ("data", "pack", f"folder:{photos},size=8,stream=yes", "--json", "--to"))
    link, file = tmp_path / "links" / "link.parquet", tmp_path / "files" / "file.parquet"
    for place in (link, file):
        place.parent.mkdir()
    link.symlink_to(file)
    link.parent.chmod(0o500)
    for _ in range(2):
        assert answer(*command, link)[0] == 0
    assert link.is_symlink()
    assert list(link.parent.iterdir()) == [link]
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("place", [os.mkfifo, lambda path: path.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_a_measurement_goes_to_an_ordinary_file(tmp_path: Path, answer: Callable[..., Answer], place: Place) -> None:
    place(tmp_path / "mine.json")
    assert "must be an ordinary one" in refused(answer, "bench", "run", "--to", tmp_path / "mine.json")
