"""The JSON Schema of space files, made from the lists of keys that the loader uses.

`search_spaces/space.schema.json` holds it for editors; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rksearch.arch import MAX_NUMBER
from rksearch.arch.families import searchable
from rksearch.arch.period import LEARNED
from rksearch.arch.tableaux import TABLEAUX
from rksearch.data.facts import KINDS, datasets
from rksearch.recipes.reading import LARGEST, types
from rksearch.recipes.shipped import recipes
from rksearch.space.definition import MAX_COUNT
from rksearch.space.format.reading import BUDGETS, CHOICES, OPTIONAL, REQUIRED
from rksearch.space.plan import METRICS, OBJECTIVES, RANKS

Schema = dict[str, Any]

POSITIVE: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}


def schema(samplers: Collection[str]) -> Schema:
    """The schema (draft 2020-12). Arithmetic rules (sizes, empty spaces) are left to the loader.

    Args:
        samplers: names of the known samplers.
    """
    properties = _properties(samplers)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rksearch search space",
        **_object({key: properties[key] for key in (*REQUIRED, *OPTIONAL)}, REQUIRED),
        "oneOf": [
            {
                "required": ["periods"],
                "not": {"required": ["architectures"]},
                "if": {"properties": {"families": {"items": {"enum": _without_growth()}}}, "required": ["families"]},
                "then": {"not": {"required": ["growth_rate"]}},
                "else": {
                    "required": ["growth_rate"],
                    "properties": {"periods": {"items": {"required": ["m"]}}},
                },
            },
            {
                "required": ["architectures"],
                "not": {"anyOf": [{"required": [key]} for key in (*CHOICES, "families", "constraints")]},
            },
        ],
    }


def _without_growth() -> list[str]:
    """Families whose networks have neither growth rate nor growth multiples."""
    return [key for key, family in searchable().items() if not family.grows]


def _properties(samplers: Collection[str]) -> dict[str, Schema]:
    count: Schema = {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?[kMG]$"},
            {"type": "string", "pattern": "^[A-Z][A-Za-z]+-"},
            {"type": "null"},
        ],
        "description": "a count (800_000, 800k, 0.8M), an architecture that costs it, or null for an open end",
    }
    budget: Schema = {
        "anyOf": [
            {"type": "array", "items": count, "minItems": 2, "maxItems": 2},
            _object({"at_least": count, "at_most": count}),
        ]
    }
    architectures = _list({"type": "string", "pattern": "^[A-Z]"}, at_least=0)
    return {
        "description": _say({"type": "string"}, "purpose of the space, in a line"),
        "dataset": _say(
            {"anyOf": [{"enum": list(datasets.items())}, {"type": "string", "pattern": f"^({'|'.join(KINDS)}):"}]},
            "decides input size and classes, and so every count",
        ),
        "families": _say(_list({"enum": list(searchable())}), "kinds of networks; dense_bc when left out"),
        "growth_rate": _say(_list(POSITIVE), "choices of k, the channels that a layer adds"),
        "periods": _say(
            {"type": "array", "items": _period(), "minItems": 1}, "choices of each period, finest resolution first"
        ),
        "constraints": _say(
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "rules on decisions of one period or of two neighbours, such as m1 <= m2",
        ),
        "architectures": _say(
            {**architectures, "minItems": 1}, "names of the candidates, in place of growth_rate and periods"
        ),
        "budgets": _say(_object(dict.fromkeys(BUDGETS, budget)), "limits on the costs of candidates, ends included"),
        "recipe": _say({"anyOf": [_recipe_name(), _recipe()]}, "training recipe of the candidates: a name, or a path"),
        "train_images": _say(
            {"type": ["integer", "null"], "minimum": 1}, "number of training images to use; null for all"
        ),
        "baselines": _say(architectures, "networks to compare with"),
        "known": _say(architectures, "networks to train before the search chooses any"),
        "trials": _say(POSITIVE, "candidates that a run trains"),
        "seeds": _say(
            _object({"search": POSITIVE, "final": POSITIVE}, ("search", "final")), "trainings of each network"
        ),
        "metric": _say({"enum": list(METRICS)}, "error that networks are compared by; top1_error when left out"),
        "search": _say(_search(samplers), "sampler, objectives, early stopping and replicates"),
    }


def _search(samplers: Collection[str]) -> Schema:
    share: Schema = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    racing = _object(
        {
            "rungs": _say(_list(share), "shares of the epochs after which trials pause"),
            "keep": _say(share, "share of each band that continues after a rung"),
            "bands": _say({**POSITIVE, "maximum": 100}, "bands of size within which trials are compared"),
            "rank": _say({"enum": list(RANKS)}, "quantity by which trials are ranked"),
        }
    )
    objectives = {**_list({"enum": list(OBJECTIVES)}), "minItems": 2, "maxItems": 3}
    return _object(
        {
            "sampler": _say({"enum": list(samplers)}, "sampler that chooses candidates"),
            "objectives": _say(objectives, "quantities to minimise: the error and one or two costs"),
            "racing": _say({"anyOf": [{"type": "boolean"}, racing]}, "true, or rules, to stop weak candidates early"),
            "replicates": _say(
                {"type": "integer", "minimum": 0, "maximum": 1_000_000},
                "number of trainings beyond those of seeds, where membership in the front is uncertain",
            ),
        }
    )


def _period() -> Schema:
    rule = _object({"transition_of": {"type": "string", "pattern": "^DenseNet-"}}, ("transition_of",))
    methods: Schema = {"anyOf": [{"const": LEARNED}, {"type": "string", "pattern": f"^({'|'.join(TABLEAUX)})($|\\+)"}]}
    period = _object(
        {
            "m": _say({"anyOf": [_list(POSITIVE), rule]}, "growth multiples, or those of a DenseNet's transitions"),
            "s": _say(_list(POSITIVE), "stages of a learned method"),
            "r": _say(_list(POSITIVE), "time-steps"),
            "share": _say(_list({"type": "boolean"}), "whether time-steps share their convolutions"),
            "method": _say(
                _list(methods), "learned (when left out), or tableaux with options as in names, such as rk4 or rk4+tie"
            ),
        },
        ("r",),
    )
    learned: Schema = {"anyOf": [{"required": ["s"]}, {"required": ["method"]}]}
    return {**period, **learned}


def _recipe() -> Schema:
    kinds: dict[type, Schema] = {
        int: {"type": "integer", "minimum": 0, "maximum": LARGEST},
        float: {"type": ["number", "string"]},  # YAML 1.1 reads 1e-4 as a string, the loader as a number
        bool: {"type": "boolean"},
        str: {"type": "string"},
        tuple: _list({"type": ["number", "string"]}),
    }
    properties = {name: kinds[kind] for name, kind in types().items()}
    properties |= dict.fromkeys(("epochs", "batch_size"), POSITIVE)
    return _object({"name": _recipe_name(), **properties}, ("name",))


def _recipe_name() -> Schema:
    return {"anyOf": [{"enum": list(recipes())}, {"type": "string", "pattern": r"[/\\]|\.ya?ml$"}]}


def _object(properties: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema, at_least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": at_least, "uniqueItems": True}


def _say(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}
