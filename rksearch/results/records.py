"""What is asked of a trial and what it returns: plain values that travel between driver, workers and ledger.

Nothing here imports torch or Ray, so that the ledger and the report can be read anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from rksearch.recipes.recipe import Recipe

Role = Literal["baseline", "known", "candidate", "control", "final"]
"""Why an architecture is trained: as a baseline, as a configuration of the paper, because the search chose it, in the
random control arm, or on training and validation images together to be read against the test set."""

Status = Literal["complete", "failed", "pruned", "paused"]
"""`pruned`: stopped for good by racing; `paused`: at an epoch from which it may go on. Neither is a final error."""


OWN_SEEDS = ("control", "final")
"""Roles whose trainings are independent of all others of the same architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One training: one architecture, one recipe, one seed.

    Attributes:
        arch: canonical name of the architecture.
        dataset: name of the data set.
        recipe: how it is trained.
        train_images: size of the stratified subset that is trained on; None for all training images.
        replicate: 0 for the first training of an architecture, 1, 2, ... for repetitions with other seeds.
        role: why it is trained. One of role `final` also trains on the validation images.
    """

    arch: str
    dataset: str
    recipe: Recipe
    train_images: int | None = None
    replicate: int = 0
    role: Role = "candidate"

    @property
    def id(self) -> str:
        """Unique within a run: `ResNet-20@0`; `ResNet-20@control0`, `ResNet-20@final0` are others."""
        return f"{self.arch}@{self.role if self.role in OWN_SEEDS else ''}{self.replicate}"

    @property
    def seed(self) -> int:
        """A function of architecture and replicate alone (of the id, that is), never of the order of arrival."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:4], "big")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {
            "arch": self.arch,
            "dataset": self.dataset,
            "recipe": self.recipe.to_json(),
            "train_images": self.train_images,
            "replicate": self.replicate,
            "role": self.role,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrialSpec:
        """The trial that `to_json` wrote."""
        return cls(
            arch=record["arch"],
            dataset=record["dataset"],
            recipe=Recipe.from_json(record["recipe"]),
            train_images=record["train_images"],
            replicate=record["replicate"],
            role=record["role"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training images; errors are top-1, in percent.

    Attributes:
        epoch: counted from 1.
        lr: learning rate of the epoch's first step.
        train_loss, train_error_pct: running means over the epoch's augmented batches.
        val_loss, val_error_pct: on the validation split, after the epoch.
        train_time_s: wall time of the training pass alone, validation left out; an equal share of it where several
            seeds were trained together.
    """

    epoch: int
    lr: float
    train_loss: float
    train_error_pct: float
    val_loss: float
    val_error_pct: float
    train_time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What a finished trial found.

    Attributes:
        status: `complete` after the full number of epochs, else how it ended or stands; see `Status`.
        failure: stable label of the reason when failed (`non_finite_loss`, `out_of_memory`, `error`, ...), else None.
        message: the reason in one line when failed, else None.
        epochs: every epoch that ran, resumed ones included.
        params, params_paper, macs, fvcore_flops: our closed forms (see `rksearch.arch.cost`).
        witness: counts taken from the built model: `params` (torch), `fvcore_flops` (fvcore; None where it is not
            installed), and `agree`.
        device, precision, threads: what it ran on.
        compiled: whether its training steps were compiled; None where that is not known.
        compile_reason: why they were or were not, in words.
        images: how many images were used: `train`, `val`.
        split: first 16 hex digits of the SHA-256 of the split's indices.
        memory: `predicted_peak_bytes` of the training, and whether it had to `recompute` activations to fit (see
            `rksearch.training.memory`); None where it was not predicted.
        latency_ms: of inference by batch size, `{"1": {"median_ms": ..., "iqr_ms": ..., ...}}` (see
            `rksearch.training.latency`); None where it was not measured.
        seeds_together: how many seeds of the architecture were trained as one program, this one among them; times are
            equal shares of what all took.
    """

    status: Status
    failure: str | None = None
    message: str | None = None
    epochs: tuple[Epoch, ...] = ()
    params: int | None = None
    params_paper: int | None = None
    macs: int | None = None
    fvcore_flops: int | None = None
    witness: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    precision: str = ""
    threads: int = 0
    compiled: bool | None = None
    compile_reason: str = ""
    images: dict[str, int] = field(default_factory=dict)
    split: str = ""
    memory: dict[str, Any] | None = None
    latency_ms: dict[str, Any] | None = None
    seeds_together: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "epochs"}
        return {**plain, "epochs": [{name: getattr(e, name) for name in Epoch.__slots__} for e in self.epochs]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrialResult:
        """The result that `to_json` wrote; keys that a later version added are ignored."""
        known = {k: v for k, v in record.items() if k in cls.__slots__}
        return cls(**{**known, "epochs": tuple(Epoch(**e) for e in record["epochs"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One reading of the test set, by the weights of a trial's last epoch.

    Attributes:
        test_error_pct: top-1 error in percent.
        test_loss: mean cross-entropy.
        test_images: how many images were read.
    """

    __test__: ClassVar[bool] = False  # keeps pytest from taking the class for a group of tests

    test_error_pct: float
    test_loss: float
    test_images: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TestResult:
        """The result that `to_json` wrote; keys that a later version added are ignored."""
        return cls(**{k: v for k, v in record.items() if k in cls.__slots__})
