"""Player of the search's own code: run state, agenda, race and sampler are those of a run on a machine."""

from __future__ import annotations

from dataclasses import replace

from rksearch.bench.replay.simulation import Work
from rksearch.bench.replay.table import NoFurtherTraining, Table
from rksearch.results.codec import to_plain
from rksearch.results.records import Epoch, TrialResult
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task


class SearchPlayer:
    """Gives the tasks of a run to virtual workers.

    Args:
        state: state of a run in memory.
        table: where trainings are looked up.
        repetition: decides the seeds of the trainings.
    """

    def __init__(self, state: RunState, table: Table, *, repetition: int) -> None:
        self._state = state
        self._table = table
        self._repetition = repetition
        self._tasks: dict[str, Task] = {}

    def next(self) -> Work | None:
        """The run's next task as work; a replicate that the table does not hand out has failed at once."""
        while (task := self._state.next()) is not None:
            self._state.on_start(task)
            arch, replicate = task.trial.arch, task.trial.replicate
            try:
                training = self._table.training(arch, repetition=self._repetition, replicate=replicate)
            except NoFurtherTraining as error:
                self._state.on_end(task, {"failure": "error", "message": str(error)})
                continue
            return self._work(task, training)
        return None

    def _work(self, task: Task, training: TrialResult) -> Work:
        self._tasks[task.id] = task
        paused = self._state.history.paused.get(task.trial.id)
        done = len(paused[1].epochs) if paused else 0
        return Work(key=task.id, arch=task.trial.arch, training=training, first=done + 1, last=task.epochs)

    def on_epoch(self, work: Work, epoch: Epoch) -> bool:
        """Pass the epoch to the run; a training continues until its task's last epoch."""
        self._state.on_epoch(self._tasks[work.key], epoch)
        return True

    def on_end(self, work: Work) -> TrialResult | None:
        """Pass to the run the outcome that a worker would have returned."""
        task = self._tasks.pop(work.key)
        result = work.training
        if work.last < len(result.epochs):
            result = replace(result, status="paused", failure=None, message=None, epochs=result.epochs[: work.last])
        self._state.on_end(task, {"result": to_plain(result)})
        return result
