"""What files hold is no command to a terminal: not of a space, a pack or a ledger, and not in an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.data.facts import dataset
from rksearch.data.images import load_data
from rksearch.data.packing import write_pack
from rksearch.data.pictures import Stored
from rksearch.results.environment import Environment
from rksearch.results.ledger import Ledger
from tests.helpers.command_line import TINY_SPACE, Answer
from tests.helpers.pictures import photos_folder

# The title of the terminal is set, and words are shown from right to left; Click takes colours away where no terminal
# is, and neither of these.
CONTROLS = "a\x1b]0;title\x07b\u202ec"
CODES = r"a\x1b]0;title\x07b\u202ec"


def require_plain(text: str) -> None:
    assert CODES in text
    assert text.replace("\n", "").isprintable()


def test_a_description_and_the_name_of_a_space(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    path = tmp_path / f"{CONTROLS}.yaml"
    described = TINY_SPACE.replace("tiny networks for tests", r'"one é\n\e]0;title\a 二"')
    path.write_text(described, encoding="utf-8")
    code, shown, errors = answer("space", "show", path)
    assert (code, errors) == (0, "")
    require_plain(shown)
    assert r"one é \x1b]0;title\x07 二" in shown  # letters of any writing stay as they are


def test_an_error_that_quotes_a_file(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_session(environment=Environment(command=("rksearch", CONTROLS)), options={})
    code, shown, errors = answer("resume", tmp_path)
    assert (code, shown) == (2, "")
    require_plain(errors)
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("words", [("status",), ("status", "--nonsense"), ("describe",), ("train",), ("data", "show")])
def test_an_error_that_quotes_what_was_given(words: tuple[str, ...], answer: Callable[..., Answer]) -> None:
    code, shown, errors = answer(*words, CONTROLS)
    assert (code, shown) == (2, "")
    assert errors.rstrip("\n").isprintable()


def test_the_facts_of_a_pack(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    facts = dataset(f"folder:{photos_folder(tmp_path / 'photos')},size=28,stream=yes")
    images = load_data(facts, tmp_path, download=False)
    assert isinstance(images, Stored)
    names = tuple(f"{CONTROLS}{label}" for label in range(facts.classes))
    hostile = replace(facts, source=CONTROLS, licence=CONTROLS, class_names=names)
    path = write_pack(hostile, images, tmp_path / "photos.rkpack", side=32, threads=1).path
    code, shown, errors = answer("data", "show", f"pack:{path}")
    assert (code, errors) == (0, "")
    require_plain(shown)
