"""Facts about a run that are needed to repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import pairwise

from rksearch.recipes.recipe import Recipe
from rksearch.report import text
from rksearch.report.forecast import forecast_fact
from rksearch.report.racing import racing_plan, racing_sentence
from rksearch.report.skipped import needed, skipped
from rksearch.results.differences import shown
from rksearch.results.early_stops import early_stops
from rksearch.results.environment import Environment
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.records import TestResult, TrialResult
from rksearch.results.tables import Tables
from rksearch.search.samplers.registry import samplers
from rksearch.space.plan import OBJECTIVES
from rksearch.space.summary import BudgetSummary, SpaceSummary

PACKAGES = ("rksearch", "python", "torch", "torchvision", "ray", "optuna", "fvcore", "numpy")
"""Packages whose versions are shown, in this order."""


EXTENDED = {
    "trials": "candidates",
    "final_seeds": "seeds of front and baselines",
    "search_seeds": "seeds in the search",
    "replicates": "further trainings",
}
"""Fields of a plan that may change while a run goes, in words."""


def command(history: History) -> str:
    """The command that repeats the run."""
    words = next((s.environment.command for s in history.sessions if s.environment.command), None)
    return " ".join(words) if words else f"rksearch run --space {history.space.name if history.space else 'NAME'}"


def facts(history: History, tables: Tables) -> list[tuple[str, str]]:
    """Labels and values, in reading order; what was not recorded is left out."""
    plan = history.plan
    rows = [
        ("Command", command(history)),
        ("Run", _run(history)),
        ("Source", _source(plan)),
        ("Data set", _data(history, tables)),
        ("Split", _split(tables)),
        ("Recipe", _recipe(plan.recipe) if plan else ""),
        ("Seeds", _seeds(history)),
        ("Search", search(history.plan)),
        ("Extended", _extensions(history)),
        ("Racing", _racing(history)),
        ("Control", _control(history)),
        ("Search space", _space(history.space) if history.space else ""),
        ("Budgets", _budgets(history.space.budgets) if history.space else ""),
        ("Baselines", ", ".join(plan.baselines) if plan else ""),
        ("Configurations of the paper", ", ".join(plan.known) if plan else ""),
        ("Commit", _commit(history)),
        ("Versions", _versions(history)),
        ("Hardware", _hardware(history)),
        ("Trained on", _devices(tables)),
        ("Cost counts", _witness(tables)),
        ("Time", _time(history)),
        ("Forecast", forecast_fact(history)),
        ("Ledger", _ledger(history)),
    ]
    return [(label, value) for label, value in rows if value]


def _run(history: History) -> str:
    times = f", last record {history.last_time}" if history.last_time else ""
    return f"{history.name} ({history.state}{times})"


def _source(plan: Plan | None) -> str:
    source = plan.source if plan else None
    if source is None:
        return ""
    return f"{source.name}, begun {source.began}, whose networks were trained again; {_recipe(source.recipe)}"


def _data(history: History, tables: Tables) -> str:
    name = history.space.dataset if history.space else next((s.dataset for s, _ in history.trials.values()), "")
    data = history.data
    source = "" if data is None else "; ".join([f": {data.source}", *data.notes])
    used = sorted({(r.train_images, r.val_images) for r in tables.trials if r.train_images and r.val_images})
    counts = "; ".join(f"{train:,} images trained on, {val:,} for validation" for train, val in used)
    return "; ".join(part for part in (f"{name}{source}", counts, text.unreadable(unreadable(history))) if part)


def unreadable(history: History) -> list[str]:
    """Streamed images that a training or a reading of the test set left out: name and reason of each."""
    return _distinct(line for result in _results(history) for line in result.unreadable or ())


def _results(history: History) -> Iterator[TrialResult | TestResult]:
    """All finished trainings, and all readings of the test set."""
    yield from (result for _, result in history.trials.values())
    yield from (reading.result for reading in history.tests)


def _split(tables: Tables) -> str:
    splits = _distinct(row.split for row in tables.trials)
    if len(splits) > 1:
        return f"{', '.join(splits)} (SHA-256 of the indices; these differ, so errors are not comparable throughout)"
    return (
        f"{splits[0]} (SHA-256 of the indices, first 16 digits; stratified by class, the same for all)"
        if splits
        else ""
    )


def _recipe(recipe: Recipe) -> str:
    milestones = ""
    if recipe.schedule == "step":
        milestones = f" at {', '.join(f'{m:g}' for m in recipe.milestones)} of the epochs"
    sgd = recipe.optimizer == "sgd"
    parts = [
        f"{recipe.name}: {text.count(recipe.epochs, 'epoch')}",
        f"batch {recipe.batch_size}" + (f" in parts of {recipe.micro_batch_size}" if recipe.micro_batch_size else ""),
        f"{'SGD' if sgd else 'AdamW'}, learning rate {recipe.lr:g} ({recipe.schedule.replace('_', ' ')}{milestones})",
        f"warm-up {recipe.warmup:.0%} of the steps" if recipe.warmup else "",
        f"momentum {recipe.momentum:g}{' (Nesterov)' if recipe.nesterov else ''}"
        if sgd
        else f"betas {recipe.momentum:g}, {recipe.beta2:g}",
        f"weight decay {recipe.weight_decay:g}{_spared(recipe)}",
        *_terms(recipe),
        _augmented(recipe),
    ]
    return ", ".join(part for part in parts if part)


def _spared(recipe: Recipe) -> str:
    """The parameters that do not decay, in words."""
    spared = [
        words
        for words, decays in (
            ("norms and biases", recipe.decay_norms_and_biases),
            ("learned coefficients", recipe.decay_coefficients),
        )
        if not decays
    ]
    return f" (none on {' or '.join(spared)})" if spared and recipe.weight_decay else ""


def _terms(recipe: Recipe) -> list[str]:
    """Terms of loss and weights that are on, in words."""
    found = (
        (recipe.label_smoothing, f"label smoothing {recipe.label_smoothing:g}"),
        (recipe.mixup, f"mixup {recipe.mixup:g}"),
        (recipe.clip_grad_norm, f"gradients clipped to norm {recipe.clip_grad_norm:g}"),
        (recipe.ema, f"weights averaged with decay {recipe.ema:g}"),
        (recipe.flip_averaging, "outputs averaged over mirror images"),
    )
    return [words for on, words in found if on]


def _augmented(recipe: Recipe) -> str:
    """The augmentation in words."""
    if not recipe.augment:
        return "not augmented"
    terms = (
        (recipe.augmentation != "crop", recipe.augmentation.replace("_", " ")),
        (recipe.translation, f"translation {recipe.translation}"),
        (recipe.alternating_flip, "alternating flip"),
        (recipe.cutout, f"cutout {recipe.cutout}"),
        (recipe.randaugment, f"RandAugment {recipe.randaugment} x {recipe.randaugment_magnitude}"),
    )
    on = [words for is_on, words in terms if is_on]
    return f"augmented ({', '.join(on)})" if on else "augmented"


def _seeds(history: History) -> str:
    how = "a trial's seed is a function of architecture and replicate"
    plan = history.plan
    if plan is None:
        return how
    asked = f"{plan.search_seeds} in the search, {plan.final_seeds} for the front and the baselines"
    extra = plan.replicates
    where = f", {text.count(extra, 'further training')} where membership in the front is least certain" if extra else ""
    return f"{asked}{where}; {how}"


def search(plan: Plan | None) -> str:
    """Number of candidates, their sampler and its objectives, in words; empty before the plan is recorded."""
    if plan is None:
        return ""
    # A later version, or a plugin, may have samplers that are unknown here.
    sampler = samplers.get(plan.sampler).title if plan.sampler in samplers else plan.sampler
    by = f"{sampler} with seed {plan.sampler_seed}"
    objectives = [OBJECTIVES.get(name, name) for name in plan.objectives]
    aims = f", for {text.listing(objectives)}" if objectives else ""
    order = f"; deterministic, {plan.deterministic} trainings under way" if plan.deterministic else ""
    return f"{text.count(plan.trials, 'candidate')}, proposed by {by}{aims}{order}"


def _extensions(history: History) -> str:
    """What the run's plan has become since it began, and when."""
    changes = []
    for before, now in pairwise(history.plans):
        found = [
            f"{EXTENDED.get(field.name, field.name.replace('_', ' '))} from {shown(old)} to {shown(new)}"
            for field in fields(Plan)
            if (old := getattr(before.plan, field.name)) != (new := getattr(now.plan, field.name))
        ]
        if found:
            changes.append(f"{now.time}: {', '.join(found)}")
    return "; ".join(changes)


def _racing(history: History) -> str:
    parts = [
        racing_plan(history.plan.racing if history.plan else None),
        racing_sentence(early_stops(history)),
    ]
    return "; ".join(part for part in parts if part)


def _control(history: History) -> str:
    if history.plan is None or not history.plan.control:
        return ""
    trials = [result for spec, result in history.trials.values() if spec.role == "control"]
    epochs = sum(len(result.epochs) for result in trials)
    return f"{text.count(len(trials), 'training')} of networks drawn at random, {text.count(epochs, 'epoch')} in all"


def _space(summary: SpaceSummary) -> str:
    parts = [
        f"{summary.name}: {summary.raw_size:,} combinations",
        f"{summary.canonical_size:,} different networks",
        f"{summary.feasible:,} within the budgets",
        f"SHA-256 of the file {summary.sha256[:16]}",
    ]
    return ", ".join(parts)


def _budgets(budgets: BudgetSummary) -> str:
    limits = (("parameters", budgets.params), ("MACs", budgets.macs), ("depth", budgets.depth))
    return ", ".join(
        f"{text.tick(low)} to {text.tick(high)} {name}"
        for name, (low, high) in limits
        if low is not None and high is not None
    )


def _commit(history: History) -> str:
    known = [s.environment for s in history.sessions if s.environment.commit]
    return ", ".join(_distinct(f"{e.commit}{' with local changes' if e.dirty else ''}" for e in known))


def _versions(history: History) -> str:
    return "; ".join(
        _distinct(
            ", ".join(f"{name} {version}" for name in PACKAGES if (version := s.environment.version(name)))
            for s in history.sessions
        )
    )


def _hardware(history: History) -> str:
    return "; ".join(_distinct(_machine(s.environment) for s in history.sessions))


def _machine(environment: Environment) -> str:
    parts = [environment.os] if environment.os else []
    if environment.cpu:
        cores = f", {text.count(environment.cpu_count, 'core')}" if environment.cpu_count else ""
        parts.append(f"{environment.cpu}{cores}")
    if environment.memory_bytes:
        parts.append(f"{environment.memory_bytes / 2**30:.0f} GiB memory")
    parts.append(", ".join(environment.gpus) if environment.gpus else "no GPU")
    return ", ".join(parts) if environment != Environment() else ""


def _devices(tables: Tables) -> str:
    used = {(r.device, r.precision, r.threads) for r in tables.trials if r.device}
    return "; ".join(f"{d} in {p}, {text.count(t, 'thread')} a trial" for d, p, t in sorted(used))


def _witness(tables: Tables) -> str:
    checked = [row for row in tables.trials if row.witness_agrees is not None]
    if not checked:
        return ""
    wrong = sum(not row.witness_agrees for row in checked)
    if wrong:
        verb = "disagrees" if wrong == 1 else "disagree"
        return f"{wrong:,} of {text.count(len(checked), 'training')} {verb} with the built model: counts are in doubt"
    if len(checked) == 1:
        return "closed form, equal to the built model's in the 1 training that was checked"
    return f"closed form, equal to the built model's in all {len(checked):,} trainings that were checked"


def _time(history: History) -> str:
    if not history.sessions:
        return ""
    elapsed = sum(s.duration_s for s in history.sessions)
    work = sum(history.wall_time_s.values())
    return (
        f"{text.duration(elapsed)} in {text.count(len(history.sessions), 'session')}; "
        f"{text.duration(work)} of trials, which may overlap"
    )


def _ledger(history: History) -> str:
    notes = [f"{kind.heading} ({'; '.join(kind.lines)})" for kind in skipped(history.damage, history.unknown)]
    if history.repeated:
        notes.append(f"{text.count(history.repeated, 'repeated record')} ignored")
    return ", ".join(notes + ([needed(history.missing)] if history.missing else []))


def _distinct(values: Iterable[str]) -> list[str]:
    """The values that are not empty, once each, in order."""
    return list(dict.fromkeys(v for v in values if v))
