"""Reading the test set: an explicit last step on chosen architectures, each reading recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rksearch.results.fronts import both_fronts
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.records import TrialSpec
from rksearch.results.summaries import summarise
from rksearch.search.tasks import Phase, Remaining, Task, first_training


class FinalAgenda:
    """Reads the test set once with each chosen training that was not read before.

    Args:
        plan: plan of the run.
        archs: canonical names of the chosen architectures.
        fresh: number of further trainings of each, on training and validation images together and with seeds of their
            own; 0 to read with the trainings of the search.
    """

    def __init__(self, plan: Plan, archs: Sequence[str], *, fresh: int) -> None:
        self._plan = plan
        self._archs = tuple(archs)
        self._fresh = fresh

    def next(
        self, history: History, running: Mapping[str, Task], phase: Phase = "search", together: int = 1
    ) -> Task | None:
        """The next training or reading, or None when nothing can be started before something running ends."""
        if phase == "over":
            return None
        if task := first_training(self._fresh_trainings(), history, running, together):
            return task
        return next((task for task in self.readings(history) if task.id not in running), None)

    def remaining(self, history: History) -> Remaining:
        """Trainings and readings that are not done."""
        missing = [t for t in self._fresh_trainings() if t.id not in history.trials]
        epochs = len(missing) * self._plan.recipe.epochs
        # Each missing training will be read once as well.
        return Remaining(2 * len(missing) + len(self.readings(history)), float(epochs))

    def _fresh_trainings(self) -> list[TrialSpec]:
        plan = self._plan
        return [
            TrialSpec(
                arch=arch,
                dataset=plan.dataset,
                recipe=plan.recipe,
                train_images=plan.train_images,
                replicate=replicate,
                role="final",
            )
            for replicate in range(self._fresh)
            for arch in self._archs
        ]

    def readings(self, history: History) -> list[Task]:
        """Readings with trainings that are finished."""
        read = {test.trial for test in history.tests}
        wanted = {trial.id for trial in self._fresh_trainings()}
        found = []
        for trial, result in history.trials.values():
            chosen = trial.id in wanted if self._fresh else trial.arch in self._archs and not trial.has_own_seeds
            if chosen and result.status == "complete" and trial.id not in read:
                found.append(Task("test", trial))
        return found


def finalists(history: History) -> list[str]:
    """The architectures that are read unless others are chosen: baselines, and the fronts of parameters and of MACs.

    A run that trains the networks of another one again has chosen nothing itself: all of its networks are read.
    """
    items = summarise(history)
    if history.plan is not None and history.plan.source is not None:
        return [item.arch for item in items]
    baselines = [item for item in items if item.is_baseline]
    return [item.arch for item in (*baselines, *both_fronts(items))]
