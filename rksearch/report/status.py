"""The state of a run for scripts (JSON) and for people (lines of text)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rksearch.report import text
from rksearch.report.cells import CHEAPEST
from rksearch.report.facts import search, unreadable
from rksearch.report.prose import verdict_lines
from rksearch.report.racing import racing_plan
from rksearch.report.sections import VerdictLine
from rksearch.report.skipped import needed, skipped
from rksearch.results.codec import to_plain
from rksearch.results.comparisons import BaselineRow
from rksearch.results.fronts import rk_front
from rksearch.results.live import LiveProgress
from rksearch.results.status import RunStatus
from rksearch.space.plan import ErrorMetric


def status_json(state: RunStatus) -> dict[str, Any]:
    """The state as plain values for JSON.

    Keys: `run`, `space`, `state` (`running` also after a kill that left no record), `message`, `last_time`, `done`
    (complete), `failed`, `pruned`, `running`, `waiting` and `paused` (trainings; `running_trials` and `paused_trials`
    are their ids), `live` (null without a driver at work, else `time`, `slots`, `running` with `epoch` of `epochs`,
    `error_pct`, `train_loss` and `left_s` of each task, `waiting`, `to_come`, `seeds_to_come`, `elapsed_s`,
    `remaining_s`, `kept_back` with `id` and `why` of each task that has ended and is not recorded yet), `eta` (when the
    run should end, null where that is not known), `pruned_by_epochs`, `epochs_run`, `epochs_saved` (by racing),
    `planned` (architectures to train at least once, from the plan: candidates, the paper's configurations and
    baselines), `finished` (architectures of the plan's kinds with a finished training), `roles` (per role `planned`,
    `finished`, `failed`), `search` and `racing` (the rules, in words), `elapsed_s` (of all sessions), `work_time_s`
    (sum over trials), `test_readings`, `metric` (name of the error by which the run compares networks), `front` and
    `best_per_band` (see `FoundArch`; those of the front also have `p_front`, the probability of being on the front of
    true errors, null where the spread between seeds is not known, and `smallest`, true where that is 1 by the size
    alone), `verdict` (lines of text), `baselines` and `macs_baselines` (each baseline with its `rival` at no more of
    that cost, `params_ratio`, `macs_ratio`, `outcome`, and the gap with its 95 % interval on the validation images and
    on the test set), `damaged_lines`, `damage` (`line`, `record`, `field` and `reason` of each), `unknown` (`line`,
    `record` and `reason` of intact lines that name what is not known here), and `missing` (`kind` and `name` of what
    the plan needs and is not registered).
    """
    return {
        "run": state.run,
        "space": state.space,
        "state": state.state,
        "message": state.message,
        "last_time": state.last_time,
        "done": state.done,
        "failed": state.failed,
        "pruned": state.stops.pruned,
        "pruned_by_epochs": state.stops.by_epochs,
        "epochs_run": state.stops.epochs_run,
        "epochs_saved": state.stops.epochs_saved,
        "running": len(state.running_trials),
        "waiting": len(state.live.waiting) if state.live else 0,
        "paused": len(state.paused_trials),
        "running_trials": list(state.running_trials),
        "paused_trials": list(state.paused_trials),
        "live": to_plain(state.live) if state.live else None,
        "eta": eta(state.live),
        "planned": state.planned,
        "finished": state.finished,
        "roles": to_plain(state.roles),
        "search": search(state.plan),
        "racing": racing_plan(state.plan.racing if state.plan else None),
        "elapsed_s": state.elapsed_s,
        "work_time_s": state.work_time_s,
        "test_readings": state.test_readings,
        "metric": state.metric.name,
        "front": [
            {**to_plain(item), "p_front": share, "smallest": item.name == state.smallest} for item, share in state.front
        ],
        "verdict": [line.text for line in _verdict(state)],
        "baselines": [_against(row) for row in state.baselines],
        "macs_baselines": [_against(row) for row in state.macs_baselines],
        "best_per_band": [
            {"low": low, "high": high, **to_plain(item)} for (low, high), item in state.best_per_band.items()
        ],
        "unreadable": unreadable(state.history),
        "damaged_lines": len(state.damage),
        "damage": to_plain(state.damage),
        "unknown": [{"line": u.line, "record": u.record, "reason": u.reason} for u in state.unknown],
        "missing": [{"kind": m.kind, "name": m.name} for m in state.missing],
    }


def format_status(state: RunStatus) -> str:
    """The state for people, over several lines."""
    stops = state.stops
    lines = [
        f"{text.one_line(state.run)}: {state.state}"
        + (f" ({text.one_line(state.message)})" if state.message else "")
        + (f", last record {state.last_time}" if state.last_time else ""),
        f"architectures {state.finished} of {state.planned} planned; trainings {state.done} done, "
        f"{_under_way(state)}, {state.failed} failed, {stops.pruned} pruned",
    ]
    lines += [f"  {line}" for line in _live_lines(state)]
    for role, counts in state.roles.items():
        if counts.planned or counts.finished:
            lines.append(f"  {role:<10} {counts.finished} of {counts.planned}, {counts.failed} failed")
    rules = {"search": search(state.plan), "racing": racing_plan(state.plan.racing if state.plan else None)}
    lines += [f"{key}: {words}" for key, words in rules.items() if words]
    lines.append(
        f"elapsed {text.duration(state.elapsed_s)}, work {text.duration(state.work_time_s)}, "
        f"test set read {text.count(state.test_readings, 'time')}"
    )
    if stops.epochs_saved:
        share = stops.epochs_saved / (stops.epochs_run + stops.epochs_saved)
        rungs = ", ".join(f"{number} after {epochs}" for epochs, number in stops.by_epochs.items())
        lines.append(
            f"racing saved {stops.epochs_saved:,} epochs, {text.share(share)} (epochs at which stopped: {rungs})"
        )
    if state.running_trials and not state.live:
        lines.append(f"running: {', '.join(state.running_trials)}")
    if state.state == "killed" and state.history.running:
        lines.append(f"unfinished: {', '.join(state.history.running)}; `rksearch resume` continues them")
    if state.paused_trials:
        lines.append(f"paused: {', '.join(state.paused_trials)}")
    if lost := unreadable(state.history):
        lines.append(f"images: {text.unreadable(lost)}")
    for kind in skipped(state.damage, state.unknown):
        lines += [f"ledger: {kind.heading}", *(f"  {line}" for line in kind.lines)]
    lines += [needed(state.missing)] if state.missing else []
    lines += [f"- {line.text}" for line in _verdict(state)]
    found = status_json(state)
    lines += _listing(
        f"front (parameters, MACs, {state.metric.title}, seeds, probability of being on the front of true errors, "
        "among the networks trained and given these seeds):",
        found["front"],
        state.metric,
    )
    bands = [
        {**entry, "band": f"{text.tick(entry['low'])}–{text.tick(entry['high'])}"} for entry in found["best_per_band"]
    ]
    lines += _listing("best per size:", bands, state.metric)
    return "\n".join(lines)


def under_way_text(live: LiveProgress) -> str:
    """`2 running, 1 waiting, 1 kept back, 9 to come (3 further seeds)`."""
    seeds = f" ({text.count(live.seeds_to_come, 'further seed')})" if live.seeds_to_come else ""
    kept = f"{len(live.kept_back)} kept back, " if live.kept_back else ""
    return f"{len(live.running)} running, {len(live.waiting)} waiting, {kept}{live.to_come:,} to come{seeds}"


def kept_back_lines(live: LiveProgress) -> list[str]:
    """A line for each task that has ended and that the ledger does not have yet."""
    return [f"{task.id}: {text.one_line(task.why)}" for task in live.kept_back]


def eta(live: LiveProgress | None) -> str | None:
    """When the run should end (ISO 8601, UTC); None where that is not known."""
    if live is None or live.remaining_s is None:
        return None
    try:
        end = datetime.fromisoformat(live.time) + timedelta(seconds=live.remaining_s)
    except OverflowError:  # beyond the years that there are
        return None
    return end.isoformat(timespec="seconds").replace("+00:00", "Z")


def _under_way(state: RunStatus) -> str:
    if state.live:
        return under_way_text(state.live)
    return f"{len(state.running_trials)} running"


def _live_lines(state: RunStatus) -> list[str]:
    """The tasks of a session under way, and when it should end."""
    live = state.live
    if live is None:
        return []
    lines = []
    for task in live.running:
        parts = [f"epoch {task.epoch} of {task.epochs}"] if task.epochs else ["reads the test set"]
        parts += [f"loss {task.train_loss:.3f}"] if task.train_loss is not None else []
        parts += [f"{state.metric.title} {text.pct(task.error_pct)}"] if task.error_pct is not None else []
        parts += [f"about {text.clock_text(task.left_s)} left"] if task.left_s is not None else []
        lines.append(f"{task.id}: {', '.join(parts)}")
    lines += [f"{name}: waits for a slot" for name in live.waiting]
    lines += kept_back_lines(live)
    end = eta(live)
    left = f"about {text.clock_text(live.remaining_s)} left, until {end}" if end else "no estimate of the time left yet"
    return [*lines, f"{text.count(live.slots, 'slot')}; {left} (noted {live.time})"]


def _verdict(state: RunStatus) -> tuple[VerdictLine, ...]:
    front = rk_front(state.items)
    return verdict_lines(state.history, state.items, front, state.baselines, state.macs_baselines)


def _against(row: BaselineRow) -> dict[str, Any]:
    return {
        "baseline": row.item.arch,
        "rival": row.rival.arch if row.rival else None,
        "params_ratio": row.params_ratio,
        "macs_ratio": row.macs_ratio,
        "outcome": row.outcome,
        "half": row.is_half if row.outcome == "win" else None,
        "validation": to_plain(row.comparison) if row.comparison else None,
        "test": to_plain(row.tested) if row.tested else None,
    }


def _p_front(entry: dict[str, Any]) -> str:
    return CHEAPEST if entry.get("smallest") else text.share(entry["p_front"])


def _listing(heading: str, entries: list[dict[str, Any]], metric: ErrorMetric) -> list[str]:
    if not entries:
        return []
    sd = metric.field.replace("_pct", "_sd_pct")
    bands, names = (max(len(entry.get(key, "")) for entry in entries) for key in ("band", "name"))
    return [heading] + [
        f"  {entry.get('band', ''):<{bands}}{'  ' if bands else ''}{entry['name']:<{names}}"
        f"  {text.size(entry['params']):>6}  {text.size(entry['macs']):>6}"
        f"  {text.mean_sd(entry[metric.field], entry[sd]):>16}"
        f"  {text.count(entry['seeds'], 'seed')}" + (f"  {_p_front(entry)}" if entry.get("p_front") is not None else "")
        for entry in entries
    ]
