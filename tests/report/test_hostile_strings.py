"""Strings of a ledger by somebody else are text in pages, pictures and Markdown, whatever they contain."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rksearch.data.facts import dataset
from rksearch.report.space_page import space_page
from rksearch.report.write import derived_files
from rksearch.results.data_record import DataRecord
from rksearch.results.environment import Environment
from rksearch.results.ledger import Ledger
from rksearch.space import parse_space
from tests.helpers.command_line import TINY_SPACE
from tests.helpers.ledgers import complete, failed, plan_record, space_record, trial

MARK = "evilmark"
EVIL = (
    f"\"'><img src=x onerror={MARK}(1)><script>{MARK}(2)</script></script></style></title></textarea>-->]]>"
    f"<svg onload={MARK}(3)>&lt;{{{{7*7}}}}`|[x](javascript:{MARK}(4))\u2028%{{x}}"
)


@pytest.fixture
def derived(tmp_path: Path) -> dict[str, str]:
    """Files of a run whose every free string is hostile."""
    ledger = Ledger(tmp_path / "run")
    own = replace(plan_record().recipe, name=EVIL)
    data = DataRecord.of(dataset("cifar10"))
    names = tuple(f"{EVIL}{i}" for i in range(10))
    data = replace(data, source=EVIL, licence=EVIL, citation=EVIL, normalisation=EVIL, class_names=names, notes=(EVIL,))
    ledger.write_run(
        name=EVIL,
        space=space_record(name=EVIL, description=EVIL, yaml=f"# {EVIL}", sha256=EVIL, constraints=(EVIL,)),
        plan=plan_record(sampler=EVIL, recipe=own),
        data=data,
    )
    environment = Environment(
        rksearch=EVIL,
        commit=EVIL,
        command=("rksearch", EVIL),
        python=EVIL,
        packages={"torch": EVIL},
        os=EVIL,
        cpu=EVIL,
        gpus=(EVIL,),
    )
    ledger.write_session(environment=environment, options={"data_dir": EVIL, EVIL: EVIL})
    for arch, role in (("ResNet-8", "baseline"), ("RKNet-BC-k8-m2_4_6-1x2_1x2_1x1", "candidate")):
        for replicate in range(2):
            result = replace(complete(20.0 + replicate), device=EVIL, precision=EVIL, compile_reason=EVIL, split=EVIL)
            spec = replace(trial(arch, replicate, role), recipe=own)  # type: ignore[arg-type]
            ledger.write_trial(spec, result, wall_time_s=1.0)
    ledger.write_trial(replace(trial("ResNet-14"), recipe=own), failed(EVIL, EVIL), wall_time_s=1.0)
    ledger.write_end("failed", EVIL)
    history = ledger.read()
    assert (history.damaged, len(history.trials)) == (0, 5)
    return derived_files(history)


class Tags(HTMLParser):
    """Notes tags and attributes by which a string could have become markup."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a hostile string would have added."""
        for name, value in attrs:
            if name.startswith("on") or (name in ("src", "href") and (value or "").startswith(("x", "javascript"))):
                self.wrong.append(f"<{tag} {name}={value}>")


def markup(page: str) -> list[str]:
    found = Tags()
    found.feed(page)
    return found.wrong


def test_the_check_finds_markup() -> None:
    assert markup(EVIL)
    assert not markup("&lt;img src=x onerror=1&gt;")


def test_the_page_holds_text_alone(derived: dict[str, str]) -> None:
    page = derived["report.html"]
    assert MARK in page
    assert markup(page) == []
    # Scripts hold data as JSON, in which no hostile string may end the script.
    for script in re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.DOTALL):
        assert f"<script>{MARK}" not in script
        assert "<img" not in script


def test_the_picture_is_xml_without_scripts(derived: dict[str, str]) -> None:
    tree = ElementTree.fromstring(derived["front.svg"])
    for element in tree.iter():
        assert not element.tag.endswith("script")
        assert not [name for name in element.attrib if name.startswith("on")]


def test_markdown_holds_text_alone(derived: dict[str, str]) -> None:
    fences = re.sub(r"```.*?```", "", derived["README.md"], flags=re.DOTALL)
    assert MARK in fences
    assert re.search(rf"(?<!\\)<img src=x onerror={MARK}", fences) is None
    assert re.search(rf"(?<!\\)<script>{MARK}", fences) is None
    assert re.search(rf"(?<!\\)\]\(javascript:{MARK}", fences) is None


def test_the_page_of_a_space_holds_text_alone() -> None:
    described = TINY_SPACE.replace("tiny networks for tests", f"'{EVIL.replace(chr(39), chr(39) * 2)}'")
    page = space_page(parse_space(described, name=EVIL))
    assert MARK in page
    assert markup(page) == []
