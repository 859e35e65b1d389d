"""Reading of names from left to right, so that an error can point at a character."""

from __future__ import annotations

import re
from functools import cache
from typing import Never

from rksearch.arch.spec import MAX_NUMBER
from rksearch.errors import SpecError


class ReadError(SpecError):
    """Spec error that already points into the name."""


class Reader:
    """Name with a position in it.

    Attributes:
        name: the text that is read.
        at: index of the next character.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.at = 0

    def literal(self, text: str) -> None:
        """Step over `text`, which must come next."""
        if not self.optional(text):
            self.fail(f"expected {text!r}")

    def optional(self, text: str) -> bool:
        """Step over `text` where it comes next; returns whether it did."""
        found = self.name.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def integer(self, what: str) -> int:
        """Read a whole number from 1 to `MAX_NUMBER`."""
        digits = self.pattern(r"[1-9][0-9]{0,5}(?![0-9])")
        if not digits:
            self.fail(f"expected {what}, a whole number from 1 to {MAX_NUMBER} without leading zeros")
        return int(digits)

    def integers(self, what: str) -> list[int]:
        """Read whole numbers that are separated by `_`."""
        numbers = [self.integer(what)]
        while self.optional("_"):
            numbers.append(self.integer(what))
        return numbers

    def decimal(self, what: str) -> float:
        """Read a positive number below 1000 with at most three decimals, written without needless zeros."""
        start = self.at
        digits = self.pattern(r"(?:0|[1-9][0-9]{0,2})(?:\.[0-9]{0,2}[1-9])?(?![0-9])")
        if not digits or float(digits) == 0.0:
            self.at = start
            self.fail(f"expected {what}, a number from 0.001 to 999.999 with at most three decimals")
        return float(digits)

    def word(self) -> str:
        """Read lower-case letters and digits, a letter first; returns the empty string where none come next."""
        return self.pattern(r"[a-z][a-z0-9]*")

    def pattern(self, expression: str) -> str:
        """Read a match of the regular expression; returns the empty string where there is none."""
        found = _compiled(expression).match(self.name, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found.group()

    def fail(self, rule: str) -> Never:
        """Raise a spec error that states the rule and points at the current position."""
        rest = self.name[self.at :]
        found = repr(rest) if rest else "the end"
        raise ReadError(f"bad architecture name {self.name!r} at character {self.at + 1} ({found}): {rule}")


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)
