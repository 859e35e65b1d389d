"""Output of a replay: numbers as JSON and CSV, a page in Markdown, pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rksearch.bench.estimates import Estimate
from rksearch.bench.replay.comparison import Case, StrategyComparison
from rksearch.bench.replay.judging import CORNERS, DRAWS_OF_SEEDS, STARTS, TIGHT_QUANTILE, CornerName, Start
from rksearch.bench.replay.picture import curves_svg
from rksearch.bench.replay.replays import SLOW_REPETITIONS
from rksearch.bench.replay.standings import CONFIDENCE, DRAWS, Standing
from rksearch.bench.replay.strategies import DEFAULT_STRATEGY, EARLY, REFERENCE, left_out, strategies
from rksearch.bench.store import require_own_page
from rksearch.ordinary import write_atomically
from rksearch.report import text
from rksearch.results.codec import to_plain
from rksearch.search.samplers.draws import SPREAD_MOST
from rksearch.search.samplers.frontier import STARTING

START_WORDS: Mapping[Start, str] = {
    "same": "the same start for all: the smallest member first, baselines known",
    "own": "each as it comes",
}

CORNER_WORDS: Mapping[CornerName, str] = {"space": "the space's corner", "tight": "the tight corner"}


TITLE, NUMBERS = "# Search strategies, replayed", "standings.json"
TABLES = ("standings.csv", "curves.csv", "repetitions.csv")


def require_own_files(out: Path) -> None:
    """Make sure that a directory holds no file that `write_comparison` would replace and did not write.

    Raises:
        TakenError: it holds one.
    """
    pictures = [_picture_name(start, corner) for start in STARTS for corner in CORNERS]
    require_own_page(out, TITLE, NUMBERS, [*TABLES, *pictures])


def write_comparison(found: StrategyComparison, out: Path, environment: Mapping[str, Any]) -> list[Path]:
    """Write `README.md`, `standings.json`, tables as CSV, and a picture of each case."""
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "README.md": markdown(found, environment),
        NUMBERS: json.dumps(to_json(found, environment), indent=2) + "\n",
        **dict(zip(TABLES, (_standings_csv(found), _curves_csv(found), _repetitions_csv(found)), strict=True)),
        **{_picture_of(case): _picture(found, case) for case in found.cases},
    }
    for name, content in files.items():
        write_atomically(out / name, content.encode())
    return [out / name for name in files]


def to_json(found: StrategyComparison, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the curves, as plain values; what was never reached is null."""
    table, judge, weakest = found.conditions.table, found.judge, found.weakest
    return {
        "table": {
            "name": table.name,
            "space": table.space.name,
            "space_sha256": table.space.definition.sha256,
            "digest": table.digest,
            "members": len(table.members),
            "baselines": list(table.baselines),
            "handed_out": table.handed_out,
            "judging_seeds": table.judging_seeds,
            "epochs": table.epochs,
            "front": len(judge.front),
            "corners": {
                name: {"params": corner.cost, "val_error_pct": corner.error_pct, "area": judge.areas[name]}
                for name, corner in judge.corners.items()
            },
        },
        "repetitions": found.repetitions,
        "slots": found.conditions.slots,
        "budget_epochs": found.conditions.budget_epochs,
        "racing": to_plain(found.conditions.racing),
        "reference": REFERENCE,
        "default": DEFAULT_STRATEGY,
        "weakest": None if weakest is None else {"start": weakest.start, "corner": weakest.corner},
        "cases": [
            {
                "start": case.start,
                "corner": case.corner,
                "goal": case.goal,
                "standings": [_finite(asdict(item)) for item in case.standings],
            }
            for case in found.cases
        ],
        "environment": dict(environment),
    }


def standings_text(found: StrategyComparison) -> str:
    """The tables for a terminal, a case each."""
    head = ("strategy", "played", "final hypervolume, %", "epochs to goal, %", f"lead over {REFERENCE}, points")
    parts = []
    for case in found.cases:
        rows = [head, *(_cells(item) for item in case.standings)]
        parts.append("\n".join([f"{CORNER_WORDS[case.corner]}; {START_WORDS[case.start]}", text.aligned(rows)]))
    return "\n\n".join([*parts, verdict(found)])


def verdict(found: StrategyComparison) -> str:
    """Sentences that say by how much the default leads the reference, the weakest case named."""
    weakest = found.weakest
    if weakest is None or weakest.lead is None:
        return f"The default ({DEFAULT_STRATEGY}) was not among the strategies."
    lead = weakest.lead
    leads = [case.lead for case in found.cases if case.lead is not None]
    beyond = sum(own.low > 0 for own in leads)
    if beyond == len(leads):
        sure = "it leads beyond chance in every case"
    else:
        there = "there it falls behind; " if lead.high < 0 else ""
        sure = f"{there}it leads beyond chance in {beyond} of {len(leads)} cases"
    return (
        f"The default, {DEFAULT_STRATEGY}, ends {_points(lead)} percentage points of the front's hypervolume above "
        f"{REFERENCE} in the weakest case ({CORNER_WORDS[weakest.corner]}; {START_WORDS[weakest.start]}): {sure}."
    )


def markdown(found: StrategyComparison, environment: Mapping[str, Any]) -> str:
    """The page."""
    shown = [case for case in found.cases if case.start == "same"] or list(found.cases)
    parts = [
        TITLE,
        verdict(found),
        "\n".join(
            f"![Hypervolume against epochs for every strategy, {CORNER_WORDS[case.corner]}]({_picture_of(case)})"
            for case in shown
        ),
        *(part for case in found.cases for part in _case_parts(case)),
        f"Every figure with the interval that holds {100 * CONFIDENCE:.0f} % of {DRAWS:,} bootstrap draws; ∞: not "
        f"reached within the budget. *Final*: median hypervolume when the budget is spent. *Epochs to goal*: until the "
        f"strategy first reaches the median final hypervolume of `{REFERENCE}`, as a share of the budget. *For good*: "
        f"from when on it stays there. *Time*: the same on the virtual workers' clock, as a share of the whole time of "
        f"`{REFERENCE}`. *Lower*: share of the repetitions that end below `{REFERENCE}` in the same repetition, which "
        "meets the same trainings. *Lead* and *to the default*: mean difference of the final hypervolume in the same "
        f"repetition to `{REFERENCE}` and to `{DEFAULT_STRATEGY}`, in percentage points. *Spent*: of the budget; less "
        "where a strategy has nothing left to ask for, because it would repeat what the table has shown it.",
        *_played(found),
        "## How it is judged",
        *_judging(found),
        "## What was replayed",
        *_replayed(found),
        "## Strategies",
        "\n".join(
            f"- `{name}`: {strategies()[name].text}" + ("; the default" if name == DEFAULT_STRATEGY else "")
            for name in dict.fromkeys(item.strategy for case in found.cases for item in case.standings)
        ),
        "## Again",
        f"```sh\n{' '.join(environment['command'])}\n```",
        *_missing(found),
        _measured_with(environment),
    ]
    return "\n\n".join(_joined(parts)) + "\n"


def _case_parts(case: Case) -> list[str]:
    head = (
        "Strategy", "Final, %", "Epochs to goal, %", "For good, %", "Time, %", "Lower, %", "Lead, points",
        "To the default, points", "As seen, %", "Begun / ended", "Spent, %",
    )  # fmt: skip
    return [
        f"## {CORNER_WORDS[case.corner].capitalize()}; {START_WORDS[case.start]}",
        text.markdown_table(head, [_row(item) for item in case.standings]),
    ]


def _played(found: StrategyComparison) -> list[str]:
    """How many repetitions each strategy played, where not all played as many."""
    played = {item.strategy: item.repetitions for case in found.cases for item in case.standings}
    fewer = [f"`{name}` {count}" for name, count in played.items() if count < found.repetitions]
    if not fewer:
        return [f"Every strategy played {text.count(found.repetitions, 'repetition')}."]
    return [
        f"Every strategy played {text.count(found.repetitions, 'repetition')}, but for {text.listing(fewer)}: those "
        f"whose replays take long play the first {SLOW_REPETITIONS} at most, with one start. Each is compared "
        "with the others in the repetitions that both played, the goal included."
    ]


def _missing(found: StrategyComparison) -> list[str]:
    """Strategies that could not play."""
    missing = left_out(real=found.conditions.table.real)
    return [f"Not among the strategies: {'; '.join(f'`{name}` ({why})' for name, why in missing.items())}."] * bool(
        missing
    )


def _judging(found: StrategyComparison) -> list[str]:
    table, judge = found.conditions.table, found.judge
    space, tight = judge.corners["space"], judge.corners["tight"]
    parts = [
        f"The hypervolume of a front is its area with log10 of the parameters across and the validation error up, to a "
        f"corner at the space's largest network ({space.cost:,} parameters). The space's corner is "
        f"guessing ({space.error_pct:g} %), so that the smallest network alone is worth much of it; the tight one is "
        f"the {100 * TIGHT_QUANTILE:.0f} % quantile of the errors ({tight.error_pct:.2f} %). It is given as a share of "
        f"the area of the table's own front ({text.count(len(judge.front), 'network')}, baselines included).",
    ]
    if table.judging_seeds > 1:
        parts.append(
            f"A strategy names its front by what it saw and is judged by what it cannot have seen: of the "
            f"{table.handed_out + table.judging_seeds} trainings of each network the first {table.handed_out} are "
            f"handed out, each once, and the mean error of the other {table.judging_seeds} judges. Intervals resample "
            f"the repetitions and, with {DRAWS_OF_SEEDS} draws, the judging trainings of each network."
        )
    elif table.real:
        parts.append(
            f"A strategy names its front by what it saw and is judged by what it cannot have seen: of the "
            f"{table.handed_out + 1} trainings of each network the first {table.handed_out} are handed out and the "
            "last judges. Intervals resample the repetitions alone, since one judging training shows no spread."
        )
    else:
        parts.append(
            f"A strategy names its front by what it saw, and is judged by the latent errors of the networks on it, "
            f"which no training shows. {text.count(table.handed_out, 'training')} of each network are handed out, each "
            "once. Intervals resample the repetitions."
        )
    if table.real:
        parts.append(
            "All trainings of the table share one validation split: how well what was found would do on other images "
            "is not part of this. Which trainings are handed out is not resampled."
        )
    parts.append(
        "At each size the network is judged that the strategy would take there, the largest on its front. A lucky seed "
        "wins nothing, and loses where it crowds out a better network. *As seen* instead believes what "
        "was seen; it favours whoever trains many noisy networks, which is why it is not the headline."
    )
    return parts


def _replayed(found: StrategyComparison) -> list[str]:
    conditions, table = found.conditions, found.conditions.table
    racing = conditions.racing
    known = (
        f"; {text.listing(list(table.baselines))} known from the start where the start is the same"
        if table.baselines
        else ""
    )
    return [
        f"- **Table:** {table.name}: {text.count(len(table.members), 'network')} of the space {table.space.name}, "
        f"trainings of {table.epochs} epochs{known}",
        f"- **Budget:** {conditions.budget_epochs:,} epochs a strategy "
        f"({conditions.budget_epochs / table.epochs:g} full trainings)",
        f"- **Workers:** {conditions.slots}, in virtual time: an epoch takes "
        + ("its network's measured median time" if table.real else "the same time for all networks"),
        f"- **Beginnings:** a third of the budget, at most {SPREAD_MOST} trainings, is spread over sizes before `tpe`, "
        f"`nsga2`, `gp` and `evolution` choose, as in a run, and {STARTING} trainings before `frontier` and `botorch`",
        f"- **Racing:** pause after {text.listing([str(r) for r in racing.rungs])} epochs, the best "
        f"{100 * racing.keep:.0f} % of each of {racing.bands} size bands continue, by {racing.rank}. With `+forecast` "
        "a training continues there when its predicted final error may be on the front, whatever its size",
        "- **Chance:** a repetition's number decides which of the trainings that are handed out a network shows first, "
        "the same for all strategies, and the seeds of the samplers. A training that is not in the table is refused",
        "- **Ours:** strategies named after a sampler run the code of `rksearch run` (run state, agenda, race, "
        "sampler) over a ledger in memory and a virtual clock",
        "- **An ordinary study:** `frontier-optuna` is the default sampler in a plain Optuna study: `ask`, a whole "
        "training, `tell` with final values",
        "- **Stock Ray:** `OptunaSearch` (default sampler, one categorical choice per decision) and `ASHAScheduler` "
        "(defaults; `max_t` the epochs of a training), called as Tune's controller calls them. A configuration that "
        "names no network costs nothing, and the searcher is told the error of guessing; one proposed again is trained "
        "with another seed as long as the table has one; only trainings that ran to the end count, for all strategies, "
        "although Tune lists stopped ones beside them",
        "- **Rivals:** `botorch` models the error by a `SingleTaskGP` over the features that our own sampler takes, "
        "with the parameters as a deterministic model; `moasha+asha` calls Syne Tune's scheduler as its tuner does; "
        "`synflow` scores untrained networks",
    ]


def _joined(parts: Sequence[str]) -> list[str]:
    """Consecutive list items form one list."""
    found: list[str] = []
    for part in parts:
        if part.startswith("- **") and found and found[-1].startswith("- **"):
            found[-1] += f"\n{part}"
        else:
            found.append(part)
    return found


def _measured_with(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {environment[name]}" for name in ("rksearch", "python", "ray", "optuna", "numpy"))
    commits = environment.get("played_with") or ["none (an installed package)"]
    return (
        f"Replays played with commit {text.listing(commits)}; {versions}; {environment['os']}, {environment['cpu']}, "
        f"{environment['cpu_count']} cores. Hypervolumes and epochs do not depend on the machine."
    )


def _row(item: Standing) -> tuple[str, ...]:
    reference, default = item.strategy == REFERENCE, item.strategy == DEFAULT_STRATEGY
    return (
        f"`{item.strategy}`",
        _percent(item.final),
        _percent(item.epochs, 0),
        _percent(item.settled, 0),
        _percent(item.time, 0),
        text.MISSING if reference else _percent(item.below_reference, 0),
        text.MISSING if reference else _points(item.lead),
        text.MISSING if default or item.to_default is None else _points(item.to_default),
        _percent(item.seen),
        f"{item.started:.0f} / {item.complete:.0f}",
        f"{100 * item.spent:.0f}",
    )


def _cells(item: Standing) -> tuple[str, ...]:
    return (
        item.strategy,
        str(item.repetitions),
        _percent(item.final),
        _percent(item.epochs, 0),
        _points(item.lead),
    )


def _percent(figure: Estimate, digits: int = 2) -> str:
    value, low, high = (
        "∞" if math.isinf(v) else f"{100 * v:.{digits}f}" for v in (figure.value, figure.low, figure.high)
    )
    return f"{value} ({low}–{high})"


def _points(figure: Estimate) -> str:
    """A difference of shares in percentage points, with its sign."""
    value, low, high = (f"{100 * v:+.2f}".replace("-", "−") for v in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _picture_of(case: Case) -> str:
    return _picture_name(case.start, case.corner)


def _picture_name(start: Start, corner: CornerName) -> str:
    return f"curves_{start}_{corner}.svg"


def _picture(found: StrategyComparison, case: Case) -> str:
    return curves_svg(
        case.curves,
        title="How much of the front is still missing, against epochs spent",
        lead=f"{found.conditions.table.name}, {CORNER_WORDS[case.corner]}: median and quartiles of the repetitions",
        goal=case.goal,
        reference=REFERENCE,
        early=EARLY,
    )


def _standings_csv(found: StrategyComparison) -> str:
    names = ("final", "seen", "epochs", "settled", "time", "below", "below_reference", "lead", "to_default")
    head = ["start", "corner", "strategy", "repetitions"]
    rows: list[list[Any]] = [
        [*head, *(f"{name}{end}" for name in names for end in ("", "_low", "_high")), "started", "complete", "spent"]
    ]
    for case in found.cases:
        for item in case.standings:
            figures = [getattr(item, name) for name in names]
            cells = [c for own in figures for c in ((own.value, own.low, own.high) if own else ("", "", ""))]
            written = [f"{c:.6f}" if isinstance(c, float) else c for c in cells]
            ends = [f"{item.started:.2f}", f"{item.complete:.2f}", f"{item.spent:.4f}"]
            rows.append([case.start, case.corner, item.strategy, item.repetitions, *written, *ends])
    return _csv(rows)


def _curves_csv(found: StrategyComparison) -> str:
    rows: list[list[Any]] = [["start", "corner", "strategy", "epochs", "low_quartile", "median", "high_quartile"]]
    for case in found.cases:
        for item in case.curves:
            for epochs, value in zip(item.epochs, item.values, strict=True):
                ends = (f"{v:.5f}" for v in (value.low, value.median, value.high))
                rows.append([case.start, case.corner, item.strategy, f"{epochs:g}", *ends])
    return _csv(rows)


def _repetitions_csv(found: StrategyComparison) -> str:
    names = [f"{kind}_{corner}" for kind in ("hypervolume", "seen") for corner in CORNERS]
    rows: list[list[Any]] = [["strategy", "start", "repetition", *names, "epochs", "time_s", "started", "complete"]]
    for item in found.judged:
        own = item.replay
        values = [f"{v:.6f}" for v in (*item.honest[:, -1, 0], *item.seen[:, -1])]
        ends = [own.epochs, f"{own.time_s:.3f}", own.started, len(own.finished)]
        rows.append([own.strategy, own.start, own.repetition, *values, *ends])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _finite(value: Any) -> Any:
    """The value with null for infinities."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
