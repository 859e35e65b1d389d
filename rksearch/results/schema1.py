"""Records of schema 1 as schema 2 has them.

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


def upgraded_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a schema-1 `run` record with the keys of schema 2.

    Raises:
        KeyError: a key is missing that every version wrote.
        TypeError: `seeds` or `sampler` is no object.
    """
    seeds, sampler = plan["seeds"], plan["sampler"]
    return {
        **PLAN_DEFAULTS,
        **{key: value for key, value in plan.items() if key not in ("seeds", "sampler")},
        "search_seeds": seeds["search"],
        "final_seeds": seeds["final"],
        "sampler": sampler["name"],
        "sampler_seed": sampler["seed"],
    }


def downgraded_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `upgraded_plan`."""
    flat = ("search_seeds", "final_seeds", "sampler", "sampler_seed")
    return {
        **{key: value for key, value in plan.items() if key not in flat},
        "seeds": {"search": plan["search_seeds"], "final": plan["final_seeds"]},
        "sampler": {"name": plan["sampler"], "seed": plan["sampler_seed"]},
    }
