"""Output of a replay: numbers as JSON and CSV, a page in Markdown, a picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rksearch.bench.replay.comparison import StrategyComparison
from rksearch.bench.replay.judging import Judge
from rksearch.bench.replay.picture import curves_svg
from rksearch.bench.replay.standings import Quartiles, Standing
from rksearch.bench.replay.strategies import DEFAULT_STRATEGY, REFERENCE, strategies
from rksearch.report import text
from rksearch.results.codec import to_plain

GOAL_SHARE = 0.2
"""The aim: the default reaches what random search reaches with this share of its epochs."""


def write_comparison(found: StrategyComparison, out: Path, environment: Mapping[str, Any]) -> list[Path]:
    """Write `README.md`, `curves.svg`, `standings.json`, `curves.csv` and `repetitions.csv` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "README.md": markdown(found, environment),
        "curves.svg": _picture(found),
        "standings.json": json.dumps(to_json(found, environment), indent=2) + "\n",
        "curves.csv": _curves_csv(found),
        "repetitions.csv": _repetitions_csv(found),
    }
    for name, content in files.items():
        (out / name).write_text(content, encoding="utf-8")
    return [out / name for name in files]


def to_json(found: StrategyComparison, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the curves, as plain values; what was never reached is null."""
    table, judge = found.conditions.table, Judge(found.conditions.table)
    return {
        "table": {
            "name": table.name,
            "space": table.space.name,
            "space_sha256": table.space.definition.sha256,
            "members": len(table.members),
            "seeds": table.seeds,
            "epochs": table.epochs,
            "front": judge.front,
            "area": judge.area,
            "reference": {"params": judge.reference.cost, "val_error_pct": judge.reference.error_pct},
        },
        "repetitions": found.repetitions,
        "slots": found.conditions.slots,
        "budget_epochs": found.conditions.budget_epochs,
        "racing": to_plain(found.conditions.racing),
        "goal": found.goal,
        "standings": [_finite(asdict(item)) for item in found.standings],
        "environment": dict(environment),
    }


def standings_text(found: StrategyComparison) -> str:
    """The table for a terminal."""
    head = ("strategy", "final hypervolume, %", "epochs to random's, %", "end lower", "than random", "trainings")
    rows = [head, *(_cells(item) for item in found.standings)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
             for row in rows]  # fmt: skip
    return "\n".join([*lines, verdict(found)])


def verdict(found: StrategyComparison) -> str:
    """A sentence that says whether the default met its aim."""
    mine = next((item for item in found.standings if item.strategy == DEFAULT_STRATEGY), None)
    if mine is None:
        return f"The default ({DEFAULT_STRATEGY}) was not among the strategies."
    reached = (
        f"reaches random search's median final hypervolume with {_share(mine.epochs.median)} of its epochs in the "
        "median"
        if math.isfinite(mine.epochs.median)
        else "does not reach random search's median final hypervolume in half of the repetitions"
    )
    aim = f"at most {100 * GOAL_SHARE:.0f} %, and never lower"
    met = mine.epochs.median <= GOAL_SHARE and mine.below == 0
    return (
        f"The default, {DEFAULT_STRATEGY}, {reached}, and ends below it in {_share(mine.below)} of the repetitions "
        f"(the aim: {aim}: {'met' if met else 'not met'})."
    )


def markdown(found: StrategyComparison, environment: Mapping[str, Any]) -> str:
    """The page."""
    conditions, table = found.conditions, found.conditions.table
    judge = Judge(table)
    racing = conditions.racing
    parts = [
        "# Search strategies, replayed",
        verdict(found),
        "![Hypervolume against epochs for every strategy](curves.svg)",
        "| Strategy | Final hypervolume, % | Epochs to random's, % of its | The same for good | Time to it | "
        "End lower than random's median | End lower than random beside | Trainings begun / ended | "
        "Hypervolume as seen, % |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        + "\n".join(_row(item) for item in found.standings),
        "Median (quartiles) over the repetitions; ∞: not reached within the budget. *For good*: from when on it stays "
        "there. *Time*: on the virtual workers' clock, as a share of random search's. *Random beside*: random search "
        "in the same repetition, which meets the same trainings.",
        "## How it is judged",
        f"The hypervolume is the area that a front dominates, with log10 of the parameters across and the validation "
        f"error up, to the corner of the space's largest network ({judge.reference.cost:,} parameters) and "
        f"of guessing ({judge.reference.error_pct:g} %). It is given as a share of the area of the table's own front "
        f"({text.count(len(judge.front), 'network')} by mean error over all seeds).",
        "A strategy names its front by what it saw, one training of each network, and is judged by the mean errors "
        "over all tabulated seeds of the networks on it. A lucky seed wins nothing, and loses where it crowds "
        "out a better network. The last column instead believes what was seen; it favours whoever trains many noisy "
        "networks, which is why it is not the headline. Because one training is a noisy measurement, the whole table "
        "seen once is itself worth less than 100 %.",
        "## What was replayed",
        f"- **Table:** {table.name}: {text.count(len(table.members), 'network')} of the space {table.space.name}, "
        f"{table.seeds} trainings of {table.epochs} epochs each, from the run's ledger",
        f"- **Budget:** {conditions.budget_epochs:,} epochs a strategy "
        f"({conditions.budget_epochs / table.epochs:g} full trainings), "
        f"{text.count(found.repetitions, 'repetition')}",
        f"- **Workers:** {conditions.slots}, in virtual time: an epoch takes its network's measured median time",
        f"- **Racing:** pause after {text.listing([str(r) for r in racing.rungs])} epochs, the best "
        f"{100 * racing.keep:.0f} % of each of {racing.bands} size bands continue, by {racing.rank}",
        "- **Chance:** a repetition's number decides which of its tabulated trainings a network shows first, the same "
        "for all strategies, and the seeds of the samplers",
        "- **Ours:** `random` to `frontier` run the code of `rksearch run` (run state, agenda, race, sampler) over a "
        "ledger in memory and a virtual clock",
        "- **An ordinary study:** `frontier-optuna` is the default sampler in a plain Optuna study: `ask`, a whole "
        "training, `tell` with final values",
        "- **Stock Ray:** `OptunaSearch` (default sampler, one categorical choice per decision) and `ASHAScheduler` "
        "(defaults; `max_t` the epochs of a training), called as Tune's controller calls them. Where stock use leaves "
        "a choice the kinder one is taken: a configuration that names no network costs nothing, one proposed again is "
        "trained with another seed, and only trainings that ran to the end count, although Tune lists stopped ones "
        "beside them",
        "## Strategies",
        "\n".join(
            f"- `{item.strategy}`: {strategies()[item.strategy].text}"
            + ("; the default" if item.strategy == DEFAULT_STRATEGY else "")
            for item in found.standings
        ),
        "## Again",
        f"```sh\n{' '.join(environment['command'])}\n```",
        _measured_with(environment),
    ]
    return "\n\n".join(_joined(parts)) + "\n"


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
    commit = environment.get("commit") or "none (an installed package)"
    dirty = ", with uncommitted changes" if environment.get("dirty") else ""
    return (
        f"Commit {commit}{dirty}; {versions}; {environment['os']}, {environment['cpu']}, "
        f"{environment['cpu_count']} cores. Hypervolumes and epochs do not depend on the machine."
    )


def _row(item: Standing) -> str:
    cells = [
        f"`{item.strategy}`",
        _percent(item.final),
        _percent(item.epochs, 0),
        _percent(item.settled, 0),
        _percent(item.time, 0),
        _share(item.below),
        _share(item.below_rival) if item.strategy != REFERENCE else text.MISSING,
        f"{item.started:.0f} / {item.complete:.0f}",
        _percent(item.seen),
    ]
    return f"| {' | '.join(cells)} |"


def _cells(item: Standing) -> tuple[str, ...]:
    return (
        item.strategy,
        _percent(item.final),
        _percent(item.epochs, 0),
        _share(item.below),
        _share(item.below_rival),
        f"{item.started:.0f} / {item.complete:.0f}",
    )


def _percent(values: Quartiles, digits: int = 2) -> str:
    low, median, high = (
        "∞" if math.isinf(v) else f"{100 * v:.{digits}f}" for v in (values.low, values.median, values.high)
    )
    return f"{median} ({low}–{high})"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _picture(found: StrategyComparison) -> str:
    conditions = found.conditions
    labels = {item.strategy: item.strategy for item in found.standings if "+" not in item.strategy}
    return curves_svg(
        found.curves,
        title="How much of the front is still missing, against epochs spent",
        lead=f"{conditions.table.name}: median and quartiles of {found.repetitions} repetitions; share of the "
        "hypervolume of the table's own front",
        goal=found.goal,
        labels=labels,
    )


def _curves_csv(found: StrategyComparison) -> str:
    rows: list[list[Any]] = [["strategy", "epochs", "low_quartile", "median", "high_quartile"]]
    for item in found.curves:
        for epochs, value in zip(item.epochs, item.values, strict=True):
            rows.append([item.strategy, f"{epochs:g}", *(f"{v:.6f}" for v in (value.low, value.median, value.high))])
    return _csv(rows)


def _repetitions_csv(found: StrategyComparison) -> str:
    head = [
        "strategy",
        "repetition",
        "hypervolume",
        "seen",
        "epochs",
        "time_s",
        "epochs_to_goal",
        "started",
        "complete",
    ]
    rows: list[list[Any]] = [head]
    for item in found.replays:
        first, final = item.first(found.goal), item.final
        values = [f"{final.honest:.6f}", f"{final.optimistic:.6f}", item.epochs, f"{item.time_s:.3f}"]
        rows.append(
            [item.strategy, item.repetition, *values, first.epochs if first else "", item.started, item.complete]
        )
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
