"""From a name to a spec."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rksearch.arch.families import FAMILIES
from rksearch.arch.family import Family
from rksearch.arch.reader import Reader, ReadError
from rksearch.arch.spec import ArchSpec
from rksearch.errors import SpecError, nearest

REMEMBERED = 2**14
"""Number of names whose specs are remembered: a report reads each name of its run several times."""


def parse(name: str) -> ArchSpec:
    """The spec whose canonical name is `name`.

    Raises:
        SpecError: the name is malformed; the message says what was expected and at which character.
    """
    return _parsed(name, tuple(map(_Same, FAMILIES)))


class _Same:
    """A family that is equal to itself alone: those of plugins need neither equality nor a hash."""

    __slots__ = ("family",)

    def __init__(self, family: Family) -> None:
        self.family = family

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.family is self.family

    def __hash__(self) -> int:
        return id(self.family)


@lru_cache(maxsize=REMEMBERED)
def _parsed(name: str, families: tuple[_Same, ...]) -> ArchSpec:
    """The spec of a name by these families; errors are not remembered."""
    reader = Reader(name)
    family = _family(reader, [own.family for own in families])
    reader.at = len(family.head)
    try:
        spec = family.read(reader)
    except ReadError:
        raise
    except SpecError as error:
        raise SpecError(f"bad architecture name {name!r}: {error}") from None
    if reader.at != len(name):
        reader.fail("expected the end of the name")
    return spec


def _family(reader: Reader, families: Sequence[Family]) -> Family:
    """The family with the longest head that the name begins with; the first of several with the same head."""
    name, found = reader.name, None
    for family in families:
        if name.startswith(f"{family.head}-") and (found is None or len(family.head) > len(found.head)):
            found = family
    return found or _family_of_word(reader, families)


def _family_of_word(reader: Reader, families: Sequence[Family]) -> Family:
    """The family whose head is the name's first word, for a name that its head alone does not fit."""
    words = list(dict.fromkeys(family.head.partition("-")[0] for family in families))
    start = re.match(r"[A-Za-z]*", reader.name)
    word = start.group() if start else ""
    for family in families:
        if family.head == word:
            return family
    reader.fail(
        f"a name starts with {', '.join(words)}{nearest(word, words)}; for example RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2"
    )
