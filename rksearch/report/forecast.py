"""Forecasts of a run's cost in words, and what it took beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rksearch.report import text
from rksearch.results.events import Forecast, TrainingForecast
from rksearch.results.files import size_text
from rksearch.results.history import History

PARTS = {
    "baselines": "baselines",
    "known": "the paper's configurations",
    "candidates": "candidates",
    "control": "the control arm",
    "seeds": "further seeds",
    "replicates": "further trainings where the front is uncertain",
}
"""Names of the parts of a forecast, in the order in which they are shown."""


def forecast_lines(found: Forecast, smaller: Sequence[tuple[str, float]] = ()) -> list[str]:
    """The forecast over several lines.

    Args:
        found: the forecast.
        smaller: options that would make the run shorter, with the expected seconds of each.
    """
    lines = []
    if found.trainings:
        lines.append(f"One training, measured here ({found.measured_on}):")
        width = max(len(t.arch) for t in found.trainings)
        lines += [f"  {t.what:<8}  {t.arch:<{width}}  {_training(t)}" for t in found.trainings]
    if found.wall_time_s is None:
        lines.append("The cost of the run is not known before its first trainings have ended.")
        return lines
    source = "" if found.trainings else f", by {found.measured_on}"
    lines.append(
        f"The run: about {_duration(found.wall_time_s)}, {text.count(found.slots, 'training')} at a time"
        f"{_hours(found)}{source}"
    )
    if found.parts_s:
        shown = [f"{PARTS[n]} {_duration(found.parts_s[n])}" for n in PARTS if n in found.parts_s]
        lines.append(f"  work: {', '.join(shown)} (for a front of {found.front})")
    if found.racing_saves_s:
        lines.append(f"  racing saves about {_duration(found.racing_saves_s)} of work")
    if found.disk_bytes:
        lines.append(f"  disk: checkpoints take up to {size_text(found.disk_bytes)}")
    if found.budget:
        lines.append(f"  the budget of time ends it {found.budget}")
    lines += _advice(found, smaller)
    return lines


def _training(training: TrainingForecast) -> str:
    cost = f"{text.size(training.macs):>6} MACs"
    if training.time_s is None:
        return f"{cost}  {text.one_line(training.note)}"
    memory = f", {size_text(training.peak_bytes)} of memory" if training.peak_bytes else ""
    note = f" ({text.one_line(training.note)})" if training.note else ""
    return f"{cost}  {_duration(training.time_s)}{memory}{note}"


def _duration(seconds: float) -> str:
    """A duration as in the rest of a report; short ones with two digits."""
    return text.duration(seconds) if seconds >= 9.5 else f"{seconds:.2g} s"


def _hours(found: Forecast) -> str:
    """Hours of CPUs and GPUs, in words."""
    shown = [
        f"{seconds / 3600:.3g} {kind} hours"
        for seconds, kind in ((found.cpu_s, "CPU"), (found.gpu_s, "GPU"))
        if seconds
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _advice(found: Forecast, smaller: Sequence[tuple[str, float]]) -> list[str]:
    """What would fit into a day, for a run that takes longer and has no budget."""
    if not is_long(found) or found.budget:
        return []
    options = [f"{option} (about {_duration(seconds)})" for option, seconds in smaller]
    options.append("a budget such as --cpu-hours 24 or --until 18:30")
    return [f"That is more than a day. What would fit: {text.listing(options)}."]


def is_long(found: Forecast) -> bool:
    """Whether a run is expected to take more than a day."""
    return found.wall_time_s is not None and found.wall_time_s > 86_400


def forecast_fact(history: History) -> str:
    """The first session's forecast beside what the run took, in words; empty without a forecast.

    Time is compared once the run is finished in that session; that of single trainings whenever one has ended.
    """
    found = history.sessions[0].forecast if history.sessions else None
    if found is None or found.wall_time_s is None:
        return ""
    parts = [f"{_duration(found.wall_time_s)} expected before the first training"]
    took = history.sessions[0].duration_s
    if history.state == "finished" and len(history.sessions) == 1 and len(history.plans) == 1:
        parts.append(f"{_duration(took)} taken ({took / found.wall_time_s:.2f} times as long)")
    ratios = _ratios(history, found)
    if ratios:
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        parts.append(
            f"{text.count(len(ratios), 'training')} of measured networks took {mean:.2f} times as long as "
            "expected (geometric mean)"
        )
    return "; ".join(parts)


def _ratios(history: History, found: Forecast) -> list[float]:
    """Worker time by expected time, of each whole training of a network that was measured."""
    expected = {t.arch: t.time_s for t in found.trainings if t.time_s}
    return [
        history.wall_time_s[key] / time_s
        for key, (spec, result) in history.trials.items()
        if result.status == "complete" and spec.role != "final" and history.wall_time_s[key] > 0
        if (time_s := expected.get(spec.arch))
    ]
