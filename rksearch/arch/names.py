"""From a name to a spec."""

from __future__ import annotations

import re

from rksearch.arch.families import FAMILIES
from rksearch.arch.family import Family
from rksearch.arch.reader import Reader, ReadError
from rksearch.arch.spec import ArchSpec
from rksearch.errors import SpecError, nearest


def parse(name: str) -> ArchSpec:
    """The spec whose canonical name is `name`.

    Raises:
        SpecError: the name is malformed; the message says what was expected and at which character.
    """
    reader = Reader(name)
    family = _family(reader)
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


def _family(reader: Reader) -> Family:
    """The family with the longest head that the name begins with; the first of several with the same head."""
    name, found = reader.name, None
    for family in FAMILIES:
        if name.startswith(f"{family.head}-") and (found is None or len(family.head) > len(found.head)):
            found = family
    return found or _family_of_word(reader)


def _family_of_word(reader: Reader) -> Family:
    """The family whose head is the name's first word, for a name that its head alone does not fit."""
    words = list(dict.fromkeys(family.head.partition("-")[0] for family in FAMILIES))
    start = re.match(r"[A-Za-z]*", reader.name)
    word = start.group() if start else ""
    for family in FAMILIES:
        if family.head == word:
            return family
    reader.fail(
        f"a name starts with {', '.join(words)}{nearest(word, words)}; for example RKNet-BC-k12-m2_9_12-1x8s_1x2_1x2"
    )
