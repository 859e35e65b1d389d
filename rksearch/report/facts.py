"""What was run: the facts that someone needs who wants to repeat it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rksearch.data.facts import datasets
from rksearch.report import text
from rksearch.report.prose import plan, run_name, space
from rksearch.report.racing import racing, racing_plan, racing_sentence
from rksearch.results.ledger import History
from rksearch.results.tables import Tables
from rksearch.search.samplers.registry import samplers
from rksearch.space.plan import OBJECTIVES

PACKAGES = ("rksearch", "python", "torch", "torchvision", "ray", "optuna", "fvcore", "numpy")
"""Whose versions are shown, in this order."""


def command(history: History) -> str:
    """The command that does the run again."""
    words = next((s.environment.get("command") for s in history.sessions if s.environment.get("command")), None)
    if isinstance(words, list | tuple):
        words = " ".join(str(word) for word in words)
    return str(words) if words else f"rksearch run --space {space(history).get('name', 'NAME')}"


def facts(history: History, tables: Tables) -> list[tuple[str, str]]:
    """Labels and values, in reading order; what was not recorded is left out."""
    rows = [
        ("Command", command(history)),
        ("Run", _run(history)),
        ("Data set", _data(history, tables)),
        ("Split", _split(tables)),
        ("Recipe", _recipe(plan(history).get("recipe", {}))),
        ("Seeds", _seeds(history)),
        ("Search", search(history)),
        ("Racing", _racing(history)),
        ("Control", _control(history)),
        ("Search space", _space(space(history))),
        ("Budgets", _budgets(space(history).get("budgets") or {})),
        ("Baselines", ", ".join(plan(history).get("baselines") or ())),
        ("Configurations of the paper", ", ".join(plan(history).get("known") or ())),
        ("Commit", _commit(history)),
        ("Versions", _versions(history)),
        ("Hardware", _hardware(history)),
        ("Trained on", _devices(tables)),
        ("Cost counts", _witness(tables)),
        ("Time", _time(history)),
        ("Ledger", _ledger(history)),
    ]
    return [(label, value) for label, value in rows if value]


def _run(history: History) -> str:
    times = f", last record {history.last_time}" if history.last_time else ""
    return f"{run_name(history)} ({history.state}{times})"


def _data(history: History, tables: Tables) -> str:
    name = space(history).get("dataset") or next((spec.dataset for spec, _ in history.trials.values()), "")
    source = f": {datasets.get(name).source}" if name in datasets else ""
    used = sorted({(r.train_images, r.val_images) for r in tables.trials if r.train_images and r.val_images})
    counts = "; ".join(f"{train:,} images trained on, {val:,} for validation" for train, val in used)
    return f"{name}{source}{'; ' if counts and name else ''}{counts}"


def _split(tables: Tables) -> str:
    splits = _distinct(row.split for row in tables.trials)
    if len(splits) > 1:
        return f"{', '.join(splits)} (SHA-256 of the indices; these differ, so errors are not comparable throughout)"
    return (
        f"{splits[0]} (SHA-256 of the indices, first 16 digits; stratified by class, the same for all)"
        if splits
        else ""
    )


def _recipe(recipe: dict[str, Any]) -> str:
    if not recipe:
        return ""
    milestones = ""
    if recipe["schedule"] == "step":
        milestones = f" at {', '.join(f'{m:g}' for m in recipe['milestones'])} of the epochs"
    parts = [
        f"{recipe['name']}: {text.count(recipe['epochs'], 'epoch')}",
        f"batch {recipe['batch_size']}",
        f"SGD, learning rate {recipe['lr']:g} ({recipe['schedule']}{milestones})",
        f"warm-up {recipe['warmup']:.0%} of the steps" if recipe["warmup"] else "",
        f"momentum {recipe['momentum']:g}{' (Nesterov)' if recipe['nesterov'] else ''}",
        f"weight decay {recipe['weight_decay']:g}",
        "augmented" if recipe["augment"] else "not augmented",
    ]
    return ", ".join(part for part in parts if part)


def _seeds(history: History) -> str:
    seeds = plan(history).get("seeds")
    how = "a trial's seed is a function of architecture and replicate"
    if not isinstance(seeds, dict):
        return how
    asked = f"{seeds.get('search', 1)} in the search, {seeds.get('final', 1)} for the front and the baselines"
    extra = plan(history).get("replicates")
    where = f", {text.count(extra, 'further training')} where membership in the front is least certain" if extra else ""
    return f"{asked}{where}; {how}"


def search(history: History) -> str:
    """How many candidates, who proposes them and to what aim; empty before that is recorded."""
    asked = plan(history)
    if "trials" not in asked:
        return ""
    sampler = asked.get("sampler") or {}
    name = sampler.get("name")
    # A later version may have samplers that have no words here.
    name = samplers.get(str(name)).title if name in samplers else name
    by = f"{name} with seed {sampler['seed']}" if sampler else "an unnamed sampler"
    objectives = [OBJECTIVES.get(name, name) for name in asked.get("objectives") or ()]
    aims = f", for {text.listing(objectives)}" if objectives else ""
    return f"{text.count(asked['trials'], 'candidate')}, proposed by {by}{aims}"


def _racing(history: History) -> str:
    parts = [racing_plan(plan(history).get("racing")), racing_sentence(racing(history))]
    return "; ".join(part for part in parts if part)


def _control(history: History) -> str:
    if not plan(history).get("control"):
        return ""
    trials = [result for spec, result in history.trials.values() if spec.role == "control"]
    epochs = sum(len(result.epochs) for result in trials)
    return f"{text.count(len(trials), 'training')} of networks drawn at random, {text.count(epochs, 'epoch')} in all"


def _space(summary: dict[str, Any]) -> str:
    if "raw_size" not in summary:
        return str(summary.get("name", ""))
    parts = [f"{summary.get('name')}: {summary['raw_size']:,} combinations"]
    if summary.get("canonical_size"):
        parts.append(f"{summary['canonical_size']:,} different networks")
    parts.append(f"{summary.get('feasible', 0):,} within the budgets")
    if summary.get("sha256"):
        parts.append(f"SHA-256 of the file {str(summary['sha256'])[:16]}")
    return ", ".join(parts)


def _budgets(budgets: dict[str, Any]) -> str:
    names = {"params": "parameters", "macs": "MACs"}
    return ", ".join(
        f"{text.tick(bounds[0])} to {text.tick(bounds[1])} {names.get(key, key)}"
        for key, bounds in sorted(budgets.items(), reverse=True)
        if bounds and None not in bounds
    )


def _commit(history: History) -> str:
    known = [s.environment for s in history.sessions if s.environment.get("commit")]
    return ", ".join(_distinct(f"{e['commit']}{' with local changes' if e.get('dirty') else ''}" for e in known))


def _versions(history: History) -> str:
    return "; ".join(
        _distinct(
            ", ".join(f"{name} {s.environment[name]}" for name in PACKAGES if s.environment.get(name))
            for s in history.sessions
        )
    )


def _hardware(history: History) -> str:
    return "; ".join(_distinct(_machine(s.environment) for s in history.sessions))


def _machine(environment: dict[str, Any]) -> str:
    parts = [str(environment["os"])] if environment.get("os") else []
    if environment.get("cpu"):
        cores = f", {text.count(environment['cpu_count'], 'core')}" if environment.get("cpu_count") else ""
        parts.append(f"{environment['cpu']}{cores}")
    if environment.get("memory_bytes"):
        parts.append(f"{environment['memory_bytes'] / 2**30:.0f} GiB memory")
    gpus = environment.get("gpus") or ()
    parts.append(", ".join(str(gpu) for gpu in gpus) if gpus else "no GPU")
    return ", ".join(parts) if environment else ""


def _devices(tables: Tables) -> str:
    used = {(r.device, r.precision, r.threads) for r in tables.trials if r.device}
    return "; ".join(f"{d} in {p}, {text.count(t, 'thread')} a trial" for d, p, t in sorted(used))


def _witness(tables: Tables) -> str:
    checked = [row for row in tables.trials if row.witness_agrees is not None]
    if not checked:
        return ""
    wrong = sum(not row.witness_agrees for row in checked)
    if wrong:
        return f"{wrong} of {text.count(len(checked), 'training')} disagree with the built model: counts are in doubt"
    return f"closed form, equal to the built model's in all {text.count(len(checked), 'training')} that were checked"


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
    notes = []
    if history.damaged:
        notes.append(f"{text.count(history.damaged, 'damaged line')} skipped")
    if history.repeated:
        notes.append(f"{text.count(history.repeated, 'repeated result')} ignored")
    return ", ".join(notes)


def _distinct(values: Iterable[str]) -> list[str]:
    """The values that are not empty, once each, in order."""
    return list(dict.fromkeys(v for v in values if v))
