"""Verdict and limitations of a run in plain words, written from its data."""

from __future__ import annotations

from rksearch.report import text
from rksearch.report.racing import racing_sentence
from rksearch.results.comparisons import BaselineRow
from rksearch.results.early_stops import early_stops
from rksearch.results.fronts import HypervolumeBand
from rksearch.results.history import History
from rksearch.results.tables import Tables
from rksearch.space.plan import BALANCED


def verdict(history: History, tables: Tables) -> list[str]:
    """The findings, one sentence per entry, the most important first."""
    if not tables.front:
        return [_nothing_yet(history, tables), *_state_sentence(history)]
    return [
        _front_sentence(tables),
        *_baseline_sentences(tables),
        *_seed_sentence(tables),
        *_membership_sentence(tables),
        *_racing_sentence(history),
        *_state_sentence(history),
    ]


def _nothing_yet(history: History, tables: Tables) -> str:
    failed = len(history.failed)
    if failed and not tables.items:
        return f"No training has succeeded: {text.count(failed, 'training')} failed, so there is no front to show."
    if tables.items:
        return "Only baselines have been trained so far, so there is no front of Runge-Kutta networks to show yet."
    return "No network has been trained to the end yet, so there is no front to show."


def _front_sentence(tables: Tables) -> str:
    searched = sum(item.is_searched for item in tables.items)
    small, large = tables.front[0].item, tables.front[-1].item
    if len(tables.front) == 1:
        return (
            f"Of {text.count(searched, 'Runge-Kutta network')} trained, one stands alone on the front: {small.arch}, "
            f"with {text.size(small.params)} parameters and {text.pct(small.error_pct)} {tables.metric.title}."
        )
    return (
        f"Of {text.count(searched, 'Runge-Kutta network')} trained, {len(tables.front)} form the front: from "
        f"{text.size(small.params)} parameters at {text.pct(small.error_pct)} {tables.metric.title} to "
        f"{text.size(large.params)} at {text.pct(large.error_pct)}."
    )


def _baseline_sentences(tables: Tables) -> list[str]:
    rows = tables.baselines
    if not rows:
        return ["No baseline has been trained to the end, so the front stands without comparison."]
    paired = [row for row in rows if row.comparison is not None]
    sentences = []
    if paired:
        better = [row for row in paired if row.comparison and row.comparison.gap_pct < 0]
        sentences.append(
            f"At no more parameters, a Runge-Kutta network has the lower mean {tables.metric.title} than {len(better)} "
            f"of {text.count(len(rows), 'baseline')}; the seeds support {_support(paired)}."
        )
    missing = [row.item.arch for row in rows if row.comparison is None]
    if missing:
        sentences.append(f"No trained Runge-Kutta network is as small as {text.listing(missing)}.")
    beaten = [row for row in tables.front if row.beaten_by]
    if beaten:
        by = sorted({name for row in beaten for name in row.beaten_by})
        sentences.append(
            f"{len(beaten)} of the {len(tables.front)} networks on the front {'is' if len(beaten) == 1 else 'are'} "
            f"dominated by a baseline ({text.listing(by)}), which is no larger and no worse on average."
        )
    else:
        sentences.append("No baseline dominates a network on the front.")
    return sentences


def _support(paired: list[BaselineRow]) -> str:
    lower = [row.item.arch for row in paired if row.comparison and row.comparison.verdict == "lower"]
    higher = [row.item.arch for row in paired if row.comparison and row.comparison.verdict == "higher"]
    if not lower and not higher:
        return "none of these differences (the 95 % intervals include zero, or there are too few seeds for one)"
    parts = [f"a lower error than {text.listing(lower)}"] if lower else []
    parts += [f"a higher error than {text.listing(higher)}"] if higher else []
    rest = len(paired) - len(lower) - len(higher)
    tail = f", and leave {rest} undecided" if rest else ""
    return f"{text.listing(parts)} (95 % intervals){tail}"


def _seed_sentence(tables: Tables) -> list[str]:
    single = sum(row.item.seeds == 1 for row in tables.front)
    if not single:
        least = min(row.item.seeds for row in tables.front)
        return [f"Every network on the front was trained with at least {text.count(least, 'seed')}."]
    if single == len(tables.front):
        return ["Every point of the front rests on a single seed, so the order of near neighbours may be chance."]
    rests = "network on the front rests" if single == 1 else "networks on the front rest"
    return [f"{single} {rests} on a single seed, so the order against near neighbours may be chance."]


def _membership_sentence(tables: Tables) -> list[str]:
    rows = [tables.row(row.item.arch) for row in tables.front]
    known = [row.p_front for row in rows if row.p_front is not None]
    if not known:
        return []
    sure = sum(p >= 0.9 for p in known)
    rivals = sum((row.p_front or 0) >= 0.1 and not row.on_front for row in tables.archs)
    others = "no other has" if not rivals else f"{rivals} other{'s have' if rivals > 1 else ' has'}"
    return [
        f"{sure} of the {len(rows)} {'is' if sure == 1 else 'are'} on the front of true errors with a probability of "
        f"90 % or more; {others} one of 10 % or more."
    ]


def _racing_sentence(history: History) -> list[str]:
    sentence = racing_sentence(early_stops(history))
    return [f"Racing stopped others early: {sentence}."] if sentence else []


def hypervolume_sentence(found: HypervolumeBand, cost: str) -> str:
    """The hypervolume, its band, and its reference point, in words."""
    where = (
        f"between the front and {text.size(found.reference.cost)} {cost} at {found.reference.error_pct:.0f} % error, "
        "in percent times decades"
    )
    if found.band is None:
        return f"Hypervolume {found.of_means:.2f}, {where}; too few seeds for a band."
    low, high = found.band
    return (
        f"Hypervolume {found.expected:.2f} (90 % band {low:.2f} to {high:.2f}), {where}; taken at face value, the mean "
        f"errors give {found.of_means:.2f}, which counts the luck of the best among many."
    )


def _state_sentence(history: History) -> list[str]:
    if history.state == "finished":
        return []
    how = {
        "interrupted": "The run was interrupted and can be resumed",
        "stopped": f"The run stopped by its budget of time ({text.one_line(history.message or '')}) and can be resumed",
        "failed": f"The run ended with an error ({text.one_line(history.message or 'no reason was recorded')})",
    }.get(history.state, "The run has not finished")
    return [f"{how}; everything here is provisional."]


def reading_sentences(history: History) -> list[str]:
    """Sentences about the use of the test set."""
    tested = {test.trial for test in history.tests}
    if not tested:
        return [f"The search used the {history.metric.title} only; the test set has not been read."]
    archs = {test.arch for test in history.tests}
    once = "once for each" if len(tested) == len(history.tests) else f"{len(history.tests)} times in all"
    sentences = [
        f"The search used the {history.metric.title} only. The test set was read after the search, for the candidates "
        f"of the front and for the baselines: {text.count(len(tested), 'training')} of "
        f"{text.count(len(archs), 'architecture')}, {once}."
    ]
    final = {key for key, (spec, _) in history.trials.items() if spec.role == "final"}
    if final & tested:
        sentences.append(
            f"{text.count(len(final & tested), 'of these trainings was', 'of these trainings were')} made anew, on "
            "training and validation images together."
        )
    if number := len(set(history.finished_after_test) - final):
        sentences.append(
            f"{text.count(number, 'training')} finished after the first reading, because the run was extended; "
            "no choice looked at a test error."
        )
    return sentences


def limitations(history: History, tables: Tables) -> list[str]:
    """Limits of what can be concluded from this run, one per entry."""
    notes = []
    plan = history.plan
    if plan and plan.train_images:
        notes.append(
            f"Networks were trained on a stratified subset of {plan.train_images:,} training images: errors are "
            "higher than with all of them, and the order of architectures may differ."
        )
    if plan and plan.recipe.epochs < 100:
        notes.append(
            f"Training lasted {text.count(plan.recipe.epochs, 'epoch')}. Networks that learn slowly are at a "
            "disadvantage against what a full training would show."
        )
    images = sorted({row.val_images for row in tables.trials if row.val_images})
    if images and tables.metric == BALANCED:
        notes.append(_class_weight(tables))
    elif images:
        notes.append(
            f"One validation image is {100 / images[0]:.2f} percentage points of error ({images[0]:,} images). The "
            "spreads shown come from seeds alone; all networks share the same validation images, whose choice adds "
            "to the uncertainty."
        )
    if any(item.seeds > 1 for item in tables.items):
        notes.append(
            "Intervals and probabilities rest on few seeds. They assume that the spread between seeds depends on the "
            "error alone (on the log-odds scale little, if at all) and that networks scatter normally about a trend "
            "of error over size; they are not corrected for the number of comparisons."
        )
    if tables.front:
        notes.append(
            f"The front picks the lowest {tables.metric.title}s out of many, so these are optimistic; expected errors, "
            "where they are shown, allow for that, and test errors, where they were read, are not picked."
        )
    return notes


def _class_weight(tables: Tables) -> str:
    """The weight of one image in the balanced error, in words."""
    shared = (
        "The spreads shown come from seeds alone; all networks share the same validation images, whose choice adds to "
        "the uncertainty"
    )
    counts = next(
        ([c.images for c in t.classes if c.images] for t in tables.class_errors if t.part == "validation"), []
    )
    if not counts:
        return f"{shared}, the more the smaller the smallest classes are."
    points = 100 / (len(counts) * min(counts))
    return (
        f"One validation image of the smallest class is {points:.2f} percentage points of balanced error "
        f"({text.count(min(counts), 'image')}; the largest class has {max(counts):,}). {shared}."
    )
