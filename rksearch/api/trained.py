"""Networks with the weights of finished trainings: those of a run, and those that `rksearch train` left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.api import Run
from rksearch.arch import parse
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import RunError, nearest
from rksearch.results.environment import Environment
from rksearch.results.records import TestResult, TrialResult, TrialSpec
from rksearch.results.run_dir import RunDir
from rksearch.results.summaries import ArchSummary, summarise
from rksearch.results.training_record import TrainingRecord, trainings_in

if TYPE_CHECKING:
    from rksearch.models import Network
    from rksearch.models.card import TrainingFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """A network with the weights of a finished training.

    Attributes:
        network: in eval mode, on the CPU.
        data: facts about its images.
        facts: the training.
        origin: the same in words.
    """

    network: Network
    data: Dataset
    facts: TrainingFacts
    origin: str


def load(what: str | Path) -> Network:
    """Load a network with its weights, in eval mode on the CPU. No pickled code is run.

    Args:
        what: directory of an export; or `RUN:TRIAL`, a finished trial of the run in directory RUN, or a training that
            `rksearch train --out RUN` has left.

    Returns:
        A module from float images (N, C, H, W), normalised as the data set says, to logits (N, classes).

    Raises:
        ExportError: files of an export are missing or damaged.
        RunError: there is no such run, trial or training, or its checkpoint is missing; or `what` is no name.
        SpecError: a name is malformed.
    """
    from rksearch.models.export import load as load_export

    if not isinstance(what, str | PathLike):
        raise RunError(
            f"a network to load is named by a directory or RUN:TRIAL, but got {type(what).__name__}; give one"
        )
    if os.path.exists(what) or names_training(str(what)) is None:
        return load_export(what)
    return trained_network(str(what)).network


def names_training(what: str) -> tuple[str, str] | None:
    """The two parts of `RUN:TRIAL`; None where `what` has another form."""
    directory, colon, trial = what.rpartition(":")
    return (directory, trial) if colon else None


def trained_network(what: str) -> TrainedNetwork:
    """The network of `RUN:TRIAL`; see `load`.

    Raises:
        RunError: there is no such run, trial or training, or its checkpoint is missing.
    """
    directory, trial = names_training(what) or ("", what)
    if not directory or not trial:
        raise RunError(f"a trained network is named RUN:TRIAL, but got {what!r}; see `rksearch status RUN` for trials")
    if RunDir(Path(directory)).has_ledger:
        return trained_in_run(Run(directory), trial)
    return _trained_alone(Path(directory), trial)


def trained_in_run(run: Run, trial_id: str) -> TrainedNetwork:
    """The network of a finished trial of a run.

    Raises:
        RunError: there is no such trial, or its checkpoint is missing.
    """
    history = run.history
    spec = run.trial(trial_id)
    result = run.trials[trial_id][1]
    if result.status != "complete":
        raise RunError(f"a complete training must be named, but {trial_id} of {run.path} is {result.status}")
    facts = _facts(
        spec,
        result,
        test=next((reading.result for reading in history.tests if reading.trial == trial_id), None),
        environments=[session.environment for session in history.sessions],
        run=history.name,
        summary=next((item for item in summarise(history) if trial_id in item.trial_ids), None),
    )
    data = history.data.dataset if history.data else dataset(spec.dataset)
    return _network(spec, data, facts, run.weights(trial_id))


def front_trials(run: Run) -> list[str]:
    """Ids of one complete trial of each architecture on the front of a run, in the order of the front.

    It is the trial with the lowest replicate: choosing the best seed by its error would flatter the network.

    Raises:
        RunError: the front is empty.
    """
    from rksearch.results.fronts import rk_front

    found = [
        next(trial for trial in item.trial_ids if run.trial(trial).is_searched)
        for item in rk_front(summarise(run.history))
    ]
    if not found:
        raise RunError(f"a front needs a complete training, but {run.path} has none; resume the run first")
    return found


def _trained_alone(parent: Path, name: str) -> TrainedNetwork:
    """The network that `rksearch train` left in a directory of `parent`.

    Raises:
        RunError: there is none of this name, or several.
    """
    known = dict(trainings_in(parent))
    if not known:
        raise RunError(
            f"{parent} must be the directory of a run, or the --out of finished trainings by `rksearch train`, but it "
            "is neither; give the one that was used"
        )
    found = {path: record for path, record in known.items() if name in (path.name, record.spec.id)}
    if not found:
        near = nearest(name, [path.name for path in known])
        raise RunError(f"a finished training in {parent} must be named, but got {name!r}{near}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise RunError(f"{parent} holds {len(found)} trainings {name}, of other settings each; name one of {names}")
    ((directory, record),) = found.items()
    return _trained(directory, record)


def _trained(directory: Path, record: TrainingRecord) -> TrainedNetwork:
    """The network of a record.

    Raises:
        RunError: its training is not complete, or its checkpoint is missing.
    """
    from rksearch.training.trial import finished_weights

    if record.result.status != "complete":
        raise RunError(
            f"a complete training must be named, but {record.spec.id} in {directory} is {record.result.status}; "
            "give the command that trained it again"
        )
    facts = _facts(record.spec, record.result, test=record.test, environments=[record.environment])
    return _network(record.spec, record.data.dataset, facts, finished_weights(record.spec, directory))


def _network(spec: TrialSpec, data: Dataset, facts: TrainingFacts, weights: Mapping[str, Any]) -> TrainedNetwork:
    from rksearch.models import build

    network = build(parse(spec.arch), data)
    network.load_state_dict(weights)
    origin = f"last epoch of trial {spec.id}, {spec.recipe.epochs} epochs on {spec.dataset}"
    return TrainedNetwork(network=network.eval(), data=data, facts=facts, origin=origin)


def _facts(
    spec: TrialSpec,
    result: TrialResult,
    *,
    test: TestResult | None,
    environments: Sequence[Environment],
    run: str | None = None,
    summary: ArchSummary | None = None,
) -> TrainingFacts:
    from rksearch.models.card import TrainingFacts

    last = result.epochs[-1]
    measured = {
        "val_error_pct": last.val_error_pct,
        "balanced_val_error_pct": last.balanced_val_error_pct,
        "top5_val_error_pct": last.top5_val_error_pct,
    }
    if test is not None:
        measured |= {
            "test_error_pct": test.test_error_pct,
            "balanced_test_error_pct": test.balanced_test_error_pct,
            "top5_test_error_pct": test.top5_test_error_pct,
        }
    return TrainingFacts(
        trial=spec.id,
        run=run,
        replicate=spec.replicate,
        seed=spec.seed,
        epochs=len(result.epochs),
        recipe=asdict(spec.recipe),
        train_images=result.images.train,
        val_images=result.images.val,
        split=result.split,
        # NaN stands for a number that is not finite, or for a split that is empty.
        errors_pct={name: value for name, value in measured.items() if value is not None and isfinite(value)},
        seeds=summary.seeds if summary else 1,
        mean_val_error_pct=summary.val_error_pct if summary and isfinite(summary.val_error_pct) else None,
        device=result.device,
        precision=result.precision,
        commits=tuple(dict.fromkeys(filter(None, map(_commit, environments)))),
        rksearch=environments[-1].rksearch if environments else "",
    )


def _commit(environment: Environment) -> str | None:
    return environment.commit and environment.commit + ("+" if environment.dirty else "")
