"""Resources of one session of a run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rksearch.errors import RunError
from rksearch.ordinary import is_text
from rksearch.plain import is_finite, is_flag, is_number, is_path, is_whole, make_plain
from rksearch.results.checks import printable
from rksearch.results.storage_address import require_no_credentials, require_no_fragment
from rksearch.search.batch import LATEST_S, job_pauses_at_s
from rksearch.search.budget import MOST_HOURS, TimeBudget
from rksearch.training.engine.words import AUTO, COMPILATION, DEVICES, PRECISIONS

CPUS_PER_TRIAL = 1.0
"""CPU cores of a trial, unless the user says otherwise."""

LEAST_SHARE = 0.01
"""Smallest share of a CPU, or of a GPU, that a trial can reserve."""

MOST_CPUS = 100_000
"""Most CPUs of a trial."""

LOCAL = "local"
"""What Ray calls a Ray that it starts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Resources that a session may use.

    Attributes:
        cpus_per_trial, gpus_per_trial: reserved for each trial; fractions let trials share a GPU. None for GPUs: the
            share that `rksearch.search.sharing` finds best, none where there is no GPU.
        seeds_together: largest number of seeds of one architecture that are trained as one program; None for the
            number that `rksearch.search.sharing` finds best where it measures, else one.
        max_concurrent: largest number of trials at a time; None for all that fit.
        trial_hours: longest time of one training, of all its sessions together; None for no limit.
        address: address of a Ray cluster to join; None starts Ray on this machine and stops it at the end.
        data_dir: where data sets lie or are downloaded to; None for what `rksearch.data.locations` decides.
        download: whether a missing data set may be downloaded.
        device, precision, compile: see `rksearch.training.execution.Execution`.
        storage: URI or path beneath which the run mirrors its checkpoints, as the user wrote it; None for no mirror.
        cpu_hours, gpu_hours: see `rksearch.search.budget.TimeBudget`; None for no limit.
        until_s: time (seconds since 1970) at which the session ends; None for no limit.
        verbose: whether Ray's and the workers' own messages are shown.
        log: names of loggers besides the ledger; see `rksearch.search.loggers`.
        callbacks: `ray.tune.Callback` objects of the caller's, which Tune calls in the driver; an exception in one of
            them ends the session.

    Raises:
        RunError: more than one GPU for a trial, an address or a storage that is not of UTF-8, an address that names no
            cluster, a storage that is empty or whose address holds credentials or a fragment, hours or an end that no
            calendar reaches, or another value of the wrong type or out of its range.
    """

    cpus_per_trial: float = CPUS_PER_TRIAL
    gpus_per_trial: float | None = None
    seeds_together: int | None = None
    max_concurrent: int | None = None
    trial_hours: float | None = None
    address: str | None = None
    data_dir: Path | None = None
    download: bool = True
    device: str = AUTO
    precision: str = AUTO
    compile: str = AUTO
    storage: str | None = None
    cpu_hours: float | None = None
    gpu_hours: float | None = None
    until_s: float | None = None
    verbose: bool = False
    log: tuple[str, ...] = ()
    callbacks: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        make_plain(self)
        for name, (suits, rule) in STATED.items():
            if not suits(value := getattr(self, name)):
                raise RunError(f"{name} must be {rule}, but got {value!r}; give another value, or leave it out")
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1:
            raise RunError(
                f"a trial trains on one GPU, because a search runs its trials in parallel, but got --gpus-per-trial "
                f"{self.gpus_per_trial:g}; give 1 or less, and every GPU has trials of its own"
            )
        for option, hours in (
            ("cpu-hours", self.cpu_hours),
            ("gpu-hours", self.gpu_hours),
            ("trial-hours", self.trial_hours),
        ):
            if not _is_hours(hours):
                raise RunError(
                    f"--{option} must be above 0 and at most {MOST_HOURS:,}, but got {hours!r}; give another number, "
                    "or leave it out for no limit"
                )
        for option in ("address", "storage"):
            if not is_text(getattr(self, option) or ""):
                raise RunError(f"--{option} must be of UTF-8, but got {getattr(self, option)!r}; give another one")
        if self.until_s is not None and not 0 <= self.until_s <= LATEST_S:
            raise RunError(
                f"--until must be a time from 0 to {LATEST_S:,} seconds since 1970, but got {self.until_s:g}; give "
                "another one"
            )
        # Ray takes both for a Ray of its own, which nothing here would guard or limit.
        if self.address is not None and self.address.strip() in ("", LOCAL):
            raise RunError(
                f"--address must name a Ray cluster to join, but got {self.address!r}; leave it out to start Ray on "
                "this machine, or give HOST:PORT or `auto`"
            )
        if self.storage is not None:
            if not self.storage.strip():
                raise RunError(
                    f"--storage must be a URI or a path, but got {self.storage!r}; leave it out to keep checkpoints "
                    "here alone"
                )
            require_no_credentials(self.storage)
            require_no_fragment(self.storage)

    @property
    def threads(self) -> int:
        """CPU threads of a trial."""
        return max(1, math.floor(self.cpus_per_trial))

    @property
    def budget(self) -> TimeBudget:
        """The limits of time, the end of a batch job among them, for a session that begins now."""
        return TimeBudget(
            cpu_hours=self.cpu_hours,
            gpu_hours=self.gpu_hours,
            until_s=self.until_s,
            job_until_s=job_pauses_at_s(),
        )

    @property
    def limited(self) -> bool:
        """Whether there is a budget of time."""
        return any(limit is not None for limit in (self.cpu_hours, self.gpu_hours, self.until_s))

    def options(self) -> dict[str, Any]:
        """Plain values for the ledger's session record."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "callbacks"}
        own["log"] = ",".join(self.log)
        return {k: str(v) if isinstance(v, os.PathLike) else v for k, v in own.items()}


def _is_cpus(value: Any) -> bool:
    return is_finite(value) and LEAST_SHARE <= value <= MOST_CPUS


def _is_share(value: Any) -> bool:
    return value is None or (is_finite(value) and (value == 0 or value >= LEAST_SHARE))


def _is_hours(value: Any) -> bool:
    return value is None or (is_finite(value) and 0 < value <= MOST_HOURS)


def _is_count(value: Any) -> bool:
    return value is None or (is_whole(value) and value >= 1)


def _is_place(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\0" not in value)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


STATED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "cpus_per_trial": (_is_cpus, f"a number of CPUs from {LEAST_SHARE} to {MOST_CPUS:,}"),
    "gpus_per_trial": (
        lambda value: value == math.inf or _is_share(value),  # of more than one the rule is about GPUs
        f"None, 0 or a share of a GPU from {LEAST_SHARE} to 1",
    ),
    "seeds_together": (_is_count, "None or a whole number of at least 1"),
    "max_concurrent": (_is_count, "None or a whole number of at least 1"),
    "until_s": (
        lambda value: value is None or is_number(value),  # of nan and inf the rule is about times
        "None or a number of seconds since 1970",
    ),
    "address": (_is_text, "None or a text"),
    "storage": (_is_text, "None or a text"),
    "data_dir": (
        lambda value: value is None or is_path(value),
        "None or the path of a directory",
    ),
    "download": (is_flag, "True or False"),
    "verbose": (is_flag, "True or False"),
    "device": (DEVICES.__contains__, f"one of {', '.join(DEVICES)}"),
    "precision": (PRECISIONS.__contains__, f"one of {', '.join(PRECISIONS)}"),
    "compile": (COMPILATION.__contains__, f"one of {', '.join(COMPILATION)}"),
    "log": (
        lambda value: isinstance(value, tuple | list) and all(isinstance(name, str) for name in value),
        'a tuple of names of loggers, as in ("csv",)',
    ),
    "callbacks": (lambda value: isinstance(value, tuple | list), "a tuple of objects"),
}
"""What a caller may state, from Python too, where nothing checks types: of each field a test, and the rule in words."""

REMEMBERED: Mapping[str, Callable[[Any], bool]] = {
    "cpus_per_trial": _is_cpus,
    "gpus_per_trial": _is_share,
    "seeds_together": _is_count,
    "max_concurrent": _is_count,
    "trial_hours": _is_hours,
    "data_dir": _is_place,
    "download": is_flag,
    "device": DEVICES.__contains__,
    "precision": PRECISIONS.__contains__,
    "compile": COMPILATION.__contains__,
    "storage": _is_place,
    "cpu_hours": _is_hours,
    "gpu_hours": _is_hours,
    "log": lambda value: isinstance(value, str),
}
"""Options of a session that the next one takes over unless the user chooses others, and what each may be."""


def as_before(resources: Resources, chosen: frozenset[str], options: Mapping[str, Any]) -> Resources:
    """The resources with the earlier session's options wherever the user chose none; never its address or verbosity.

    What is no value of an option (see `unusable`) is not taken over.
    """
    kept = {key: options[key] for key, suits in REMEMBERED.items() if key in options and suits(options[key])}
    if kept.get("data_dir") is not None:
        kept["data_dir"] = Path(kept["data_dir"])
    if not kept.get("storage"):
        kept.pop("storage", None)  # an empty one meant none before it was refused
    if "log" in kept:
        kept["log"] = tuple(filter(None, str(kept["log"]).split(",")))
    if "no_download" in chosen:
        chosen |= {"download"}
    return replace(resources, **{key: value for key, value in kept.items() if key not in chosen})


def unusable(chosen: frozenset[str], options: Mapping[str, Any]) -> str:
    """The earlier session's options that cannot be taken over, in words; empty where all can, or the user chose."""
    bad = [k for k, suits in REMEMBERED.items() if k not in chosen and k in options and not suits(options[k])]
    return ", ".join(f"{key} {printable(repr(options[key]))}" for key in bad)
