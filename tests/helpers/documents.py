"""The Markdown documents of the repository: their fenced blocks, the commands in them, their links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

SHELLS = ("bash", "console", "sh", "shell")
"""Languages of the blocks that hold commands; those of `console` stand behind `$ `."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)


def documents() -> list[Path]:
    """Every document that users read: not the tests' own, not templates."""
    own = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "search_spaces").glob("*.md")]
    own += [
        *(ROOT / "hub").rglob("*.md"),
        *(ROOT / "reports").rglob("*.md"),
        ROOT / "rksearch" / "recipes" / "README.md",
    ]
    return sorted(own)


def title(path: Path) -> str:
    """Its path in the repository."""
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str, section: str | None = None, indented: bool = True) -> list[str]:
    """Bodies of the fenced blocks of these languages, without the indentation of the fence.

    Args:
        path: the document.
        languages: as the fences name them.
        section: heading of the only section that is read; None for all.
        indented: whether blocks within lists count.
    """
    text = path.read_text(encoding="utf-8")
    if section is not None:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = []
    for fence in FENCE.finditer(text):
        if fence["language"] in languages and (indented or not fence["indent"]):
            found.append(re.sub(rf"^{fence['indent']}", "", fence["body"], flags=re.MULTILINE))
    return found


def without_fences(path: Path) -> str:
    """The prose of a document: everything outside of fenced blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A simple command of a document.

    Attributes:
        document: path in the repository.
        words: program and arguments, without assignments of variables before them.
    """

    document: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def shell_lines(path: Path) -> Iterator[str]:
    """Lines of the shell blocks of a document in order, those that end in a backslash joined with the next one.

    Scripts (`#!`) are left out: they are run by tests of their own.
    """
    for body in blocks(path, *SHELLS):
        if body.startswith("#!"):
            continue
        lines = body.replace("\\\n", " ").splitlines()
        console = any(line.startswith("$ ") for line in lines)
        yield from (line.removeprefix("$ ") for line in lines if line.startswith("$ ") or not console)
    yield from re.findall(r"^ {4}(rksearch .*)$", without_fences(path), flags=re.MULTILINE)


def commands(path: Path) -> list[Command]:
    """The simple commands in the shell blocks of a document, in order."""
    return [Command(document=title(path), words=words) for line in shell_lines(path) for words in simple_commands(line)]


def simple_commands(line: str) -> list[tuple[str, ...]]:
    """The simple commands of a line: what stands between `&&`, `|`, `;` and `&`; redirections and comments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("&|;"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for own in found if (words := tuple(without_assignments(own)))]


def without_assignments(words: list[str]) -> list[str]:
    """The words from the program on: `A=1 uv run rksearch ...` and `rksearch ...` are one command."""
    while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0]):
        words = words[1:]
    while words[:2] == ["uv", "run"]:
        words = words[2:]
        while words and words[0].startswith("--"):
            words = words[2:]  # `--group docs`
    return words


def relative_links(path: Path) -> list[str]:
    """Targets of the links and pictures that lead into the repository, without anchors."""
    text = re.sub(r"`[^`\n]*`", "", without_fences(path))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    own = {target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)}
    return sorted(own - {""})


def inline_commands(path: Path) -> list[Command]:
    """The commands in prose: code spans that begin with `rksearch` and a space."""
    spans = re.findall(r"(?<!`)`(rksearch [^`]+)`(?!`)", without_fences(path))
    return [
        Command(document=title(path), words=words)
        for span in spans
        for words in simple_commands(re.sub(r"\s+", " ", span).replace("\\|", "|"))
        if words[0] == "rksearch"
    ]
