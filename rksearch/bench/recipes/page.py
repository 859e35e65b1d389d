"""Output of a comparison of recipes: a page in Markdown with a picture, and the numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rksearch.bench.estimates import Estimate
from rksearch.bench.recipes.gaps import family_gaps
from rksearch.bench.recipes.gaps_in_words import gap_section, gap_sentence
from rksearch.bench.recipes.judging import Correlation, Length, RecipeStanding, recipe_standings
from rksearch.bench.recipes.picture import drawn
from rksearch.bench.recipes.trainings import RecipeConditions, RecipeTraining
from rksearch.bench.store import require_own_page
from rksearch.ordinary import write_atomically
from rksearch.recipes.recipe import Recipe
from rksearch.report import text
from rksearch.results.environment import code_in_words, with_short_hash

TITLE, NUMBERS, PICTURE = "# Recipes, measured", "recipes.json", "errors.svg"


def require_own_files(out: Path) -> None:
    """Make sure that a directory holds no file that `write_recipes` would replace and did not write.

    Raises:
        TakenError: it holds one.
    """
    require_own_page(out, TITLE, NUMBERS, [PICTURE])


def write_recipes(
    found: Sequence[Length],
    trainings: Sequence[RecipeTraining],
    conditions: RecipeConditions,
    out: Path,
    environment: Mapping[str, Any],
) -> list[Path]:
    """Write `README.md`, `recipes.json` and the picture; returns their paths."""
    files = {
        "README.md": markdown(found, trainings, conditions, environment),
        NUMBERS: json.dumps(to_json(found, trainings, conditions, environment), indent=2) + "\n",
    }
    for name, content in files.items():
        write_atomically(out / name, content.encode())
    write_atomically(out / PICTURE, drawn(found))
    return [*(out / name for name in files), out / PICTURE]


def to_json(
    found: Sequence[Length],
    trainings: Sequence[RecipeTraining],
    conditions: RecipeConditions,
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """The numbers and the conditions, as plain values."""
    times = _time_conditions(trainings)
    return {
        "conditions": conditions.record(),
        **({"times_mix": times} if len(times) > 1 else {}),
        "lengths": [asdict(length) for length in found],
        "networks": [asdict(standing) for standing in recipe_standings(trainings, _recipes(found))],
        "gaps": [asdict(gap) for gap in family_gaps(trainings, _recipes(found), conditions.dataset)],
        "environment": dict(environment),
    }


def lengths_text(found: Sequence[Length]) -> str:
    """The table for a terminal."""
    return text.aligned([HEAD, *(_cells(length) for length in found)])


def markdown(
    found: Sequence[Length],
    trainings: Sequence[RecipeTraining],
    conditions: RecipeConditions,
    environment: Mapping[str, Any],
) -> str:
    """The page."""
    networks = sorted({one.arch for one in trainings})
    first, longest = found[0].recipe, max(length.epochs for length in found)
    images = "all images" if conditions.train_images is None else f"{conditions.train_images:,} images"
    seeds = max(length.seeds for length in found if length.epochs == longest)
    gaps = family_gaps(trainings, _recipes(found), conditions.dataset)
    parts = [
        TITLE,
        _differences_of_recipes({key: conditions.recipes[key] for key in _recipes(found)}),
        *_sentences(found, first, longest, _time_conditions(trainings)),
        *gap_sentence(gaps, networks, seeds),
        f"![Validation error against training time, a line for each recipe]({PICTURE})",
        text.markdown_table(HEAD, [_cells(length) for length in found]),
        f"*Error*: mean over {text.count(len(networks), 'network')} of the top-1 validation error after the last "
        f"epoch. *Against {first}*: difference at the same number of epochs, with its 95 % interval over the networks "
        f"(Student's t). *Time*: mean of a training with its validations. *Ranks*: {_ranks_words(longest, seeds)} "
        f"*Order of {first}*: Spearman's correlation of the networks' errors with those by {first} at the same number "
        f"of epochs. All recipes train with the same seeds, and so from the same initial weights: this correlation is "
        f"higher than that of separate trainings. The intervals of correlations are Bonett and Wright's, "
        f"for five networks or more.",
        f"## Each network after {longest} epochs",
        _networks_table(recipe_standings(trainings, _recipes(found))),
        "Top-1 validation error in percent (mean, and each seed where there are several), and the network's rank by "
        "that recipe in brackets.",
        *gap_section(gaps, longest),
        "## What was trained",
        f"{text.count(len(trainings), 'training')} on {conditions.dataset}, {images} an epoch, device "
        f"{conditions.device}, {_time_words(conditions)}.{_mixed_words(trainings)} "
        f"The networks: {', '.join(f'`{name}`' for name in networks)}.",
        *_failures(trainings),
        "## Again",
        f"```sh\n{' '.join(environment['command'])}\n```",
        "Every training is a line of `trainings.jsonl`, written as it ended with the commit that made it; the same "
        "command trains what is missing there.",
        _made_with(environment),
    ]
    return "\n\n".join(parts) + "\n"


HEAD = (
    "Recipe", "Epochs", "Error, %", "Against the first, points", "Time, s", "Ranks", "Against the first",
    "Order of the first",
)  # fmt: skip


def _cells(length: Length) -> tuple[str, ...]:
    return (
        length.recipe,
        f"{length.epochs}",
        f"{length.val_error_pct:.2f}",
        _difference(length.against_first),
        f"{length.time_s:.1f}",
        _correlation(length.ranks),
        _difference(length.ranks_against_first),
        _correlation(length.order_of_first),
    )


def _recipes(found: Sequence[Length]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(length.recipe for length in found))


def _networks_table(found: Sequence[RecipeStanding]) -> str:
    recipes = tuple(dict.fromkeys(standing.recipe for standing in found))
    rows: dict[str, list[str]] = {}
    for standing in found:
        seeds = standing.val_errors_pct
        each = f"; {', '.join(f'{error:.2f}' for error in seeds)}" if len(seeds) > 1 else ""
        rows.setdefault(standing.arch, []).append(f"{standing.val_error_pct:.2f}{each} ({standing.rank:g})")
    return text.markdown_table(("Network", *recipes), [(arch, *cells) for arch, cells in rows.items()])


def _difference(found: Estimate | None) -> str:
    if found is None:
        return text.MISSING
    return f"{text.points(found.value)} ({text.points(found.low)} to {text.points(found.high)})"


def _correlation(found: Correlation | None) -> str:
    if found is None:
        return text.MISSING
    # Adding zero turns the -0.00 of a rounded negative into 0.00.
    value, *ends = (f"{round(number, 2) + 0.0:.2f}" for number in (found.value, *(found.interval or ())))
    return (f"{value} ({' to '.join(ends)})" if ends else value).replace("-", "−")


def _ranks_words(longest: int, seeds: int) -> str:
    """What the column of ranks holds."""
    return (
        f"Spearman's correlation of the networks' errors with those after {longest} epochs of the same recipe "
        f"({text.count(seeds, 'seed')} each, which no shorter training has); for those after {longest} epochs "
        + ("of their first seed with the mean of the others." if seeds > 1 else "there is none.")
    )


def _differences_of_recipes(recipes: Mapping[str, Recipe]) -> str:
    """A line that says in what each recipe differs from the first, the length aside, which is each training's own."""
    (first, reference), *others = recipes.items()
    terms = [field.name for field in fields(Recipe) if field.name not in ("name", "epochs")]
    parts = []
    for key, own in others:
        values = [(name, getattr(own, name), getattr(reference, name)) for name in terms]
        changed = [f"{name} {_value(now)} ({_value(before)})" for name, now, before in values if now != before]
        parts.append(f"`{key}` {text.listing(changed) if changed else 'nothing'}")
    return f"What differs from `{first}`, whose values are in brackets: {'; '.join(parts)}."


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "/".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _sentences(found: Sequence[Length], first: str, longest: int, times: Sequence[str]) -> list[str]:
    """What the intervals separate, a sentence for each recipe but the first.

    The longest trainings say nothing of ranks: there it is the agreement of a recipe's own seeds. `times` are the
    conditions of their times, which compare recipes only where they are the same.
    """
    parts = []
    aside = "not side by side: a difference of some percent says nothing"
    if len(times) > 1:
        aside = "times are of different conditions, which are named below: the ratios say nothing of the recipes"
    for recipe in _recipes(found)[1:]:
        own = [length for length in found if length.recipe == recipe]
        errors = [(length.epochs, length.against_first) for length in own]
        ranks = [
            (length.epochs, length.ranks_against_first)
            for length in own
            if length.epochs < longest and length.ranks_against_first is not None
        ]
        said = f"`{recipe}` has {_separated(errors, ('a lower error', 'a higher error'))} than `{first}` at the same "
        said += "number of epochs, "
        said += f"{_separated(ranks, ('worse ranks', 'better ranks'))}, and took " if ranks else "and took "
        ratios = text.listing([f"{length.time_ratio:.2f}" for length in own])
        parts.append(f"{said}{ratios} of its time ({aside}).")
    return parts


def _separated(found: Sequence[tuple[int, Estimate | None]], words: tuple[str, str]) -> str:
    """Words for differences below and above zero, with the lengths at which the interval leaves out zero."""
    below = [str(epochs) for epochs, own in found if own is not None and own.high < 0]
    above = [str(epochs) for epochs, own in found if own is not None and own.low > 0]
    parts = [
        f"{word} after {text.listing(lengths)} epochs"
        for word, lengths in zip(words, (below, above), strict=True)
        if lengths
    ]
    return text.listing(parts) if parts else f"neither {words[0]} nor {words[1].removeprefix('a ')} beyond chance"


def _failures(trainings: Sequence[RecipeTraining]) -> list[str]:
    failed = [one for one in trainings if one.failure]
    if not failed:
        return []
    return [
        "Failed, and counted with an error of 100 %: "
        + "; ".join(f"`{one.arch}` by {one.recipe}, {one.epochs} epochs ({one.failure})" for one in failed)
        + "."
    ]


def _time_words(conditions: RecipeConditions) -> str:
    if conditions.device == "cpu":
        return "one thread a training; times are the processor's"
    return "times are those of the clock"


def _time_conditions(trainings: Sequence[RecipeTraining]) -> list[str]:
    """Conditions of the trainings' times in words, those that are not recorded last."""
    found = {(one.processor, one.jobs) for one in trainings}
    known = sorted((own, jobs) for own, jobs in found if own is not None and jobs is not None)
    words = [f"{own} with {text.count(jobs, 'training')} at a time" for own, jobs in known]
    return words + (["conditions that are not recorded"] if len(known) < len(found) else [])


def _mixed_words(trainings: Sequence[RecipeTraining]) -> str:
    """A sentence where times are of different conditions; none where they are not."""
    found = _time_conditions(trainings)
    return f" Times are of {text.listing(found)}." if len(found) > 1 else ""


def _made_with(environment: Mapping[str, Any]) -> str:
    commits = ", ".join(with_short_hash(code, 12) for code in environment["trained_with"])
    page = code_in_words(environment["commit"] or "no commit", environment.get("dirty"))
    return f"Trained with {commits}; page by {page}, torch {environment['torch']}, {environment['cpu']}."
