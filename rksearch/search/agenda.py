"""The next task of a search, decided from the ledger alone: no Ray, no Optuna, no clock.

Work comes in this order, so that a run that is cut short has the comparisons first:

1. baselines, then the paper's known configurations, all to the end;
2. candidates that the proposer chooses, until the plan's number is reached or the space is exhausted. Where they race,
   a trial that may continue from a rung comes before a new one; what is left behind when none is new is pruned;
3. further seeds for the baselines, and, once the race is over, for the members of the front (by parameters or by MACs),
   until each of them has all its seeds;
4. the plan's number of further seeds, one by one for the architecture whose membership in the front is most uncertain;
   those of step 3 do not count, whoever leaves or joins the front meanwhile.

The test set is not read: that is asked for separately, see `rksearch.search.final`. An interrupted run continues by the
same rules: whatever was started and not finished is simply not done yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from rksearch.results.events import TaskStarted
from rksearch.results.fronts import both_fronts, membership
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.records import Role, TrialResult, TrialSpec, make_trial_id, parse_trial_id
from rksearch.results.summaries import ArchSummary, by_macs, by_params, summarise
from rksearch.search.racing import Race, Racer, RungStandings, Standings, expected_epochs
from rksearch.search.tasks import Phase, Proposer, Remaining, Task, first_training

CERTAIN = 0.02
"""Membership in the front with a probability below this, or above one minus this, is not worth another training."""


class SearchAgenda:
    """Gives each task of a search once, from what is finished and what is running.

    Args:
        plan: of the run.
        proposer: chooses candidates.
        history: of the run so far; says which candidates were chosen in earlier sessions.
        race: the rules of racing, where the plan has it.
        standings: decides which paused trial continues; None for the race's own rule.
        control: chooses the architectures of the control arm, where the plan has one.
    """

    def __init__(
        self,
        plan: Plan,
        proposer: Proposer,
        history: History,
        *,
        race: Race | None = None,
        standings: Standings | None = None,
        control: Proposer | None = None,
    ) -> None:
        self._plan = plan
        self._proposer = proposer
        self._race = race
        self._control_proposer = control
        self._first = {*plan.baselines, *plan.known}
        started = [parse_trial_id(trial_id) for trial_id in history.started]
        self._candidates = list(dict.fromkeys(t.arch for t in started if t.own_seeds is None))
        self._candidates = [arch for arch in self._candidates if arch not in self._first]
        # Their first trainings by id, until they are finished: all of them would be too many to look at each time.
        self._open = {trial.id: trial for trial in (self._trial(arch, 0) for arch in self._candidates)}
        self._controls = list(dict.fromkeys(t.arch for t in started if t.own_seeds == "control"))
        self._exhausted = False
        self._standings = standings or (RungStandings(race) if race else None)
        # How much of the history is known: finished trials by their number, paused ones by their last results.
        self._finished = 0
        self._paused: dict[str, TrialResult] = {}
        for own, chosen in ((proposer, self._candidates), (control, self._controls)):
            if own is not None:
                own.started(plan.baselines, "baseline")
                own.started(plan.known, "known")
                own.started(chosen, "candidate")

    @property
    def architectures(self) -> list[str]:
        """Everything that is or will be trained so far: baselines, known, candidates, in this order."""
        return [*self._plan.baselines, *self._plan.known, *self._candidates]

    def next(
        self, history: History, running: Mapping[str, Task], phase: Phase = "search", together: int = 1
    ) -> Task | None:
        """The next task, or None when nothing can be started before something that is running ends."""
        self._learn(history)
        if phase == "over":
            return None
        first = self._seeds((*self._plan.baselines, *self._plan.known))
        if task := first_training(first, history, running, together):
            return task
        if task := self._control(history, running):
            return task
        if task := self._search(history, running, phase, together):
            return task
        if task := first_training(self._replicates(self._plan.baselines), history, running, together):
            return task
        if any(task.trial.is_first_of_search for task in running.values()):
            return None  # the front may still change
        return self._refine(history, running, together)

    def task_of(self, started: TaskStarted) -> Task:
        """The task that was handed out by this record of an earlier session."""
        first, *beside = (self._trial(t.arch, t.replicate, t.own_seeds) for t in map(parse_trial_id, started.trials))
        return Task("train", first, started.until, alone=started.alone, beside=tuple(beside))

    def remaining(self, history: History) -> Remaining:
        """Trainings that are not finished, given what stands on the front now, and their epochs."""
        full = self._plan.recipe.epochs
        front = [item.arch for item in self.front(history)]
        wanted = {t.id for t in self._replicates((*self._plan.baselines, *front))}
        complete = [arch for arch in self._candidates if self._complete(history, arch)]
        wanted |= {t.id for t in self._seeds((*self._first, *complete))}
        open_ids = wanted - set(history.trials)
        certain, further = len(open_ids), sum(parse_trial_id(key).replicate > 0 for key in open_ids)
        unknown = 0 if self._exhausted else max(0, self._plan.trials - len(self._candidates))
        begun = [arch for arch in self._candidates if make_trial_id(arch) not in history.trials]
        seeds = self._plan.search_seeds
        extra = max(0, (self._plan.replicates or 0) - self._extra_trainings(history))
        epochs = (
            full * (certain + extra)
            + sum(self._expected_epochs(history, arch) for arch in begun)
            + self._expected_epochs(history, None) * (unknown * seeds + len(begun) * (seeds - 1))
        )
        later = len(begun) + unknown
        return Remaining(certain + later * seeds + extra, epochs, seeds=further + later * (seeds - 1) + extra)

    def front(self, history: History) -> list[ArchSummary]:
        """The architectures on the front of parameters or of MACs, by rising parameters."""
        return sorted(both_fronts(summarise(history)), key=lambda i: (i.params, i.arch))

    # -- the search itself

    def _search(self, history: History, running: Mapping[str, Task], phase: Phase, together: int) -> Task | None:
        """A candidate that continues, a new one, a further seed of one, or one to be recorded as pruned."""
        rungs = self._race.racing.rungs if self._race else ()
        for trial_id in [key for key in self._open if key in history.trials]:
            del self._open[trial_id]
        for trial_id, trial in self._open.items():
            if trial_id in running:
                continue
            epochs = len(history.paused[trial_id][1].epochs) if trial_id in history.paused else 0
            if epochs not in rungs:  # interrupted between rungs
                return self._train(trial, history, until=self._next_rung(epochs))
        if task := self._promotion(history, running):
            return task
        if phase == "search" and (new := self._new_candidate()):
            return self._train(self._trial(new, 0), history, until=self._next_rung(0))
        # No new trial follows from here on; those that run may still change the better share at their rungs.
        expected = min((task.until for task in running.values() if task.until is not None), default=math.inf)
        for trial_id in self._open:
            paused = history.paused.get(trial_id)
            if paused and paused[0].id not in running and len(paused[1].epochs) < expected:
                return Task("prune", paused[0])
        if self._plan.search_seeds == 1:
            return None
        complete = [arch for arch in self._candidates if self._complete(history, arch)]
        return first_training(self._seeds(complete), history, running, together)

    def _promotion(self, history: History, running: Mapping[str, Task]) -> Task | None:
        """The best of the trials that may continue from a rung."""
        if self._standings is None:
            return None
        arch = self._standings.promoted({task.trial.arch for task in running.values() if task.id in self._open})
        if arch is None:
            return None
        trial = self._trial(arch, 0)
        return self._train(trial, history, until=self._next_rung(len(history.paused[trial.id][1].epochs)))

    # -- results

    def _learn(self, history: History) -> None:
        """Pass what is new in the history to the race and to the proposer."""
        news = list(self._news(history))
        for spec, result in news:
            if self._standings and result.params is not None and not spec.replicate and not spec.is_baseline:
                # Known configurations show what is possible, but never wait: they are trained to the end.
                waits = result.status == "paused" and spec.role == "candidate"
                self._standings.set(Racer(arch=spec.arch, params=result.params, epochs=result.epochs, waits=waits))
        self._proposer.update(news)

    def _news(self, history: History) -> Iterator[tuple[TrialSpec, TrialResult]]:
        """Trainings of the search that have ended, and first trainings that have paused, since the last call."""
        for spec, result in islice(history.trials.values(), self._finished, None):
            self._paused.pop(spec.id, None)
            if not spec.has_own_seeds:
                yield spec, result
        self._finished = len(history.trials)
        for spec, result in history.paused.values():
            first = not spec.has_own_seeds and not spec.replicate
            if first and self._paused.get(spec.id) is not result:
                self._paused[spec.id] = result
                yield spec, result

    def _next_rung(self, epochs: int) -> int | None:
        """The rung at which a candidate with this number of epochs pauses next; None after the last."""
        rungs = self._race.racing.rungs if self._race else ()
        return next((rung for rung in rungs if rung > epochs), None)

    def _new_candidate(self) -> str | None:
        if self._exhausted or len(self._candidates) >= self._plan.trials:
            return None
        arch = self._proposer.propose({*self._first, *self._candidates})
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
        if self._control_proposer is None:
            return None
        full = self._plan.recipe.epochs
        for arch in self._controls:
            trial = self._trial(arch, 0, role="control")
            if trial.id not in history.trials and trial.id not in running:
                return self._train(trial, history)
        if len(self._controls) * full >= self._search_epochs(history, running):
            return None
        new = self._control_proposer.propose({*self._first, *self._controls})
        if new is None:
            return None
        self._controls.append(new)
        return self._train(self._trial(new, 0, role="control"), history)

    def _search_epochs(self, history: History, running: Mapping[str, Task]) -> int:
        """Epochs that the search has spent on first trainings of its candidates, the running ones included."""
        total = 0
        for arch in self._candidates:
            trial_id = make_trial_id(arch)
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
        limit = self._plan.replicates
        under_way = sum(t.action == "train" and self._is_extra(t.trial) for t in running.values())
        if limit is not None and self._extra_trainings(history) + under_way >= limit:
            return None
        arch = self._most_uncertain(history, {task.trial.arch for task in running.values()})
        if arch is None:
            return None
        replicate = self._first_extra
        while make_trial_id(arch, replicate) in history.trials:
            replicate += 1
        return self._train(self._trial(arch, replicate), history)

    def _most_uncertain(self, history: History, busy: set[str]) -> str | None:
        """The architecture of which one more training should teach most: undecided membership, few seeds."""
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
        """The least replicate of an extra training.

        No other training has so high a replicate, so the ledger alone says why one was made: what an architecture got
        as a member of the front is no extra training after it has left the front.
        """
        return max(self._plan.search_seeds, self._plan.final_seeds)

    def _is_extra(self, spec: TrialSpec) -> bool:
        return spec.replicate >= self._first_extra and spec.is_searched

    def _extra_trainings(self, history: History) -> int:
        """Trainings beyond those of the search and those that every member of the front gets."""
        return sum(self._is_extra(spec) for spec, _ in history.trials.values())

    def _complete(self, history: History, arch: str) -> bool:
        pair = history.trials.get(make_trial_id(arch))
        return pair is not None and pair[1].status == "complete"

    def _seeds(self, archs: Iterable[str]) -> Iterator[TrialSpec]:
        """The trainings that belong to the search."""
        for arch in archs:
            for replicate in range(self._plan.search_seeds):
                yield self._trial(arch, replicate)

    def _replicates(self, archs: Iterable[str]) -> Iterator[TrialSpec]:
        several = list(archs)
        for replicate in range(self._plan.search_seeds, self._plan.final_seeds):
            for arch in several:
                yield self._trial(arch, replicate)

    def _expected_epochs(self, history: History, arch: str | None) -> float:
        """Epochs that a candidate's first training still costs; the expected number where it races."""
        paused = history.paused.get(make_trial_id(arch)) if arch else None
        done = len(paused[1].epochs) if paused else 0
        return expected_epochs(self._plan.racing, self._plan.recipe.epochs, done=done)

    def _train(self, trial: TrialSpec, history: History, until: int | None = None) -> Task:
        return Task("train", trial, until, alone=trial.id in history.retried)

    def _trial(self, arch: str, replicate: int, role: Role | None = None) -> TrialSpec:
        plan = self._plan
        own: Role = "baseline" if arch in plan.baselines else "known" if arch in plan.known else "candidate"
        return TrialSpec(
            arch=arch,
            dataset=plan.dataset,
            recipe=plan.recipe,
            train_images=plan.train_images,
            replicate=replicate,
            role=role or own,
        )
