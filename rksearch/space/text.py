"""Description of a space in words, for `rksearch space show`."""

from __future__ import annotations

from collections.abc import Iterable

from rksearch.arch.period import LEARNED
from rksearch.errors import coded
from rksearch.space.counting import Member
from rksearch.space.definition import SpaceDefinition
from rksearch.space.space import Space

REJECTION_WORDS = {
    "too_few_params": "too few params",
    "too_many_params": "too many params",
    "too_few_macs": "too few MACs",
    "too_many_macs": "too many MACs",
    "too_shallow": "too shallow",
    "too_deep": "too deep",
}


HISTOGRAM_WIDTH = 40
"""Characters of the longest bar."""


def describe_space(space: Space) -> str:
    """Choices, size, budgets, extremes and training of a space, in about 30 lines."""
    definition = space.definition
    lines = [f"{space.name}: {definition.description}" if definition.description else space.name, ""]
    lines += _table([("data set", definition.dataset.name), *_choices(definition)])
    lines += ["", *_table(_sizes(space)), "", *_table(_extremes(space)), ""]
    lines += ["  feasible, by params:", *_table(_histogram(space)), ""]
    recipe = definition.recipe
    images = (
        "all training images" if definition.train_images is None else f"{definition.train_images:,} training images"
    )
    lines += _table(
        [
            ("compared by", definition.search.metric.title),
            ("recipe", f"{recipe.name}, {recipe.epochs} epochs of {images}, batch {recipe.batch_size}"),
            ("trials", f"{definition.trials} candidates"),
            ("seeds", f"{definition.search_seeds} in the search, {definition.final_seeds} on the front"),
            ("baselines", _listed(definition.baselines)),
            ("known", _listed(definition.known)),
        ]
    )
    # Descriptions and names of files may hold what a terminal takes for commands.
    return "\n".join(map(coded, "\n".join(lines).split("\n")))


def _choices(definition: SpaceDefinition) -> list[tuple[str, str]]:
    if definition.architectures:
        return [("architectures", f"{len(definition.architectures)} listed")]
    rows = [("families", ", ".join(definition.families)), ("growth rate k", _listed(definition.growth_rates))]
    for i, p in enumerate(definition.periods, 1):
        parts = [f"{name} {_listed(values)}" for name, values in (("m", p.m), ("s", p.s), ("r", p.r)) if values]
        parts.append(f"share {', '.join('yes' if share else 'no' for share in p.share)}")
        parts += [f"method {_listed(p.method)}"] if p.method != (LEARNED,) else []
        rows.append((f"period {i}", " | ".join(parts)))
    return rows + [("constraint", constraint.line) for constraint in definition.constraints]


def _histogram(space: Space) -> list[tuple[str, str]]:
    """A bar per tenth of a decade of params."""
    edges, counts = space.histogram
    most, digits = max(counts), len(f"{edges[-1]:,}")
    return [
        (f"to {edge:>{digits},} params", f"{'#' * -(-HISTOGRAM_WIDTH * count // most):{HISTOGRAM_WIDTH}}  {count:,}")
        for edge, count in zip(edges[1:], counts, strict=True)
    ]


def _sizes(space: Space) -> list[tuple[str, str]]:
    definition = space.definition
    out = space.canonical_size - len(space)
    rows = [
        ("combinations", f"{space.raw_size:,}"),
        ("different networks", f"{space.canonical_size:,} (equivalent ones counted once)"),
        ("budget on params", str(definition.params)),
        ("budget on MACs", str(definition.macs)),
        ("budget on depth", str(definition.depth)),
        ("feasible", f"{len(space):,} ({100 * len(space) / space.canonical_size:.1f} % of the different networks)"),
        ("rejected", f"{out:,}" + (", of which (one may break two budgets):" if out else "")),
    ]
    return rows + [(f"  {REJECTION_WORDS[key]}", f"{count:,}") for key, count in space.rejected.items() if count]


def _extremes(space: Space) -> list[tuple[str, str]]:
    ends: dict[str, Member] = {
        "fewest params": space.smallest,
        "most params": space.largest,
        "fewest MACs": space.fewest_macs,
        "most MACs": space.most_macs,
    }
    width = max(len(member.name) for member in ends.values())
    return [(label, f"{m.name:{width}}  {m.params:>11,} params  {m.macs:>13,} MACs") for label, m in ends.items()]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(label) for label, _ in rows)
    return [f"  {label:{width}}  {value}".rstrip() for label, value in rows]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"
