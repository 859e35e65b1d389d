"""Build the documentation as a site, with warnings as errors, and check that its pages need nothing from elsewhere.

    uv run --group docs python tools/site.py                  # writes build/site/index.html
    python -m http.server --directory build/site              # the search needs a server; pages open without one

Pages are the repository's own documents. They are copied to `build/pages/` in the places that they have in the
repository, formulas as MathML, and Zensical builds them by `zensical.toml`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"

SOURCES = (
    "*.md",
    "LICENSE",
    "CITATION.cff",
    "docs/**/*",
    "examples/*",
    "hub/**/*.md",
    "reports/**/*",
    "rksearch/recipes/*.md",
    "rksearch/recipes/*.yaml",
    "search_spaces/*",
)
"""The documents, and what they link to."""

LOADING = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
}
"""Attributes by which a browser loads something with a page."""

NO_LOADING = ("canonical", "alternate", "next", "prev", "author", "license")
"""Relations of a `link` that a browser does not load."""


QUIET = re.compile(r"Build started|No issues found|Build finished in .*|")
"""Lines of a build without warnings. Zensical's `--strict` counts its own warnings, not those about docstrings."""


class Links(HTMLParser):
    """What a page loads, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of one element."""
        own = dict(attrs)
        if (target := own.get(LOADING.get(tag, ""))) and own.get("rel") not in NO_LOADING:
            self.loaded.append(target)
            self.targets.append(target)
        if tag == "a" and (target := own.get("href")):
            self.targets.append(target)


def with_formulas(text: str) -> str:
    """A document with MathML in the place of its formulas: blocks of the language `math`, and $`...`$ in a line."""
    from latex2mathml.converter import convert

    def block(found: re.Match[str]) -> str:
        return f'<div class="formula">{convert(found[1].strip(), display="block")}</div>'

    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    for i, part in enumerate(parts):
        if part.startswith("```math\n"):
            parts[i] = re.sub(r"^```math\n(.*)\n```$", block, part, flags=re.DOTALL)
        elif not part.startswith("```"):
            parts[i] = re.sub(r"\$`([^`]+)`\$", lambda found: convert(found[1]), part)
    return "".join(parts)


def stage(pages: Path) -> int:
    """Copy the documents and what they link to; returns the number of files."""
    shutil.rmtree(pages, ignore_errors=True)
    found = {path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file()}
    files = {path for path in found if "work" not in path.relative_to(ROOT).parts}  # what a run leaves behind
    for path in sorted(files):
        copy = pages / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(with_formulas(path.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copyfile(path, copy)
    return len(files)


def faults(site: Path) -> Iterator[str]:
    """Whatever a page loads from elsewhere, and each link to a file that is not there."""
    for page in sorted(site.rglob("*.html")):
        if (page.parent / "ledger.jsonl").exists() and page.name == "report.html":
            continue  # the page of a run, which rksearch writes and its own tests check
        links = Links()
        links.feed(page.read_text(encoding="utf-8"))
        name = page.relative_to(site)
        yield from (f"{name} loads {target}" for target in links.loaded if urlsplit(target).netloc)
        for target in links.targets:
            path = urlsplit(target)
            if path.scheme or path.netloc or not path.path:
                continue
            home = site if path.path.startswith("/") else page.parent
            if not (home / unquote(path.path).lstrip("/")).exists():
                yield f"{name} links to {target}, which is not there"
    for style in sorted(site.rglob("*.css")):
        text = style.read_text(encoding="utf-8")
        yield from (
            f"{style.relative_to(site)} loads {url}" for url in re.findall(r"url\([\"']?((?:https?:)?//[^)\"']+)", text)
        )


def main() -> None:
    """Build and check the site; the exit code is that of Zensical, or 1 where a page is wrong."""
    print(f"{stage(PAGES)} files", flush=True)
    shutil.rmtree(SITE, ignore_errors=True)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(built.stdout)
    if built.returncode:
        raise SystemExit(built.returncode)
    wrong = [*(line for line in built.stdout.splitlines() if not QUIET.fullmatch(line.strip())), *faults(SITE)]
    print("\n".join([*wrong, f"{SITE / 'index.html'}: {len(wrong)} faults"]))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
