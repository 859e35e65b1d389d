"""What a search does next, decided from the ledger alone: no Ray, no Optuna, no clock.

Work comes in this order, so that a run that is cut short has the comparisons first:

1. baselines, then the paper's known configurations, all to the end;
2. candidates that the sampler chooses, until the plan's number is reached or the space is exhausted. Where they race,
   a trial that may go on from a rung goes before a new one; what is left behind when none is new is pruned;
3. further seeds for the baselines, and, once the race is over, for what then stands on the front (by parameters or by
   MACs), until every member of the front has all its seeds;
4. further seeds, as many as the plan says, one by one for the architecture whose membership in the front is most
   uncertain; those of step 3 do not count, whoever leaves or joins the front meanwhile.

The test set is not read: that is asked for separately, see `rksearch.search.final`. An interrupted run goes on by the
same rules: whatever was started and not finished is simply not done yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from rksearch.results.fronts import ArchSummary, by_macs, by_params, membership, rk_front, summarise
from rksearch.results.ledger import History
from rksearch.results.plan import Plan
from rksearch.results.records import Role, TrialResult, TrialSpec
from rksearch.search.racing import Field, Race, Racer, expected_epochs
from rksearch.search.samplers.base import Sampler
from rksearch.search.tasks import Phase, Remaining, Task, first_training

CERTAIN = 0.02
"""Membership in the front with a probability below this, or above one minus this, is not worth another training."""


class SearchAgenda:
    """Hands out the tasks of a search, each once, given what is finished and what is running.

    Args:
        settings: the plan.
        sampler: chooses candidates.
        history: of the run so far; says which candidates were chosen in earlier sessions.
        race: the rules of racing, where the plan has it.
        control: chooses the architectures of the control arm, where the plan has one.
    """

    def __init__(
        self,
        settings: Plan,
        sampler: Sampler,
        history: History,
        *,
        race: Race | None = None,
        control: Sampler | None = None,
    ) -> None:
        self._settings = settings
        self._sampler = sampler
        self._race = race
        self._control_sampler = control
        self._first = {*settings.baselines, *settings.known}
        self._candidates = list(dict.fromkeys(a for a, r in _split_ids(history.started) if r.isdigit()))
        self._candidates = [arch for arch in self._candidates if arch not in self._first]
        # Their first trainings by id, until they are finished: all of them would be too many to look at each time.
        self._open = {trial.id: trial for trial in (self._trial(arch, 0) for arch in self._candidates)}
        self._controls = list(dict.fromkeys(a for a, r in _split_ids(history.started) if r.startswith("control")))
        self._exhausted = False
        # How the race stands, by what has been read of the history: the last results, and how many are finished.
        self._field = Field(race) if race else None
        self._heard: dict[str, TrialResult] = {}
        self._told = 0

    @property
    def exhausted(self) -> bool:
        """Whether the space ran out of new architectures before the plan's number was reached."""
        return self._exhausted

    @property
    def architectures(self) -> list[str]:
        """Everything that is or will be trained so far: baselines, known, candidates, in this order."""
        return [*self._settings.baselines, *self._settings.known, *self._candidates]

    def next(
        self, history: History, running: Mapping[str, Task], phase: Phase = "search", together: int = 1
    ) -> Task | None:
        """The next task, or None when nothing can be started before something that is running ends."""
        if phase == "over":
            return None
        first = self._seeds((*self._settings.baselines, *self._settings.known))
        if task := first_training(first, history, running, together):
            return task
        if task := self._control(history, running):
            return task
        if task := self._search(history, running, phase, together):
            return task
        if task := first_training(self._replicates(self._settings.baselines), history, running, together):
            return task
        if any(task.trial.role in ("candidate", "known") and not task.trial.replicate for task in running.values()):
            return None  # the front may still change
        return self._refine(history, running, together)

    def remaining(self, history: History) -> Remaining:
        """Trainings that are not finished, given what stands on the front now, and their epochs."""
        full = self._settings.recipe.epochs
        front = [item.arch for item in self.front(history)]
        wanted = {t.id for t in self._replicates((*self._settings.baselines, *front))}
        wanted |= {t.id for t in self._seeds(self._first)}
        certain = len(wanted - set(history.trials))
        unknown = 0 if self._exhausted else max(0, self._settings.trials - len(self._candidates))
        begun = [arch for arch in self._candidates if f"{arch}@0" not in history.trials]
        seeds = self._settings.search_seeds
        extra = max(0, (self._settings.replicates or 0) - self._extra_trainings(history))
        epochs = (
            full * (certain + extra)
            + sum(self._expected_epochs(history, arch) for arch in begun)
            + unknown * self._expected_epochs(history, None) * seeds
        )
        return Remaining(certain + len(begun) + unknown * seeds + extra, epochs)

    def front(self, history: History) -> list[ArchSummary]:
        """The architectures on the front of parameters or of MACs, by rising parameters."""
        items = summarise(history)
        both = {i.arch: i for cost in (by_params, by_macs) for i in rk_front(items, cost=cost)}
        return sorted(both.values(), key=lambda i: (i.params, i.arch))

    # -- the search itself

    def _search(self, history: History, running: Mapping[str, Task], phase: Phase, together: int) -> Task | None:
        """A candidate that goes on, a new one, a further seed of one, or one to be written down as pruned."""
        rungs = self._race.racing.rungs if self._race else ()
        for trial_id in [key for key in self._open if key in history.trials]:
            del self._open[trial_id]
        for trial_id, trial in self._open.items():
            if trial_id in running:
                continue
            epochs = len(history.paused[trial_id][1].epochs) if trial_id in history.paused else 0
            if epochs not in rungs:  # interrupted on its way
                return self._train(trial, history, until=self._next_rung(epochs))
        if task := self._promotion(history, running):
            return task
        if phase == "search" and (new := self._new_candidate()):
            return self._train(self._trial(new, 0), history, until=self._next_rung(0))
        # From here on no new trial comes; those under way may still change what is the better share at their rungs.
        expected = min((task.until for task in running.values() if task.until is not None), default=math.inf)
        for trial_id in self._open:
            paused = history.paused.get(trial_id)
            if paused and paused[0].id not in running and len(paused[1].epochs) < expected:
                return Task("prune", paused[0])
        if self._settings.search_seeds == 1:
            return None
        complete = [arch for arch in self._candidates if self._complete(history, arch)]
        return first_training(self._seeds(complete), history, running, together)

    def _promotion(self, history: History, running: Mapping[str, Task]) -> Task | None:
        """The best of the trials that may go on from a rung."""
        if self._field is None:
            return None
        self._tell(self._field, history)
        arch = self._field.promoted({task.trial.arch for task in running.values() if task.id in self._open})
        if arch is None:
            return None
        trial = self._trial(arch, 0)
        return self._train(trial, history, until=self._next_rung(len(history.paused[trial.id][1].epochs)))

    def _tell(self, field: Field, history: History) -> None:
        """What is new since the last call: of candidates, and of known configurations, which show what is possible."""
        for spec, result in islice(history.trials.values(), self._told, None):
            self._hear(field, spec, result, waits=False)
        self._told = len(history.trials)
        for trial_id in self._open:
            if trial_id in history.paused:
                self._hear(field, *history.paused[trial_id], waits=True)
        for arch in self._settings.known:
            if f"{arch}@0" in history.paused:
                self._hear(field, *history.paused[f"{arch}@0"], waits=False)

    def _hear(self, field: Field, spec: TrialSpec, result: TrialResult, *, waits: bool) -> None:
        if spec.replicate or spec.role not in ("candidate", "known") or self._heard.get(spec.arch) is result:
            return
        self._heard[spec.arch] = result
        if result.params is not None:
            field.tell(Racer(arch=spec.arch, params=result.params, epochs=result.epochs, waits=waits))

    def _next_rung(self, epochs: int) -> int | None:
        """Where a candidate that has run so many epochs pauses next."""
        rungs = self._race.racing.rungs if self._race else ()
        return next((rung for rung in rungs if rung > epochs), None)

    def _new_candidate(self) -> str | None:
        if self._exhausted or len(self._candidates) >= self._settings.trials:
            return None
        arch = self._sampler.propose({*self._first, *self._candidates})
        if arch is None:
            self._exhausted = True
            return None
        self._candidates.append(arch)
        trial = self._trial(arch, 0)
        self._open[trial.id] = trial
        return arch

    # -- the control arm

    def _control(self, history: History, running: Mapping[str, Task]) -> Task | None:
        """A random architecture, trained to the end, while the control arm has had fewer epochs than the search."""
        if self._control_sampler is None:
            return None
        full = self._settings.recipe.epochs
        for arch in self._controls:
            trial = self._trial(arch, 0, role="control")
            if trial.id not in history.trials and trial.id not in running:
                return self._train(trial, history)
        if len(self._controls) * full >= self._search_epochs(history, running):
            return None
        new = self._control_sampler.propose({*self._first, *self._controls})
        if new is None:
            return None
        self._controls.append(new)
        return self._train(self._trial(new, 0, role="control"), history)

    def _search_epochs(self, history: History, running: Mapping[str, Task]) -> int:
        """Epochs that the search has spent on first trainings of its candidates, the running ones included."""
        total = 0
        for arch in self._candidates:
            trial_id = f"{arch}@0"
            if trial_id in running:
                total += running[trial_id].epochs
            elif pair := history.trials.get(trial_id) or history.paused.get(trial_id):
                total += len(pair[1].epochs)
        return total

    # -- seeds

    def _refine(self, history: History, running: Mapping[str, Task], together: int) -> Task | None:
        """Further seeds for the front, and then one where membership in it is most uncertain."""
        front = [item.arch for item in self.front(history)]
        if task := first_training(self._replicates(front), history, running, together):
            return task
        limit = self._settings.replicates
        under_way = sum(t.action == "train" and self._is_extra(t.trial) for t in running.values())
        if limit is not None and self._extra_trainings(history) + under_way >= limit:
            return None
        arch = self._most_uncertain(history, {task.trial.arch for task in running.values()})
        if arch is None:
            return None
        replicate = self._first_extra
        while f"{arch}@{replicate}" in history.trials:
            replicate += 1
        return self._train(self._trial(arch, replicate), history)

    def _most_uncertain(self, history: History, busy: set[str]) -> str | None:
        """Where one more training should tell most: undecided membership, few seeds."""
        items = summarise(history)
        worth: dict[str, float] = {}
        for cost in (by_params, by_macs):
            for arch, p in membership(items, cost=cost).items():
                if CERTAIN < p < 1 - CERTAIN:
                    worth[arch] = max(worth.get(arch, 0.0), p * (1 - p))
        seeds = {item.arch: item.seeds for item in items}
        # The variance of a mean falls by 1/n - 1/(n + 1) with one more seed.
        gain = {a: w / (seeds[a] * (seeds[a] + 1)) for a, w in worth.items() if a not in busy}
        return max(gain, key=lambda arch: (gain[arch], arch), default=None)

    @property
    def _first_extra(self) -> int:
        """The replicate from which on trainings are extra.

        No other training is counted so far, which tells from the ledger alone why one was made: what an architecture
        got as a member of the front is no extra training after it has left the front.
        """
        return max(self._settings.search_seeds, self._settings.final_seeds)

    def _is_extra(self, spec: TrialSpec) -> bool:
        return spec.replicate >= self._first_extra and spec.role in ("candidate", "known")

    def _extra_trainings(self, history: History) -> int:
        """Trainings beyond those of the search and those that every member of the front gets."""
        return sum(self._is_extra(spec) for spec, _ in history.trials.values())

    def _complete(self, history: History, arch: str) -> bool:
        pair = history.trials.get(f"{arch}@0")
        return pair is not None and pair[1].status == "complete"

    def _seeds(self, archs: Iterable[str]) -> Iterator[TrialSpec]:
        """The trainings that belong to the search."""
        for arch in archs:
            for replicate in range(self._settings.search_seeds):
                yield self._trial(arch, replicate)

    def _replicates(self, archs: Iterable[str]) -> Iterator[TrialSpec]:
        several = list(archs)
        for replicate in range(self._settings.search_seeds, self._settings.final_seeds):
            for arch in several:
                yield self._trial(arch, replicate)

    def _expected_epochs(self, history: History, arch: str | None) -> float:
        """What a candidate's first training still costs; on the average, where it races."""
        done = len(history.paused[f"{arch}@0"][1].epochs) if f"{arch}@0" in history.paused else 0
        return expected_epochs(self._settings.racing, self._settings.recipe.epochs, done=done)

    def _train(self, trial: TrialSpec, history: History, until: int | None = None) -> Task:
        return Task("train", trial, until, alone=trial.id in history.retried)

    def _trial(self, arch: str, replicate: int, role: Role | None = None) -> TrialSpec:
        s = self._settings
        own: Role = "baseline" if arch in s.baselines else "known" if arch in s.known else "candidate"
        return TrialSpec(
            arch=arch,
            dataset=s.dataset,
            recipe=s.recipe,
            train_images=s.train_images,
            replicate=replicate,
            role=role or own,
        )


def _split_ids(ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    for trial_id in ids:
        arch, _, replicate = trial_id.rpartition("@")
        yield arch, replicate
