"""Names of architectures in the form that timm uses, and back.

A name of rksearch is the head of its family and a rest: `RKNet-BC` and `-k12-m2_9_12-4x2s@rk4+tie+h0.5_1x2`. In timm's
form the head is in lower case, hyphens are underscores, underscores are doubled, and a decimal point is `p`, because
timm ends a name at a point: `rknet_bc_k12_m2__9__12_4x2s@rk4+tie+h0p5__1x2`. Everything else stays.
"""

from __future__ import annotations

import re

from rksearch.arch import FAMILIES, ArchSpec, parse
from rksearch.errors import SpecError


def timm_name(arch: str | ArchSpec) -> str:
    """Name of an architecture in timm's form; `arch_name` is the inverse.

    Raises:
        SpecError: the name is malformed, or has no such form that leads back to it (names of a plugin's family alone).
    """
    spec = parse(arch) if isinstance(arch, str) else arch
    name = str(spec)
    head = _head(name, {family.head: family.head for family in FAMILIES})
    found = _lowered(head) + _encoded(name.removeprefix(head))
    if _decoded(found) != name:
        raise SpecError(f"a name in timm's form must lead back to its architecture, but {found!r} does not to {name}")
    return found


def arch_name(name: str) -> str:
    """Name of the architecture whose name in timm's form this is.

    Raises:
        SpecError: no architecture has it.
    """
    found = str(parse(_decoded(name)))
    if timm_name(found) != name:
        raise SpecError(f"{found} is named {timm_name(found)!r} in timm's form, but got {name!r}")
    return found


def is_timm_name(name: str) -> bool:
    """Whether an architecture has this name in timm's form."""
    try:
        return bool(arch_name(name))
    except SpecError:
        return False


def _decoded(name: str) -> str:
    heads = {_lowered(family.head): family.head for family in FAMILIES}
    head = _head(name, heads)
    rest = re.sub(r"__|_", lambda match: "_" if match[0] == "__" else "-", name.removeprefix(head))
    return heads[head] + re.sub(r"(?<=\d)p(?=\d)", ".", rest)


def _encoded(rest: str) -> str:
    doubled = rest.replace("_", "__").replace("-", "_")
    return re.sub(r"(?<=\d)\.(?=\d)", "p", doubled)


def _lowered(head: str) -> str:
    return head.lower().replace("-", "_")


def _head(name: str, heads: dict[str, str]) -> str:
    """The longest head that a name begins with, at the end of a word.

    Raises:
        SpecError: there is none.
    """
    fitting = [head for head in heads if re.match(re.escape(head) + r"(?![A-Za-z0-9])", name)]
    if not fitting:
        raise SpecError(f"a name begins with the head of a family ({', '.join(heads)}), but got {name!r}")
    return max(fitting, key=len)
