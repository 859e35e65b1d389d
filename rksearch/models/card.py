"""Model cards: what an exported network is, how it was trained, and how well it does.

A card is Markdown under a front matter of YAML, as the Hugging Face Hub reads it
(https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from rksearch.data.facts import covered_size, is_address

LIBRARY = "rksearch"
LICENSE = "apache-2.0"
PIPELINE = "image-classification"
TAGS = (PIPELINE, "runge-kutta", "neural-architecture-search", LIBRARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """The training that exported weights come from, as plain values.

    Attributes:
        trial: id of the training, with the replicate after `@`.
        run: name of its run; None for a training by `rksearch train`.
        replicate, seed: index of the seed, and the number that it gave torch.
        epochs: passes over the training images.
        recipe: every term of the training recipe.
        train_images, val_images: numbers of images trained on and held out.
        split: first 16 hex digits of the SHA-256 of the split's indices.
        errors_pct: errors in percent after the last epoch by name: `val_error_pct`, and where they were measured
            `balanced_val_error_pct`, `top5_val_error_pct`, `test_error_pct`, `balanced_test_error_pct`,
            `top5_test_error_pct`.
        seeds: number of trainings of the architecture in the run that have ended, this one included.
        mean_val_error_pct: mean of their validation errors.
        device, precision: hardware and arithmetic.
        commits: commits of rksearch's checkout in the sessions of the run; a trailing `+` stands for uncommitted
            changes. Empty for an installed package.
        rksearch: version that trained it.
    """

    trial: str
    run: str | None = None
    replicate: int
    seed: int
    epochs: int
    recipe: Mapping[str, Any]
    train_images: int | None
    val_images: int | None
    split: str
    errors_pct: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 1
    mean_val_error_pct: float | None = None
    device: str
    precision: str
    commits: Sequence[str] = ()
    rksearch: str = ""


ERROR_TITLES = {
    "val_error_pct": "Validation error",
    "balanced_val_error_pct": "Balanced validation error",
    "top5_val_error_pct": "Top-5 validation error",
    "test_error_pct": "Test error",
    "balanced_test_error_pct": "Balanced test error",
    "top5_test_error_pct": "Top-5 test error",
}
"""Titles of the errors of a training, in the order in which cards list them."""


USE = 'rksearch.load(".")  # an nn.Module in eval mode; reads safetensors and JSON, unpickles nothing'
"""Code that loads an export in whose directory it runs."""


def card(
    record: Mapping[str, Any], *, use: str = USE, imports: str = "import rksearch", tags: Sequence[str] = ()
) -> str:
    """The model card of an exported network.

    Args:
        record: what `rksearch.models.export.description` returned, also after a way through JSON.
        use, imports: code that loads the network, and what it imports.
        tags: further tags.
    """
    parts = [f"---\n{front_matter(record, tags)}---\n", f"# {record['name']}\n", _network(record)]
    if record.get("training"):
        parts += [_errors(record["training"], record["data"]), _training(record["training"])]
    return "\n".join([*parts, f"## Use\n\n```python\n{imports}\n\nmodel = {use}\n```\n"])


_BEGINNING = re.compile(
    rf"(?:---\nlicense: {LICENSE}\nlibrary_name: {LIBRARY}\n(?:.*\n)*?---\n\n)?# .+\n\n"
    r"A Runge-Kutta convolutional network or a relative of one \(family `\w+`\), exported by\s+rksearch\s"
)
"""How a card begins, of any version: the first ones had no front matter."""


def is_card(text: str) -> bool:
    """Whether a text is the card of an export, of any version, to which nothing was added at either end."""
    return _BEGINNING.match(text) is not None and text.endswith(f"\nmodel = {USE}\n```\n")


def front_matter(record: Mapping[str, Any], tags: Sequence[str] = ()) -> str:
    """The YAML that the Hub reads: license, library, tags, data set, metrics."""
    data, training = record["data"], record.get("training")
    values: dict[str, Any] = {
        "license": LICENSE,
        "library_name": LIBRARY,
        "pipeline_tag": PIPELINE,
        "tags": [*TAGS, record["family"].replace("_", "-"), *tags],
    }
    if training and not is_address(data["name"]):  # an address names files of this machine
        values["datasets"] = [data["name"]]
    if training and training["errors_pct"]:
        values["metrics"] = ["accuracy"]
        values["model-index"] = [_index(record)]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _index(record: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracies, as fractions, in the form of the Hub's `model-index`."""
    data, errors = record["data"], record["training"]["errors_pct"]
    results = [
        {
            "task": {"type": PIPELINE},
            "dataset": {"name": data["name"], "type": data["name"], "split": split},
            "metrics": [{"type": "accuracy", "value": round(1 - errors[name] / 100, 6), "name": "top-1 accuracy"}],
        }
        for name, split in (("val_error_pct", "validation"), ("test_error_pct", "test"))
        if name in errors
    ]
    return {"name": record["name"], "results": results}


def _network(record: Mapping[str, Any]) -> str:
    data = record["data"]
    shape = f"(N, {data['channels']}, {data['height']}, {data['width']})"
    about = "; ".join(filter(None, [data["source"], data["licence"] and f"licence: {data['licence']}"]))
    return f"""A Runge-Kutta convolutional network or a relative of one (family `{record["family"]}`), exported by
rksearch {record["rksearch"]}.

- Input: float images {shape}, pixels of 0 to 255 normalised by channel: minus {list(data["mean"])}, divided by
  {list(data["std"])}.{_view(record)}
- Output: logits (N, {data["classes"]}).
- Data set: {data["name"]}{f" ({about})" if about else ""}.
- Weights: {record["origin"]}.
- Parameters: {record["params"]:,} ({record["params_paper"]:,} without batch norm); multiply-adds for one image:
  {record["macs"]:,}.
"""


def _view(record: Mapping[str, Any]) -> str:
    """How a streamed image becomes an input; empty for images that are kept at the size of the input."""
    data, recipe = record["data"], (record.get("training") or {}).get("recipe", {})
    if not data.get("streamed"):
        return ""
    sides = data["height"], data["width"]
    cover = covered_size(sides, recipe.get("augmentation", ""))
    return (
        "\n  An image becomes one by resizing (bilinear, antialiased, its ratio of sides kept) until it just covers\n"
        f"  {cover[0]} x {cover[1]} pixels, of which the centre of {sides[0]} x {sides[1]} is taken."
    )


MIRRORED = """These are errors of outputs averaged over each image and its mirror image (`flip_averaging`), in two
passes. The network gives the outputs of one pass: average them likewise to find these errors.
"""
"""Note under errors that one pass of the network does not have."""


def _errors(training: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    errors = training["errors_pct"]
    rows = [f"| {title} | {errors[name]:.2f} % |" for name, title in ERROR_TITLES.items() if name in errors]
    if training["seeds"] > 1 and training["mean_val_error_pct"] is not None:
        rows.append(f"| Mean validation error of {training['seeds']} seeds | {training['mean_val_error_pct']:.2f} % |")
    if not rows:
        return "## Errors\n\nNo error was measured: the training held no images out, and the test set was not read.\n"
    if training["recipe"].get("flip_averaging") and data.get("flip"):
        rows += ["", MIRRORED.rstrip()]
    return "\n".join(["## Errors", "", "| after the last epoch | |", "|---|---:|", *rows, ""])


def _training(training: Mapping[str, Any]) -> str:
    run = f" of run {training['run']}" if training["run"] else ""
    counts = f"{_count(training['train_images'])} images, {_count(training['val_images'])} held out for validation"
    commits = ", ".join(training["commits"]) or "an installed package"
    terms = "\n".join(f"| `{name}` | {_term(value)} |" for name, value in training["recipe"].items())
    return f"""## Training

- Training: `{training["trial"]}`{run}, {training["epochs"]} epochs on {counts} (split `{training["split"]}`).
- Seed: replicate {training["replicate"]}, {training["seed"]} for torch.
- Hardware: {training["device"]}, {training["precision"]}.
- Code: rksearch {training["rksearch"] or "of an unknown version"}, {commits}.

| recipe | |
|---|---|
{terms}
"""


def _term(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _count(images: int | None) -> str:
    return "an unknown number of" if images is None else f"{images:,}"
