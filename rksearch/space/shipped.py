"""Spaces by name, for those that come with rksearch, and by path, for all others."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from rksearch.errors import SpaceError, nearest
from rksearch.ordinary import is_text
from rksearch.recipes.document import is_path, read_text
from rksearch.space.parsing import parse_space
from rksearch.space.space import Space

SUFFIX = ".yaml"


def shipped_spaces() -> tuple[str, ...]:
    """Names of the spaces that come with rksearch, sorted."""
    return tuple(sorted(item.name.removesuffix(SUFFIX) for item in _shelf().iterdir() if item.name.endswith(SUFFIX)))


def load_space(name_or_path: str | Path, *, samplers: Collection[str] | None = None) -> Space:
    """The space of a shipped name, or of a YAML file when given a path (anything with a `/` or ending in `.yaml`).

    Args:
        name_or_path: name or path.
        samplers: names of the known samplers, which the file may choose from; None to accept any.

    Raises:
        SpaceError: no such name or file, or a space file that breaks a rule.
    """
    wanted = str(name_or_path)
    if is_path(name_or_path):
        path = Path(name_or_path)
        if not is_text(wanted):
            raise SpaceError(f"a space file must have a path of UTF-8, but got {wanted!r}; rename it")
        text = read_text(path, wanted)
        return parse_space(text, name=path.stem, file=wanted, samplers=samplers, directory=path.parent)
    names = shipped_spaces()
    if wanted not in names:
        raise SpaceError(
            f"the shipped spaces are {', '.join(names)}, but got {wanted!r}{nearest(wanted, names)}; "
            f"for a file of your own give its path, ending in {SUFFIX}"
        )
    return parse_space(read_text(_shelf() / f"{wanted}{SUFFIX}", wanted), name=wanted, samplers=samplers)


def _shelf() -> Traversable:
    """The directory of shipped files: in the package when installed, beside the package in a checkout."""
    package = files("rksearch")
    inside = package / "search_spaces"
    if inside.is_dir():
        return inside
    beside = Path(str(package)).parent / "search_spaces"
    if not beside.is_dir():
        raise SpaceError(f"the shipped spaces are missing: neither {inside} nor {beside} exists; reinstall rksearch")
    return beside
