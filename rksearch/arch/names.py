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
    if not isinstance(name, str):
        raise SpecError(f"an architecture is given by its name, but got {type(name).__name__}; write it as text")
    return _parsed(name, tuple(map(id, FAMILIES)))[0]


@lru_cache(maxsize=REMEMBERED)
def _parsed(name: str, _: tuple[int, ...]) -> tuple[ArchSpec, tuple[Family, ...]]:
    """The spec of a name by the families of these identities, and the families, which so live as long as the entry.

    Families of plugins need neither equality nor a hash. Errors are not remembered.
    """
    families = tuple(FAMILIES)
    reader = Reader(name)
    family = _family(reader, families)
    reader.at = len(family.head)
    try:
        spec = family.read(reader)
    except ReadError:
        raise
    except SpecError as error:
        raise SpecError(f"bad architecture name {name!r}: {error}") from None
    if reader.at != len(name):
        reader.fail("expected the end of the name")
    return spec, families


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
