"""What the page's scripts know: networks as columns, curves, bands, drawings and published errors, as plain JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from rksearch.arch import Period, family_of, parse
from rksearch.arch.cost import Cost, cost
from rksearch.arch.image import ImageShape
from rksearch.arch.paper import PaperRow, paper_rows
from rksearch.data.facts import is_address
from rksearch.errors import RksearchError
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipes
from rksearch.report import text
from rksearch.report.drawing import GAP, MARGIN, PART_WIDTH, drawn_parts
from rksearch.report.figures import BAND_LABEL, CostAxis, costs_of, front_bands
from rksearch.results.columns import Metric, fresh
from rksearch.results.history import History, TrialRecord
from rksearch.results.summaries import ArchSummary, size_band
from rksearch.results.tables import Tables, methods_of

CURVE_POINTS = 400_000
"""Approximate number of points of all learning curves together."""

LEAST_POINTS = 8
"""Minimum number of points that are kept of a curve of at least as many."""

MOST_DRAWN = 1_000
"""Maximum number of networks whose drawing the page holds: those of the fronts and the baselines first."""

HUNDREDTHS = 100
"""Curves are whole hundredths of a percent: more would be invisible and make the page larger."""

DIGITS = 4
"""Decimals of all other numbers."""

ABSOLUTE = ("/", "~")
"""Beginnings of paths that lead to the same place from every directory."""


def page_data(history: History, tables: Tables) -> dict[str, Any]:
    """Everything that the scripts know, as values for JSON."""
    metrics = tables.arch_metrics
    items = {item.arch: item for item in tables.items}
    rows = [
        _complete(history, items[row.arch], {m.field: getattr(row, m.field) for m in metrics}) for row in tables.archs
    ]
    rows += _unfinished(history, items)
    fields = dict.fromkeys(field for row in rows for field in row)
    costs = costs_of(tables)
    epochs, curves = _curves(history, [row["arch"] for row in rows])
    bands = sorted({band for row in rows if row.get("params") for band in [size_band(row["params"])]})
    return {
        "values": {field: [_short(row.get(field)) for row in rows] for field in fields},
        "columns": [_column(metric, tables) for metric in metrics],
        "labels": {metric.field: metric.label for metric in metrics},
        "costs": [{"field": c.field, "label": c.label, "short": c.short} for c in costs],
        "errors": _errors(tables),
        "name": history.name,
        "running": history.state == "running",
        "sort": "params",
        "bands": [_band_name(band) for band in bands],
        "epochs": epochs,
        "curves": curves,
        "band": _bands(tables, costs),
        "band_label": BAND_LABEL,
        "published": _published(history),
        "drawings": _drawings(history, tables, [row["arch"] for row in rows]),
        "commands": _commands(history),
        "p_front_note": "P(front) is the probability, among the networks trained and given these seeds, of being on "
        "the front of true errors.",
    }


def to_script(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).translate(
        {ord("<"): "\\u003c", ord(">"): "\\u003e", 0x2028: "\\u2028", 0x2029: "\\u2029"}
    )


def _short(value: object) -> object:
    """The value as JSON may hold it: numbers rounded, what is not finite left out."""
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_short(v) for v in value]
    return value


def _column(metric: Metric, tables: Tables) -> dict[str, Any]:
    return {
        "field": metric.field,
        "label": metric.label,
        "kind": metric.kind,
        "sd": metric.sd,
        "note": metric.note,
        "column": metric.column,
        "hover": metric.hover,
        "number": metric.is_number,
        # A spread stands beside its mean, and the choices have a table of their own.
        "card": metric.field not in {"arch", "role", "m", "s", "r", "share", "method"}
        and metric.kind != "flag"
        and metric.field not in {m.sd for m in tables.arch_metrics},
    }


def _errors(tables: Tables) -> list[dict[str, Any]]:
    """The errors that a chart can show: validation, expected, and test where it was read.

    In a run with test errors of both kinds of training each kind is an error of its own: they are not compared.
    """
    metric = tables.metric
    fresh_field = fresh(metric.test_field)
    found: list[dict[str, Any]] = [
        {"field": metric.field, "label": metric.title.capitalize(), "short": "validation", "seeds": "seed_errors",
         "band": True},
        {"field": "expected_error_pct", "label": "Expected error", "short": "expected", "seeds": None, "band": True},
        {"field": metric.test_field, "label": metric.test_title.capitalize(), "short": "test",
         "seeds": "seed_test_errors", "band": False},
        {"field": fresh_field, "label": f"{metric.test_title.capitalize()}, fresh trainings", "short": "test, fresh",
         "seeds": fresh("seed_test_errors"), "band": False},
    ]  # fmt: skip
    return [error for error in found if any(getattr(row, error["field"]) is not None for row in tables.archs)] or found[
        :1
    ]


def _complete(history: History, item: ArchSummary, values: Mapping[str, Any]) -> dict[str, Any]:
    is_fresh = values.get(fresh(item.metric.test_field)) is not None
    return {
        **values,
        "status": "complete",
        "band": _band_name(size_band(max(1, item.params))),
        "trial": item.trial_ids[0],
        "counted": history.trials[item.trial_ids[0]][1].witness.agree,
        "seed_errors": item.errors_pct,
        fresh("seed_test_errors") if is_fresh else "seed_test_errors": item.tested_errors_pct,
    }


def _unfinished(history: History, items: Mapping[str, ArchSummary]) -> list[dict[str, Any]]:
    """Networks without a complete training: pruned, failed, paused and running ones."""
    found: dict[str, dict[str, Any]] = {}
    for pairs, status in ((history.paused, "paused"), (history.failed, "failed"), (history.pruned, "pruned")):
        for pair in pairs.values():
            if pair[0].arch not in items:
                found[pair[0].arch] = _stopped(history, pair, status)
    return [found[arch] for arch in sorted(found)]


def _stopped(history: History, pair: TrialRecord, status: str) -> dict[str, Any]:
    spec, result = pair
    architecture = parse(spec.arch)
    family = family_of(architecture)
    periods = family.periods(architecture)
    last = result.epochs[-1].error_pct(history.metric) if result.epochs else None
    return {
        "arch": spec.arch,
        "family": architecture.family,
        "role": spec.role,
        "on_front": False,
        "on_macs_front": False,
        "growth_rate": family.growth_rate(architecture),
        "m": tuple(p.m for p in periods if isinstance(p, Period)),
        "s": tuple(p.s for p in periods),
        "r": tuple(p.r for p in periods),
        "share": tuple("yes" if p.share else "no" for p in periods),
        "method": methods_of(periods),
        "params": result.params,
        "macs": result.macs,
        history.metric.field: last,
        "status": status,
        "band": _band_name(size_band(result.params)) if result.params else None,
        "trial": None,
        "epochs": len(result.epochs),
        "message": result.message,
        "seed_errors": (),
        "seed_test_errors": (),
    }


def _band_name(band: tuple[int, int]) -> str:
    return f"{text.tick(band[0])}–{text.tick(band[1])}"


def _curves(history: History, archs: Sequence[str]) -> tuple[dict[str, list[int]], list[list[list[int | None]]]]:
    """Epochs that are kept of a curve, by its length; and by architecture its curves: replicate, length, whether the
    training is complete (1 or 0), errors."""
    place = {arch: i for i, arch in enumerate(archs)}
    pairs = [*history.trials.values(), *history.paused.values()]
    pairs = [(s, r) for s, r in pairs if r.epochs and s.role != "final" and s.arch in place]
    each = max(LEAST_POINTS, CURVE_POINTS // max(1, len(pairs)))
    kept: dict[str, list[int]] = {}
    curves: list[list[list[int | None]]] = [[] for _ in archs]
    metric, finite = history.metric, math.isfinite
    for spec, result in pairs:
        length = len(result.epochs)
        if (indices := kept.get(str(length))) is None:
            indices = kept[str(length)] = _spaced(length, each)
        errors = [result.epochs[i - 1].error_pct(metric) for i in indices]
        whole = [round(HUNDREDTHS * error) if finite(error) else None for error in errors]
        curves[place[spec.arch]].append([spec.replicate, length, int(result.status == "complete"), *whole])
    return kept, curves


def _spaced(length: int, most: int) -> list[int]:
    """At most `most` of the epochs 1, ..., `length`, the first and the last among them."""
    if length <= most:
        return list(range(1, length + 1))
    return sorted({1 + round(i * (length - 1) / (most - 1)) for i in range(most)})


def _bands(tables: Tables, costs: Iterable[CostAxis]) -> dict[str, Any]:
    found = {}
    for axis in costs:
        right = max((axis.cost(item) for item in tables.items if axis.cost(item) > 0), default=1.0) * 2
        x, low, high = front_bands(tables, axis.cost, right)
        if x:
            found[axis.field] = {"x": x, "low": [_short(v) for v in low], "high": [_short(v) for v in high]}
    return found


def _published(history: History) -> list[dict[str, Any]]:
    """Errors that the paper printed for the run's data set, with whether the run trains by the paper's recipe."""
    plan = history.plan
    if plan is None:
        return []
    shape = _shape(history)
    same = plan.train_images is None and _is_papers(plan.recipe)
    rows = [(row, _printed_error(row)) for row in paper_rows() if row.dataset == plan.dataset]
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for row, error in rows:
        if error is None or shape is None:
            continue
        counted = _cost_of_published(row.arch, shape)
        found.setdefault(
            (row.arch, error),
            {
                "arch": row.arch,
                "params": counted.params,
                "macs": counted.macs,
                "error_pct": error,
                "baseline": row.baseline is None,
                "same_recipe": same,
                "source": f"arXiv 1802.08831, Table {row.table}",
            },
        )
    return list(found.values())


@lru_cache(maxsize=256)
def _cost_of_published(arch: str, shape: ImageShape) -> Cost:
    """Cost of a network of the paper's: the same for every page, and most of the time that a small page took."""
    return cost(parse(arch), shape)


def _shape(history: History) -> ImageShape | None:
    """Shape of the run's images; None where the data set is known nowhere."""
    data = history.data
    if data is None:
        return None
    return ImageShape(channels=data.channels, height=data.height, width=data.width, classes=data.classes)


def _printed_error(row: PaperRow) -> float | None:
    return row.error_pct if row.error_pct is not None else row.top1_error_pct


def _is_papers(recipe: Recipe) -> bool:
    """Whether the recipe is one of the paper's but for its name."""
    plain = replace(recipe, name="")
    return any(replace(known, name="") == plain for name, known in recipes().items() if name.startswith("paper"))


def _drawings(history: History, tables: Tables, archs: Sequence[str]) -> dict[str, Any]:
    """Parts of drawings, each once, and by index of a network the indices of its parts."""
    image = _shape(history)
    shown: dict[str, Any] = {"parts": [], "of": {}, "part_width": PART_WIDTH, "gap": GAP, "margin": MARGIN}
    if image is None:
        return shown
    place = {arch: i for i, arch in enumerate(archs)}
    first = [row.item.arch for row in (*tables.front, *tables.macs_front)]
    first += [item.arch for item in tables.items if item.is_baseline]
    known: dict[str, int] = {}
    for arch in list(dict.fromkeys([*first, *archs]))[:MOST_DRAWN]:
        try:
            parts = drawn_parts(parse(arch), image)
        except RksearchError:
            continue  # images too small for it: its training failed for that reason, which its card shows
        for part in parts:
            if part.svg not in known:
                known[part.svg] = len(known)
                shown["parts"].append({"svg": part.svg, "height": part.height})
        shown["of"][place[arch]] = [known[part.svg] for part in parts]
    return shown


def _commands(history: History) -> dict[str, Any]:
    """Words of the commands that a card shows; they are typed in the directory of the run.

    `dataset` and `train` are None where those words would name other images there, or train in another way than the
    run.
    """
    plan = history.plan
    found: dict[str, Any] = {"run": ".", "dataset": None, "train": None}
    if plan is None or not _is_named_anywhere(plan.dataset):
        return found
    found["dataset"] = plan.dataset
    recipe = _shipped_recipe(plan.recipe)
    if recipe is not None:
        words = ["--dataset", plan.dataset, "--recipe", recipe.name]
        words += ["--epochs", str(plan.recipe.epochs)] if recipe.epochs != plan.recipe.epochs else []
        words += ["--train-images", str(plan.train_images)] if plan.train_images else []
        found["train"] = [*words, *_data_dir(history)]
    return found


def _is_named_anywhere(dataset: str) -> bool:
    """Whether a data set has the same name in every directory: a relative path of one's own images has not."""
    kind, _, place = dataset.partition(":")
    return not is_address(dataset) or kind == "torchvision" or place.startswith(ABSOLUTE)


def _shipped_recipe(recipe: Recipe) -> Recipe | None:
    """The shipped recipe that this one is but for its epochs; None where a space or a file changed anything else."""
    shipped = recipes().get(recipe.name)
    return shipped if shipped and replace(shipped, epochs=recipe.epochs) == recipe else None


def _data_dir(history: History) -> list[str]:
    """The option that names the directory of the data sets, where the run's last session had one that is no relative
    path."""
    given = history.sessions[-1].options.get("data_dir") if history.sessions else None
    return ["--data-dir", given] if isinstance(given, str) and given.startswith(ABSOLUTE) else []
