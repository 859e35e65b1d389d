"""How far a run has come, for scripts and for people; reads nothing but the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rksearch.report import text
from rksearch.report.facts import search
from rksearch.report.prose import plan, run_name, space
from rksearch.report.racing import racing, racing_plan
from rksearch.results.fronts import ArchSummary, best_per_band, membership, rk_front, summarise
from rksearch.results.ledger import History, Ledger
from rksearch.results.run_dir import RunDir

ROLES = ("baseline", "known", "candidate", "control")


def read_run(run_dir: Path) -> History:
    """What the ledger in this directory says.

    Raises:
        RunError: there is no ledger.
    """
    RunDir(Path(run_dir)).require_ledger()
    return Ledger(run_dir).read()


def status(history: History) -> dict[str, Any]:
    """The state of a run as plain values for JSON.

    Keys: `run`, `space`, `state` (`running` also after a kill that left no word), `message`, `last_time`, `done`
    (complete), `failed`, `pruned`, `running` (trainings), `pruned_by_epochs`, `epochs_run`, `epochs_saved` (by racing),
    `planned` (architectures to train at least once, from the plan: candidates, the paper's configurations and
    baselines), `finished` (architectures of the plan's kinds with a finished training), `roles` (per role `planned`,
    `finished`, `failed`), `search` and `racing` (the rules, in words), `elapsed_s` (of all sessions), `work_time_s`
    (sum over trials), `test_readings`, `front` and `best_per_band` (see `_entry`; those of the front also have
    `p_front`, the probability of being on the front of true errors, null where the spread between seeds is not known),
    `damaged_lines`.
    """
    items = summarise(history)
    roles = {role: _role(history, role) for role in ROLES}
    stopped = racing(history)
    replicated = any(item.seeds > 1 for item in items)
    shares = membership(items) if replicated else {}
    return {
        "run": run_name(history),
        "space": space(history).get("name"),
        "state": history.state,
        "message": history.message,
        "last_time": history.last_time,
        "done": sum(result.status == "complete" for _, result in history.trials.values()),
        "failed": len(history.failed),
        "pruned": stopped.pruned,
        "pruned_by_epochs": stopped.by_rung,
        "epochs_run": stopped.epochs_run,
        "epochs_saved": stopped.epochs_saved,
        "running": len(history.running),
        "running_trials": list(history.running),
        "planned": sum(role["planned"] for role in roles.values()),
        "finished": sum(role["finished"] for role in roles.values()),
        "roles": roles,
        "search": search(history),
        "racing": racing_plan(plan(history).get("racing")),
        "elapsed_s": round(sum(s.duration_s for s in history.sessions), 3),
        "work_time_s": round(sum(history.wall_time_s.values()), 3),
        "test_readings": len(history.tests),
        "front": [{**_entry(item), "p_front": shares.get(item.arch)} for item in rk_front(items)],
        "best_per_band": [
            {"low": low, "high": high, **_entry(item)} for (low, high), item in best_per_band(items).items()
        ],
        "damaged_lines": history.damaged,
    }


def format_status(state: dict[str, Any]) -> str:
    """The same for people, over several lines."""
    lines = [
        f"{state['run']}: {state['state']}"
        + (f" ({text.one_line(state['message'])})" if state["message"] else "")
        + (f", last record {state['last_time']}" if state["last_time"] else ""),
        f"architectures {state['finished']} of {state['planned']} planned; trainings {state['done']} done, "
        f"{state['running']} running, {state['failed']} failed, {state['pruned']} pruned",
    ]
    for role, counts in state["roles"].items():
        if counts["planned"] or counts["finished"]:
            lines.append(f"  {role:<10} {counts['finished']} of {counts['planned']}, {counts['failed']} failed")
    lines += [f"{key}: {state[key]}" for key in ("search", "racing") if state[key]]
    lines.append(
        f"elapsed {text.duration(state['elapsed_s'])}, work {text.duration(state['work_time_s'])}, "
        f"test set read {text.count(state['test_readings'], 'time')}"
    )
    if state["epochs_saved"]:
        share = state["epochs_saved"] / (state["epochs_run"] + state["epochs_saved"])
        rungs = ", ".join(f"{number} after {epochs}" for epochs, number in state["pruned_by_epochs"].items())
        lines.append(
            f"racing saved {state['epochs_saved']:,} epochs, {text.share(share)} (epochs at which stopped: {rungs})"
        )
    if state["running_trials"]:
        lines.append(f"running: {', '.join(state['running_trials'])}")
    if state["damaged_lines"]:
        lines.append(f"{text.count(state['damaged_lines'], 'damaged line')} of the ledger skipped")
    lines += _listing(
        "front (parameters, MACs, validation error, seeds, probability of being on the front of true errors):",
        state["front"],
    )
    bands = [
        {**entry, "band": f"{text.tick(entry['low'])}–{text.tick(entry['high'])}"} for entry in state["best_per_band"]
    ]
    lines += _listing("best per size:", bands)
    return "\n".join(lines)


def _role(history: History, role: str) -> dict[str, int]:
    asked = plan(history)
    named = {"baseline": "baselines", "known": "known"}.get(role)
    wanted = role == "candidate" or bool(asked.get("control"))
    planned = len(asked.get(named) or ()) if named else int(asked.get("trials") or 0) * wanted
    mine = [(spec, result) for spec, result in history.trials.values() if spec.role == role]
    return {
        "planned": planned,
        "finished": len({spec.arch for spec, _ in mine}),
        "failed": sum(result.status == "failed" for _, result in mine),
    }


def _entry(item: ArchSummary) -> dict[str, Any]:
    return {
        "name": item.arch,
        "params": item.params,
        "macs": item.macs,
        "val_error_pct": item.val_error_pct,
        "val_error_sd_pct": item.val_error_sd_pct,
        "seeds": item.seeds,
    }


def _listing(heading: str, entries: list[dict[str, Any]]) -> list[str]:
    if not entries:
        return []
    bands, names = (max(len(entry.get(key, "")) for entry in entries) for key in ("band", "name"))
    return [heading] + [
        f"  {entry.get('band', ''):<{bands}}{'  ' if bands else ''}{entry['name']:<{names}}"
        f"  {text.size(entry['params']):>6}  {text.size(entry['macs']):>6}"
        f"  {text.mean_sd(entry['val_error_pct'], entry['val_error_sd_pct']):>16}"
        f"  {text.count(entry['seeds'], 'seed')}"
        + (f"  {text.share(entry['p_front'])}" if entry.get("p_front") is not None else "")
        for entry in entries
    ]
