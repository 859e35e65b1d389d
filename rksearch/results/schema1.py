"""Upgrade of records from schema 1 to schema 2.

A key that is absent takes the default of the version that wrote the record, never today's: schema 1 began without
racing, replicates, a control arm and imported trainings, and chose by TPE for error and parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLAN_DEFAULTS: dict[str, Any] = {
    "replicates": 0,
    "objectives": ["val_error_pct", "params"],
    "start": [],
    "imported": [],
    "racing": None,
    "control": False,
}


class MissingKeyError(Exception):
    """A key is absent that every version has written; `field` is its path."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


RECIPE_KEYS = (
    "name",
    "epochs",
    "batch_size",
    "lr",
    "schedule",
    "milestones",
    "warmup",
    "momentum",
    "nesterov",
    "weight_decay",
    "augment",
)
SPEC_KEYS = ("arch", "dataset", "recipe", "train_images", "replicate", "role")
PLAN_KEYS = ("dataset", "recipe", "train_images", "baselines", "known", "trials", "sampler")

REQUIRED = {"plan": PLAN_KEYS, "plan.recipe": RECIPE_KEYS, "spec": SPEC_KEYS, "spec.recipe": RECIPE_KEYS}
"""Keys that every version has written, by the path of the object that holds them."""


def require_keys(record: Mapping[str, Any]) -> None:
    """Make sure that a record has the keys that every version has written and that have defaults in memory.

    Raises:
        MissingKeyError: one is absent.
    """
    for path, keys in REQUIRED.items():
        value: Any = record
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            for key in keys:
                if key not in value:
                    raise MissingKeyError(f"{path}.{key}")


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 1 with the keys of schema 2; what has another type than expected stays as it is.

    Raises:
        MissingKeyError: a key is absent that every version wrote.
    """
    changed = dict(record)
    if record["event"] == "run" and isinstance(record.get("plan"), Mapping):
        changed["plan"] = _plan(record["plan"])
    elif record["event"] == "session" and isinstance(record.get("environment"), Mapping):
        changed["environment"] = _environment(record["environment"])
    elif record["event"] == "end":
        changed.setdefault("message", None)
    return changed


def _plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    found = {**PLAN_DEFAULTS, **{key: value for key, value in plan.items() if key not in ("seeds", "sampler")}}
    for outer, inner, name in (
        ("seeds", "search", "search_seeds"),
        ("seeds", "final", "final_seeds"),
        ("sampler", "name", "sampler"),
        ("sampler", "seed", "sampler_seed"),
    ):
        value = plan.get(outer)
        if not isinstance(value, Mapping) or inner not in value:
            raise MissingKeyError(f"plan.{outer}.{inner}")
        found[name] = value[inner]
    return found


ENVIRONMENT_KEYS = (
    "rksearch",
    "commit",
    "dirty",
    "command",
    "python",
    "os",
    "cpu",
    "cpu_count",
    "memory_bytes",
    "gpus",
)


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 had one key per package beside the others."""
    found = {key: environment[key] for key in ENVIRONMENT_KEYS if key in environment}
    if isinstance(found.get("command"), str):
        found["command"] = found["command"].split()
    return {**found, "packages": {k: v for k, v in environment.items() if k not in ENVIRONMENT_KEYS}}
