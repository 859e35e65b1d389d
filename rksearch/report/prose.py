"""Verdict, findings and limitations of a run in plain words, written from its data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rksearch.report import text
from rksearch.report.racing import racing_sentence
from rksearch.report.sections import Tone, VerdictLine
from rksearch.results.comparisons import BaselineRow, Tally, surely_dominated, tally
from rksearch.results.control import ControlVerdict
from rksearch.results.early_stops import early_stops
from rksearch.results.fronts import HypervolumeBand
from rksearch.results.history import History
from rksearch.results.summaries import ArchSummary
from rksearch.results.tables import Tables
from rksearch.space.plan import BALANCED, ErrorMetric

SURE, POSSIBLE = 90, 10
"""Probabilities, in whole percent as they are shown, from which a place on the front counts as sure, or as possible."""

P_FRONT = (
    "P(front) is the probability of being on the front of true errors, among the networks trained and given these "
    "seeds. The smallest network is on every front, so that its place says nothing about its error."
)
"""Definition of the probabilities, beside every table that shows them."""

NAMED = 3
"""Maximum number of comparisons that the findings describe one by one."""


def verdict_lines(
    history: History,
    items: Sequence[ArchSummary],
    front: Sequence[ArchSummary],
    rows: Sequence[BaselineRow],
    macs_rows: Sequence[BaselineRow],
) -> tuple[VerdictLine, ...]:
    """The verdict in three short lines at most: the front, the baselines by both costs, the test set.

    Args:
        history: the history of the run.
        items: all architectures.
        front: the front of parameters, by rising size.
        rows, macs_rows: the baselines, each with its rival at no more parameters and at no more MACs.
    """
    if not front:
        return (VerdictLine(text=_nothing_yet(history, items), tone="warning"),)
    return (
        VerdictLine(text=_front_sentence(items, front, history.metric)),
        _baseline_line(rows, macs_rows),
        _test_line(history, rows, macs_rows),
    )


def _nothing_yet(history: History, items: Sequence[ArchSummary]) -> str:
    failed = len(history.failed)
    if failed and not items:
        return f"No training has succeeded: {text.count(failed, 'training')} failed, so there is no front to show."
    if items:
        return "Only baselines have been trained so far, so there is no front of Runge-Kutta networks to show yet."
    return "No network has been trained to the end yet, so there is no front to show."


def _front_sentence(items: Sequence[ArchSummary], front: Sequence[ArchSummary], metric: ErrorMetric) -> str:
    searched = text.count(sum(item.is_searched for item in items), "Runge-Kutta network")
    small, large = front[0], front[-1]
    start = f"{text.size(small.params)} parameters at {text.pct(small.error_pct)} {metric.title}"
    if len(front) == 1:
        return f"1 of {searched} stands alone on the front: {start}."
    return (
        f"{len(front)} of {searched} form the front: {start} to {text.size(large.params)} at "
        f"{text.pct(large.error_pct)}."
    )


def _baseline_line(rows: Sequence[BaselineRow], macs_rows: Sequence[BaselineRow]) -> VerdictLine:
    if not rows:
        return VerdictLine(text="No baseline has been trained to the end.", tone="warning")
    by_params, by_macs = tally(rows), tally(macs_rows)
    return VerdictLine(
        text=f"Against {text.count(len(rows), 'baseline')} at no more parameters: {_outcomes(by_params, 'MACs')}. "
        f"At no more MACs: {_outcomes(by_macs, 'parameters')}.",
        tone=_leaning(by_params, by_macs),
    )


def _outcomes(found: Tally, other: str) -> str:
    """`2 wins (1 with more MACs), 1 tie and 1 loss`; a rival costs no more than the baseline."""
    half = "all" if found.half_wins == found.wins and found.wins > 1 else f"{found.half_wins}"
    wins = text.count(found.wins, "win")
    if found.half_wins:
        wins += f" (with more {other})" if found.wins == 1 else f" ({half} with more {other})"
    parts = [wins] if found.wins else []
    parts += [text.count(found.ties, "tie")] if found.ties else []
    parts += [text.count(found.losses, "loss", "losses")] if found.losses else []
    parts += [f"{found.undecided} with too few seeds"] if found.undecided else []
    if not parts:
        return "none costs as little"
    parts += [f"{found.unmatched} without a rival"] if found.unmatched else []
    return text.listing(parts)


def _leaning(*tallies: Tally) -> Tone:
    """`win` where there are full wins and no loss by either cost, `loss` the other way round."""
    wins = any(t.wins > t.half_wins for t in tallies)
    losses = any(t.losses for t in tallies)
    return "win" if wins and not losses else "loss" if losses and not wins else ""


def _test_line(history: History, rows: Sequence[BaselineRow], macs_rows: Sequence[BaselineRow]) -> VerdictLine:
    if not history.tests:
        return VerdictLine(text="The test set has not been read.")
    groups = [("parameters", rows), ("MACs", macs_rows)]
    groups = [(words, own) for words, own in groups if any(row.tested is not None for row in own)]
    if not groups:
        return VerdictLine(text="The test set has been read for no network and its baseline together.")
    claims = [(words, tally(own)) for words, own in groups]
    claims = [(words, found) for words, found in claims if found.borne + found.not_borne]
    if claims:
        losses = [(words, lost) for words, own in groups if (lost := _test_outcomes(own).count("loss"))]
        missed = bool(losses) or any(found.not_borne for _, found in claims)
        said = f"Confirmed on the test set: {text.listing([_borne(words, found) for words, found in claims])}."
        if losses:
            lost_by = [f"{text.count(lost, 'loss', 'losses')} at no more {words}" for words, lost in losses]
            said += f" It shows {text.listing(lost_by)}."
        return VerdictLine(text=said, tone="warning" if missed else "win")
    outcomes = [f"at no more {words}, {_tested(own)}" for words, own in groups]
    return VerdictLine(text=f"On the test set: {'; '.join(outcomes)}.")


def _borne(words: str, found: Tally) -> str:
    """`1 of 2 wins at no more MACs`."""
    made = found.borne + found.not_borne
    return f"{found.borne} of {text.count(made, 'win')} at no more {words}"


def _test_outcomes(rows: Sequence[BaselineRow]) -> list[str]:
    return [row.tested.outcome for row in rows if row.tested]


def _tested(rows: Sequence[BaselineRow]) -> str:
    """Outcomes of the test gaps, in words."""
    outcomes = _test_outcomes(rows)
    parts = [
        text.count(number, one, many)
        for outcome, one, many in (("win", "win", "wins"), ("tie", "tie", "ties"), ("loss", "loss", "losses"))
        if (number := outcomes.count(outcome))
    ]
    parts += [f"{number} with too few seeds"] if (number := outcomes.count("open")) else []
    return text.listing(parts)


def findings(history: History, tables: Tables) -> list[str]:
    """Further findings, one per entry, the most important first."""
    if not tables.front:
        return state_sentence(history)
    return [
        *state_sentence(history),
        *_not_borne(tables),
        *_half_wins(tables),
        *_missing(tables),
        *_beaten(tables),
        *_seed_sentence(tables),
        *_membership_sentence(tables),
        *(control_sentences(tables.control)[:1] if tables.control else []),
        *_racing(history),
    ]


def _not_borne(tables: Tables) -> list[str]:
    """Wins on the validation images that the test errors do not show."""
    found = []
    for words, rows in (("parameters", tables.baselines), ("MACs", tables.macs_baselines)):
        for row in rows:
            if row.test_bears is False and row.rival and row.comparison and row.tested:
                found.append(
                    f"{row.rival.arch} beats {row.item.arch} at no more {words} on the validation images "
                    f"({text.gap(row.comparison.gap_pct, row.comparison.interval_pct)} points), and not on the test "
                    f"set ({text.gap(row.tested.gap_pct, row.tested.interval_pct)} points)."
                )
    return _some(found)


def _half_wins(tables: Tables) -> list[str]:
    """Wins that cost more in the other cost, but for those that the test errors do not show."""
    found = []
    for rows in (tables.baselines, tables.macs_baselines):
        for row in rows:
            if row.outcome == "win" and row.is_half and row.test_bears is not False and row.rival and row.comparison:
                found.append(
                    f"{row.rival.arch} beats {row.item.arch} by {text.pct_points(-row.comparison.gap_pct)} with "
                    f"{text.as_much(row.params_ratio or 0)} its parameters and "
                    f"{text.as_much(row.macs_ratio or 0)} its MACs."
                )
    return _some(found)


def _some(found: list[str]) -> list[str]:
    """The first of the sentences, and how many more there are."""
    rest = len(found) - NAMED
    return found if rest <= 0 else [*found[:NAMED], f"The tables hold {rest} more of this kind."]


def _missing(tables: Tables) -> list[str]:
    sentences = []
    for words, rows in (("parameters", tables.baselines), ("MACs", tables.macs_baselines)):
        if none := [row.item.arch for row in rows if row.rival is None]:
            sentences.append(f"No trained Runge-Kutta network has as few {words} as {text.listing(none)}.")
    return sentences


def _beaten(tables: Tables) -> list[str]:
    beaten = [row for row in tables.front if row.beaten_by]
    if not tables.baselines:
        return []
    if not beaten:
        return ["No baseline dominates a network on the front."]
    by = sorted({name for row in beaten for name in row.beaten_by})
    verb = "is" if len(beaten) == 1 else "are"
    sure = len(surely_dominated(beaten, tables.items, tables.draws))
    return [
        f"{len(beaten)} of the {text.count(len(tables.front), 'network')} on the front {verb} dominated by a baseline "
        f"({text.listing(by)}), which is no larger and has no higher mean error. The 95 % intervals confirm {sure} of "
        f"{text.count(len(beaten), 'case')}."
    ]


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
    """Counts of probabilities as they are shown; the smallest network is on every front and does not count."""
    rows = [row for row in map(tables.row, (f.item.arch for f in tables.front)) if not row.smallest]
    known = [text.percent(row.p_front) for row in rows if row.p_front is not None]
    if not known:
        return []
    sure = sum(share >= SURE for share in known)
    others = [
        row
        for row in tables.archs
        if not row.on_front and row.p_front is not None and text.percent(row.p_front) >= POSSIBLE
    ]
    counted = f"{len(known)} networks on the front beyond the smallest"
    if len(known) == 1:
        counted = "1 network on the front beyond the smallest"
    rivals = "no other has" if not others else f"{len(others)} other{'s have' if len(others) > 1 else ' has'}"
    return [
        f"Of the {counted}, {sure} {'has' if sure == 1 else 'have'} a P(front) of {SURE} % or more; {rivals} one of "
        f"{POSSIBLE} % or more."
    ]


def _racing(history: History) -> list[str]:
    sentence = racing_sentence(early_stops(history))
    return [f"Racing stopped others early: {sentence}."] if sentence else []


def control_sentences(found: ControlVerdict) -> list[str]:
    """The verdict on random search, with its intervals, one sentence per entry."""
    heads = {
        "search better": "The search did better than random search.",
        "random better": "Random search did better than the search.",
        "not distinguishable": "No difference between the search and random search can be shown.",
    }
    gap = text.gap(found.gap_pct, found.gap_interval_pct)
    head = heads[found.answer]
    if found.gap_interval_pct is None:
        head = "Search and random search are not judged while no network has a second seed."
    same = (
        f"With {text.count(found.epochs, 'epoch')} each, the search had trained {found.searched} networks and random "
        f"search {found.drawn}."
    )
    return [
        f"{head} At equal size, the front of random search lies {gap} points from that of the search "
        "(mean over sizes; a positive number favours the search). Networks dealt to the two at random would lie as far "
        f"apart in {text.share(found.chance)} of the cases.",
        same,
        f"Random search would have found {_share(found.matched, found.matched_interval)} of the front: the share of "
        "sizes, on a log scale, at which its best network is at least as good.",
        _effort(found),
    ]


def _share(value: float, interval: tuple[float, float] | None) -> str:
    ends = f" ({text.share(interval[0])} to {text.share(interval[1])})" if interval else ""
    return text.share(value) + ends


def _effort(found: ControlVerdict) -> str:
    if math.isinf(found.effort):
        return "The search never had a front of the hypervolume that random search had in the end."
    ends = ""
    if found.effort_interval:
        low, high = found.effort_interval
        ends = f" ({text.share(low)} to {'more than 100 %' if math.isinf(high) else text.share(high)})"
    return (
        f"The search had a front of the hypervolume that random search had in the end after {text.share(found.effort)}"
        f"{ends} of its epochs."
    )


def hypervolume_sentence(found: HypervolumeBand, cost: str) -> str:
    """The hypervolume of true errors with its band, that of the mean errors, and the reference point, in words."""
    where = (
        f"The hypervolume counts the area below {found.reference.error_pct:.0f} % error and up to "
        f"{text.size(found.reference.cost)} {cost}, in percent times decades"
    )
    if found.band is None:
        return f"{where}: {found.of_means:.2f} by the mean errors; too few seeds for a band."
    low, high = found.band
    return (
        f"{where}: {found.expected:.2f} by the draws of true errors (median; 90 % of them lie from {low:.2f} to "
        f"{high:.2f}), and {found.of_means:.2f} by the mean errors, among which the front picks the lowest."
    )


def state_sentence(history: History) -> list[str]:
    """One sentence on a run that has not finished; none on one that has."""
    if history.state == "finished":
        return []
    how = {
        "interrupted": "The run was interrupted and can be resumed",
        "killed": "The run was killed and can be resumed",
        "stopped": f"The run stopped by its budget of time ({text.one_line(history.message or '')}) and can be resumed",
        "failed": f"The run ended with an error ({text.one_line(history.message or 'no reason was recorded')})",
    }.get(history.state, "The run has not finished")
    return [f"{how}; everything here is provisional."]


def _numbers(counts: Sequence[int]) -> str:
    return text.listing([f"{count:,}" for count in counts])


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
    final = {key: result.images.train for key, (spec, result) in history.trials.items() if spec.role == "final"}
    if read := final.keys() & tested:
        seen = sorted({count for key in read if (count := final[key])})
        searched = sorted(
            {r.images.train for key, (_, r) in history.trials.items() if key not in final and r.images.train}
        )
        more = (
            f", {_numbers(seen)} images in place of {_numbers(searched)}"
            if seen and searched and seen != searched
            else ""
        )
        sentences.append(
            f"{text.count(len(read), 'of these trainings was', 'of these trainings were')} made for it, on "
            f"training and validation images together{more}."
        )
        if archs - {test.arch for test in history.tests if test.trial in final}:
            sentences.append(
                "Test errors of the two kinds are not compared with each other: rksearch final --fresh N makes "
                "trainings for the whole front and all baselines."
            )
    if number := len(set(history.finished_after_test) - final.keys()):
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
            "of error over size. The intervals of gaps are not corrected for their number."
        )
    if tables.front:
        notes.append(_optimism(tables))
    return [*notes, *_executed(tables)]


def _optimism(tables: Tables) -> str:
    """What picking the front does to its errors, and which errors it leaves alone."""
    picked = (
        f"The front picks the lowest {tables.metric.title}s out of many, so these are optimistic; expected errors, "
        "where they are shown, allow for that"
    )
    tested = [row.item for front in (tables.front, tables.macs_front) for row in front if row.item.test_seeds]
    if not tested:
        return f"{picked}."
    if all(item.tested_afresh for item in tested):
        return f"{picked}, and test errors are not picked: images and trainings are new."
    return (
        f"{picked}. Test errors of the search's trainings rest on new images, but on the trainings by which the front "
        "was picked, so that the luck of their seeds is in both errors; rksearch final --fresh N trains again, and "
        "nothing was picked by its trainings."
    )


def _executed(tables: Tables) -> list[str]:
    """What is executed less than is counted, for baselines and for Runge-Kutta networks."""
    saved = {
        who: max((100 * (1 - row.executed_macs / row.macs) for row in rows if row.executed_macs), default=0.0)
        for who, rows in (
            ("baselines", [row for row in tables.archs if row.role == "baseline"]),
            ("Runge-Kutta networks", [row for row in tables.archs if row.role != "baseline"]),
        )
    }
    if not any(saved.values()):
        return []
    less = text.listing([f"up to {share:.0f} % less for {who}" for who, share in saved.items()])
    return [
        f"MACs are counted in the order of the definition. Transitions pool before they convolve, so that {less} are "
        "executed."
    ]


def _class_weight(tables: Tables) -> str:
    """The weight of one image in the balanced error, in words."""
    shared = (
        "The spreads shown come from seeds alone; all networks share the same validation images, whose choice adds to "
        "the uncertainty"
    )
    counts = next(
        ([round(c.images) for c in t.classes if c.images] for t in tables.class_errors if t.part == "validation"), []
    )
    if not counts or min(counts) < 1:
        return f"{shared}, the more the smaller the smallest classes are."
    points = 100 / (len(counts) * min(counts))
    return (
        f"One validation image of the smallest class is {points:.2f} percentage points of balanced error "
        f"({text.count(min(counts), 'image')}; the largest class has {max(counts):,}). {shared}."
    )
