"""A YAML document whose values keep their lines, so that an error can name the line.

The document is composed into nodes rather than constructed into Python values: constructing would lose the lines,
accept a key given twice, and read `010` as eight. `Entry` gives typed access to one node; a value of
another type becomes a `SpaceError` of one line: file, line, key, rule, value, remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

import yaml

from rksearch.errors import SpaceError, nearest
from rksearch.ordinary import read_ordinary

T = TypeVar("T")

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*(?:_[0-9]+)*)")
_QUANTITY = re.compile(r"([0-9]{1,40}(?:\.[0-9]{1,40})?) ?([kMG])")
_UNITS = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
MOST_BYTES = 500_000
"""Largest document that is read: each value of a document takes about a kilobyte of memory."""

BYTE_ORDER_MARK = "\ufeff"
"""First character of a file that Windows Notepad has saved as "UTF-8 with BOM"."""

DEEPEST = 50
"""Deepest nesting of a document; libyaml's composer ends the process at some thousands."""

LONGEST_NUMBER = 60
"""Longest whole number, in characters; Python reads none of over 4,300 digits."""

_LONGEST_SNIPPET = 60
"""Maximum number of characters of the file that an error repeats."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: the same nodes and marks, faster."""


@dataclass(frozen=True, slots=True)
class Source:
    """Origin of a document: the file name that errors show, and the text."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a document, and the words that errors call it by (`m of period 2`)."""

    source: Source
    label: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """Line of the file on which the value begins, counted from 1."""
        return int(self.node.start_mark.line) + 1

    def error(self, rule: str, remedy: str = "") -> SpaceError:
        """An error about this value: the rule that must hold, the text of the file, and the remedy."""
        text = self.source.text[self.node.start_mark.index : self.node.end_mark.index]
        value = " ".join(text.split()) or "nothing"
        if len(value) > _LONGEST_SNIPPET:
            value = value[: _LONGEST_SNIPPET - 3] + "..."
        return self.complaint(f"{rule}, but got {value}", remedy)

    def complaint(self, problem: str, remedy: str = "") -> SpaceError:
        """An error about this value whose text already names the value."""
        tail = f"; {remedy}" if remedy else ""
        return SpaceError(f"{self.source.file}:{self.line}: {self.label}: {problem}{tail}")

    @property
    def is_mapping(self) -> bool:
        """Whether the value holds keys."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_null(self) -> bool:
        """Whether the value is empty, `null` or `~`."""
        return bool(self.node.tag == _TAG + "null")

    def mapping(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Entry]:
        """The values of a mapping by key, in the order of the file.

        Raises:
            SpaceError: not a mapping, an unknown key (the nearest known one is suggested), a key given twice, or a
                required one missing.
        """
        required = tuple(required)
        known = (*required, *optional)
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("must hold keys", f"write `key: value` lines with {', '.join(known)}")
        entries: dict[str, Entry] = {}
        for key_node, value_node in self.node.value:
            at_key = Entry(self.source, self.label, key_node)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key not in known:
                hint = nearest(key, known) if key else ""
                raise at_key.error(f"the keys are {', '.join(known)}", f"correct or remove it{hint}")
            if key in entries:
                raise at_key.complaint(f"{key} is given twice, first on line {entries[key].line}", "keep one")
            entries[key] = Entry(self.source, self._child(key), value_node)
        missing = [key for key in required if key not in entries]
        if missing:
            raise self.complaint(f"the key {missing[0]} is missing", f"add `{missing[0]}: ...`")
        return entries

    def items(self, what: str | None = None) -> list[Entry]:
        """The elements of a list; with `what` each is called by it and its number (`period 2`).

        Raises:
            SpaceError: not a list, or an empty one.
        """
        elements = self.possibly_no_items(what)
        if not elements:
            raise self.error("must list at least one value", "add one")
        return elements

    def possibly_no_items(self, what: str | None = None) -> list[Entry]:
        """The elements of a list, of which there may be none.

        Raises:
            SpaceError: not a list.
        """
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error("must be a list", "write it in brackets, as in [a, b]")
        return [
            Entry(self.source, f"{what} {i}" if what else self.label, node) for i, node in enumerate(self.node.value, 1)
        ]

    def choices(self, read: Callable[[Entry], T], *, allow_none: bool = False) -> tuple[T, ...]:
        """A list of different values, each read by `read`.

        Raises:
            SpaceError: not a list, an empty one (unless `allow_none`), or a value listed twice.
        """
        values: dict[T, None] = {}
        for item in self.possibly_no_items() if allow_none else self.items():
            value = read(item)
            if value in values:
                raise item.error("every value may be listed once", "remove the repetition")
            values[value] = None
        return tuple(values)

    def integer(self, low: int, high: int | None = None) -> int:
        """A whole number within the bounds.

        Raises:
            SpaceError: another type, written in another base, or out of bounds.
        """
        bounds = f"from {low:,} to {high:,}" if high is not None else f"of at least {low:,}"
        rule = f"must be a whole number {bounds}"
        if not self._plain("int") or not _INTEGER.fullmatch(self._scalar()):
            raise self.error(rule, "write digits alone, as in 12 or 400_000")
        value = int(self._scalar()) if len(self._scalar()) <= LONGEST_NUMBER else None
        if value is None or value < low or (high is not None and value > high):
            raise self.error(rule, f"choose a number {bounds}")
        return value

    @property
    def names_architecture(self) -> bool:
        """Whether the value is a word that begins as the names of architectures do, rather than a number."""
        return isinstance(self.node, yaml.ScalarNode) and bool(re.match(r"[A-Z][A-Za-z]+-", self._scalar()))

    def quantity(self, low: int, high: int) -> int:
        """A whole number within the bounds, with or without a unit: `800_000`, `800k`, `0.8M`, `1.5G`.

        Raises:
            SpaceError: another type, an unknown unit, no whole number, or out of bounds.
        """
        written = _QUANTITY.fullmatch(self._scalar()) if self._plain("int", "float", "str") else None
        if not written:
            if self._plain("int"):
                return self.integer(low, high)
            raise self.error(
                "must be a whole number, with k, M or G where wanted", "write it as in 800_000, 800k, 0.8M or 1.5G"
            )
        value = Decimal(written.group(1)) * _UNITS[written.group(2)]
        if value != int(value) or not low <= value <= high:
            raise self.error(f"must be a whole number from {low:,} to {high:,}", "choose such a number")
        return int(value)

    def number(self) -> float:
        """A finite number, in decimal or exponent notation.

        Raises:
            SpaceError: another type.
        """
        try:
            # YAML 1.1 reads 1e-4 (no dot) as a string, but a number is meant; digits of other scripts are none of YAML.
            plain = self._plain("int", "float", "str") and self._scalar().isascii()
            value = float(self._scalar()) if plain else float("nan")
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise self.error("must be a number", "write it as in 0.1 or 1e-4")
        return value

    def boolean(self) -> bool:
        """True or false.

        Raises:
            SpaceError: another type.
        """
        words = {"true": True, "false": False}
        word = self._scalar().lower()
        if not self._plain("bool") or word not in words:
            raise self.error("must be true or false", "write true or false, without quotes")
        return words[word]

    def text(self) -> str:
        """A string.

        Raises:
            SpaceError: another type.
        """
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != _TAG + "str":
            raise self.error("must be text", "write words, in quotes where YAML would read a number or true")
        return str(self.node.value)

    def one_of(self, known: Iterable[str]) -> str:
        """One of the words of a fixed list.

        Raises:
            SpaceError: another word.
        """
        known = tuple(known)
        word = self.text()
        if word not in known:
            hint = nearest(word, known)
            raise self.error(f"must be one of {', '.join(known)}", f"choose one of these{hint}")
        return word

    def _scalar(self) -> str:
        return str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else ""

    def _plain(self, *tags: str) -> bool:
        """Whether the value is an unquoted scalar that YAML takes for one of the types."""
        node = self.node
        return isinstance(node, yaml.ScalarNode) and not node.style and node.tag in {_TAG + tag for tag in tags}

    def _child(self, key: str) -> str:
        return key if self.label in ROOTS else f"{key} of {self.label}"


ROOTS = {"space file": "dataset: cifar10", "recipe file": "epochs: 30"}
"""Labels of the document itself in errors, by what it describes, each with a key to start such a file with."""


def read_document(text: str, file: str, kind: str = "space file") -> Entry:
    """The root of the YAML document `text`, which errors say comes from `file`.

    Args:
        text, file: text of the document, which may begin with a byte order mark, and the file that errors name.
        kind: what the document describes, one of `ROOTS`.

    Raises:
        SpaceError: not YAML, empty, or more than one document.
    """
    # libyaml reads past the mark without counting it, so that values would be shown a letter late.
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        _check_depth(text, file, kind)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(error, file) from None
    if node is None:
        raise SpaceError(f"{file}: a {kind} must hold keys, but it is empty; start with `{ROOTS[kind]}`")
    return Entry(Source(file, text), kind, node)


def _check_depth(text: str, file: str, kind: str) -> None:
    """Make sure that a document is not nested so deeply that composing it would fail.

    Raises:
        SpaceError: it is.
        yaml.YAMLError: it is not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise SpaceError(
                f"{file}:{line}: a {kind} may be {DEEPEST} levels deep, but this is deeper; write plain lists"
            )


def read_text(path: Traversable, shown: str, kind: str = "space file") -> str:
    """Text of a file that errors call `shown`.

    Raises:
        SpaceError: it cannot be read, is no ordinary file or too large, or is not UTF-8.
    """
    try:
        content = read_ordinary(path, MOST_BYTES) if isinstance(path, Path) else path.read_bytes()
        return content.decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpaceError(f"cannot read the {kind} {shown}: {reason}; check the path") from None
    except UnicodeDecodeError as error:
        raise SpaceError(
            f"the {kind} {shown} must be UTF-8 text, but byte {error.start} is not; save it as UTF-8"
        ) from None


def is_path(wanted: str | Path) -> bool:
    """Whether what a command, a file or a program asks for is a path: it is one, has a `/`, or ends in `.yaml`."""
    text = str(wanted)  # from Python, anything may be asked for
    return isinstance(wanted, Path) or text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text


def _syntax_error(error: yaml.YAMLError, file: str) -> SpaceError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{file}:{mark.line + 1}" if mark else file
    problem = getattr(error, "problem", None) or str(error)
    column = f" at column {mark.column + 1}" if mark else ""
    return SpaceError(
        f"{where}: this is not YAML: {' '.join(problem.split())}{column}; check indentation, colons and brackets"
    )
