"""The documentation as a site: what its pages hold, its figures, and the checks of the script that builds it."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import pytest

import rksearch
from tests.helpers.documents import ROOT, relative_links, without_fences
from tests.helpers.tools import tool

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site() -> ModuleType:
    return tool("site")


def pages(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for where in entry.values():
            if isinstance(where, str):
                yield where
            else:
                yield from pages(where)


def test_every_document_is_in_the_navigation() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    named = list(pages(project["nav"]))
    assert len(set(named)) == len(named)
    assert {str(path.relative_to(ROOT)) for path in DOCS.glob("*.md")} <= set(named)
    assert all((ROOT / name).is_file() for name in named)
    assert project["theme"]["font"] is False
    assert project["plugins"]["mkdocstrings"]["handlers"]["python"]["inventories"] == []


def test_the_reference_has_every_public_name() -> None:
    named = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    assert {f"rksearch.{name}" for name in rksearch.__all__} <= set(named)
    assert len(set(named)) == len(named)
    for name in named:
        if name.startswith("rksearch.integrations.hugging_face"):
            continue  # an extra
        home, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(home), last, None) or importlib.import_module(name)
        assert found.__doc__, name


@pytest.mark.slow
@pytest.mark.ci
def test_figures_are_what_the_script_draws(tmp_path: Path) -> None:
    committed = {path.name: path.read_text() for path in (DOCS / "figures").iterdir()}
    drawn = {path.name: path.read_text() for path in tool("figures").write_figures(tmp_path)}
    assert drawn.keys() == committed.keys()
    linked = {Path(target).name for path in DOCS.glob("*.md") for target in relative_links(path)}
    assert drawn.keys() <= linked
    for name, text in drawn.items():
        if "Matplotlib" not in text or f"Matplotlib v{mpl.__version__}," in committed[name]:
            assert text == committed[name], f"{name}: run tools/figures.py again"


def test_what_comes_from_elsewhere_and_what_is_missing_is_a_fault(tmp_path: Path, site: ModuleType) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="canonical" href="https://here.example/a.html"><link rel="stylesheet" href="own.css">'
        '<script src="https://cdn.example/x.js"></script><img src="//cdn.example/y.png">'
        '<a href="https://elsewhere.example">away</a><a href="b.html#part">b</a><a href="gone.html">gone</a>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html">a</a><a href="#part">here</a><a href="mailto:a@b.example">a</a>')
    (tmp_path / "own.css").write_text("@font-face { src: url(https://fonts.example/f.woff2) } i { src: url(f.woff2) }")
    assert list(site.faults(tmp_path)) == [
        "a.html loads https://cdn.example/x.js",
        "a.html loads //cdn.example/y.png",
        "a.html links to gone.html, which is not there",
        "own.css loads https://fonts.example/f.woff2",
    ]


def test_formulas_become_mathml_and_code_stays(site: ModuleType) -> None:
    pytest.importorskip("latex2mathml")
    text = "A $`x_1`$ and `$`.\n\n```math\n\\frac{1}{2}\n```\n\n```bash\n$ echo $`x`$\n```\n"
    found = site.with_formulas(text)
    assert found.count("<math") == 2
    assert "<mfrac>" in found
    assert "```bash\n$ echo $`x`$\n```" in found
    assert "and `$`." in found


def test_formulas_do_not_begin_a_paragraph() -> None:
    """A paragraph that begins with an element is taken for a block of HTML."""
    for path in DOCS.glob("*.md"):
        assert not re.search(r"(?:^|\n\n)\$`", without_fences(path)), path
