"""Names to start from: the rows of the paper's tables, and samples of every family."""

from __future__ import annotations

from fnmatch import fnmatchcase

from rksearch.arch.families import FAMILIES
from rksearch.arch.names import parse
from rksearch.arch.paper import paper_rows
from rksearch.errors import SpecError


def list_models(pattern: str = "*", *, family: str | None = None) -> list[str]:
    """Names that `rksearch.create` builds: every row of the paper's tables, and every family's samples.

    The families hold infinitely many more; see `rksearch.arch` for how names are formed.

    Args:
        pattern: shell wildcards, for example `RKNet-Res-*` or `*@rk4*`.
        family: key of a family.

    Returns:
        Names, each once: family by family, the paper's in its order first.

    Raises:
        SpecError: there is no such family, or the pattern is no text.
    """
    if not isinstance(pattern, str):
        raise SpecError(f"a pattern of names must be text, but got {pattern!r}; write it as in 'RKNet-Res-*'")
    chosen = [f.key for f in FAMILIES] if family is None else [FAMILIES.get(family).key]
    names = [*(row.arch for row in paper_rows()), *(name for f in FAMILIES for name in (f.sample, *f.relatives))]
    by_key: dict[str, list[str]] = {f.key: [] for f in FAMILIES}
    for name in dict.fromkeys(names):
        by_key[parse(name).family].append(name)
    return [name for key in chosen for name in by_key[key] if fnmatchcase(name, pattern)]
