"""The state of a run for scripts (JSON) and for people (lines of text)."""

from __future__ import annotations

from typing import Any

from rksearch.report import text
from rksearch.report.facts import search
from rksearch.report.racing import racing_plan
from rksearch.report.skipped import needed, skipped
from rksearch.results.codec import to_plain
from rksearch.results.status import RunStatus
from rksearch.space.plan import ErrorMetric


def status_json(state: RunStatus) -> dict[str, Any]:
    """The state as plain values for JSON.

    Keys: `run`, `space`, `state` (`running` also after a kill that left no record), `message`, `last_time`, `done`
    (complete), `failed`, `pruned`, `running` (trainings), `pruned_by_epochs`, `epochs_run`, `epochs_saved` (by racing),
    `planned` (architectures to train at least once, from the plan: candidates, the paper's configurations and
    baselines), `finished` (architectures of the plan's kinds with a finished training), `roles` (per role `planned`,
    `finished`, `failed`), `search` and `racing` (the rules, in words), `elapsed_s` (of all sessions), `work_time_s`
    (sum over trials), `test_readings`, `metric` (name of the error by which the run compares networks), `front` and
    `best_per_band` (see `FoundArch`; those of the front also have `p_front`, the probability of being on the front of
    true errors, null where the spread between seeds is not known), `damaged_lines`, `damage` (`line`, `record`, `field`
    and `reason` of each), `unknown` (`line`, `record` and `reason` of intact lines that name what is not known here),
    and `missing` (`kind` and `name` of what the plan needs and is not registered).
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
        "running_trials": list(state.running_trials),
        "planned": state.planned,
        "finished": state.finished,
        "roles": to_plain(state.roles),
        "search": search(state.plan),
        "racing": racing_plan(state.plan.racing if state.plan else None),
        "elapsed_s": state.elapsed_s,
        "work_time_s": state.work_time_s,
        "test_readings": state.test_readings,
        "metric": state.metric.name,
        "front": [{**to_plain(item), "p_front": share} for item, share in state.front],
        "best_per_band": [
            {"low": low, "high": high, **to_plain(item)} for (low, high), item in state.best_per_band.items()
        ],
        "damaged_lines": len(state.damage),
        "damage": to_plain(state.damage),
        "unknown": [{"line": u.line, "record": u.record, "reason": u.reason} for u in state.unknown],
        "missing": [{"kind": m.kind, "name": m.name} for m in state.missing],
    }


def format_status(state: RunStatus) -> str:
    """The state for people, over several lines."""
    stops = state.stops
    lines = [
        f"{state.run}: {state.state}"
        + (f" ({text.one_line(state.message)})" if state.message else "")
        + (f", last record {state.last_time}" if state.last_time else ""),
        f"architectures {state.finished} of {state.planned} planned; trainings {state.done} done, "
        f"{len(state.running_trials)} running, {state.failed} failed, {stops.pruned} pruned",
    ]
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
    if state.running_trials:
        lines.append(f"running: {', '.join(state.running_trials)}")
    for kind in skipped(state.damage, state.unknown):
        lines += [f"ledger: {kind.heading}", *(f"  {line}" for line in kind.lines)]
    lines += [needed(state.missing)] if state.missing else []
    found = status_json(state)
    lines += _listing(
        f"front (parameters, MACs, {state.metric.title}, seeds, probability of being on the front of true errors):",
        found["front"],
        state.metric,
    )
    bands = [
        {**entry, "band": f"{text.tick(entry['low'])}–{text.tick(entry['high'])}"} for entry in found["best_per_band"]
    ]
    lines += _listing("best per size:", bands, state.metric)
    return "\n".join(lines)


def _listing(heading: str, entries: list[dict[str, Any]], metric: ErrorMetric) -> list[str]:
    if not entries:
        return []
    sd = metric.field.replace("_pct", "_sd_pct")
    bands, names = (max(len(entry.get(key, "")) for entry in entries) for key in ("band", "name"))
    return [heading] + [
        f"  {entry.get('band', ''):<{bands}}{'  ' if bands else ''}{entry['name']:<{names}}"
        f"  {text.size(entry['params']):>6}  {text.size(entry['macs']):>6}"
        f"  {text.mean_sd(entry[metric.field], entry[sd]):>16}"
        f"  {text.count(entry['seeds'], 'seed')}"
        + (f"  {text.share(entry['p_front'])}" if entry.get("p_front") is not None else "")
        for entry in entries
    ]
