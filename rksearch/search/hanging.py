"""Judgement of a training by its own measured steps: whether it hangs."""

from __future__ import annotations

import math

from rksearch.training.pulse import Beat

LEAST_S = 120.0
"""No part counts as hung before it has lasted this long, in seconds."""

TIMES = 30.0
"""A part that has lasted this many times the longest one of its kind before counts as hung."""

FIRST_S = 1200.0
"""Longest time of a part that the training does for the first time, in seconds."""

FIRST_OF_S = {"load": 6 * 3600.0, "validate": 6 * 3600.0, "test": 6 * 3600.0, "prepare": 3600.0, "latency": 3600.0}
"""The same for reading (or downloading) images, for passes over many of them, compiling, and measuring latency."""

DRIVERS = ("report",)
"""Parts in which a worker waits for the driver, which may have been suspended: they last as long as they last."""

SILENT_S = 300.0
"""Longest time without a sign of a worker, in seconds: a process whose interpreter is blocked gives none."""

STARTS_S = 1200.0
"""The same before its first sign."""


def hanging(beat: Beat | None, silent_s: float) -> str | None:
    """Why a training counts as hung; None if it does not.

    Args:
        beat: its last sign of life; None before the first.
        silent_s: seconds since that came, or since its worker began.
    """
    if beat is None:
        return f"its worker gave no sign within {silent_s:.0f} s of its start" if silent_s > STARTS_S else None
    if silent_s > max(SILENT_S, TIMES * (beat.longest_s or 0.0)):
        return f"its worker gave no sign for {silent_s:.0f} s (at: {beat.part})"
    if beat.lasted_s <= limit_s(beat):
        return None
    before = "the first one" if beat.longest_s is None else f"the longest before took {_seconds(beat.longest_s)}"
    return f"a {beat.part} has lasted {beat.lasted_s:.0f} s ({before})"


def limit_s(beat: Beat) -> float:
    """Seconds that the present part of a training may last."""
    if beat.part in DRIVERS:
        return math.inf
    if beat.longest_s is None:
        return FIRST_OF_S.get(beat.part, FIRST_S)
    return max(LEAST_S, TIMES * beat.longest_s)


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
