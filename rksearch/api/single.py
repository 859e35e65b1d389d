"""Training one network, without Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.arch import ArchSpec, parse
from rksearch.data.facts import DEFAULT_DATASET, Dataset
from rksearch.data.facts import dataset as dataset_facts
from rksearch.data.locations import data_home
from rksearch.errors import RunError, TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import PAPER_RECIPE
from rksearch.recipes.shipped import recipe as recipe_named
from rksearch.results.data_record import DataRecord
from rksearch.results.environment import current_environment
from rksearch.results.records import Epoch, TestResult, TrialResult, TrialSpec
from rksearch.results.training_record import TrainingRecord, read_training
from rksearch.search.limits import stated_whole
from rksearch.search.reservations import cpus_here
from rksearch.training.execution import Execution

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training that has ended, or was paused by `deadline_s` of its execution.

    Attributes:
        spec: what was trained.
        result: its curve, counts and device; its status is `complete` or `paused`.
        test: the reading of the test set; None unless it was asked for, and of a paused training.
        directory: directory of its checkpoints and, once it is complete, of its record; `rksearch.load` and `rksearch
            export` read it.
    """

    spec: TrialSpec
    result: TrialResult
    test: TestResult | None = None
    directory: Path

    @property
    def frame(self) -> pandas.DataFrame:
        """One row per epoch."""
        from rksearch.results.frames import epochs_frame

        return epochs_frame(self.result.epochs)


def default_execution(work_dir: str | Path = "work", data_dir: Path | None = None) -> Execution:
    """Execution of a training alone on this machine: all CPUs of this process, checkpoints beneath `work_dir`.

    Args:
        work_dir: directory of the checkpoints.
        data_dir: directory of data sets; None for the usual one.
    """
    return Execution(work_dir=str(Path(work_dir).absolute()), data_dir=str(data_home(data_dir)), threads=cpus_here())


def train(
    arch: str | ArchSpec,
    execution: Execution | None = None,
    *,
    dataset: str = DEFAULT_DATASET,
    recipe: str | Path | Recipe = PAPER_RECIPE,
    epochs: int | None = None,
    train_images: int | None = None,
    replicate: int = 0,
    read_test: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train one architecture to its end, as `rksearch train` does; the same call resumes from the last checkpoint.

    It works in a directory of its own beneath `execution.work_dir`, named by what was asked: trainings of other
    settings lie beside it.

    Where `execution.deadline_s` comes first, the training is paused: it has no record and no reading of the test set
    until a call without that deadline has resumed it and brought it to its end.

    Args:
        arch: an architecture's name or spec.
        execution: where and with what resources; None for checkpoints beneath `work`, all CPUs, and the defaults of
            `rksearch train`.
        dataset: name of the data set.
        recipe: a recipe, a shipped one's name, or the path of a YAML file.
        epochs: passes over the training images; None for the recipe's.
        train_images: size of the stratified subset to train on; None for all.
        replicate: number of the seed.
        read_test: whether to read the test set once at the end.
        on_epoch: called after every newly trained epoch.

    Raises:
        TrialFailed: the network cannot be trained; the message names the trial.
        RksearchError: a bad name, no data, no such device, a full disk.
    """
    epochs = stated_whole("epochs", epochs)
    train_images = stated_whole("train_images", train_images)
    replicate = stated_whole("replicate", replicate) or 0
    chosen = recipe if isinstance(recipe, Recipe) else recipe_named(recipe)
    facts = dataset_facts(dataset)
    spec = TrialSpec(
        arch=str(parse(arch) if isinstance(arch, str) else arch),
        dataset=facts.name,
        recipe=replace(chosen, epochs=epochs) if epochs else chosen,
        train_images=train_images,
        replicate=replicate,
        role="candidate",
    )
    from rksearch.training.trial import own_dir, run_trial, test_trial

    execution = execution or default_execution()
    directory = own_dir(Path(execution.work_dir), spec)
    execution = replace(execution, fingerprint=facts.fingerprint, work_dir=str(directory))
    result = run_trial(spec, execution, on_epoch)
    if result.status == "failed":
        raise TrialFailed(str(result.failure), f"{spec.id} failed ({result.failure}): {result.message}")
    if result.status != "complete":
        return Trained(spec=spec, result=result, directory=directory)
    test = test_trial(spec, execution) if read_test else None
    _record(directory, spec, result, facts, test)
    return Trained(spec=spec, result=result, test=test, directory=directory)


def _record(directory: Path, spec: TrialSpec, result: TrialResult, facts: Dataset, test: TestResult | None) -> None:
    """Write the record of a training, which keeps what an earlier one says of where it ended and was tested.

    Raises:
        RunError: it cannot be written.
    """
    try:
        earlier = read_training(directory)
    except RunError:
        earlier = None  # damaged: this one takes its place
    TrainingRecord(
        spec=spec,
        result=result,
        environment=earlier.environment if earlier else current_environment(),
        data=DataRecord.of(facts),
        test=test or (earlier.test if earlier else None),
    ).write(directory)
