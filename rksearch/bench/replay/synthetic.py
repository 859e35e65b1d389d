"""Made-up tables, to check whether results on a measured table hold on others.

The error of a network falls with its parameters and MACs, every decision has an effect of its own, and so has every
network. On the scale of log-odds, with p and q the standardised log-parameters and log-MACs:

    z = level - slope_p p - slope_q q + sum of effects of the decisions + own deviation

A training adds noise on that scale, more for small networks. The error after epoch t approaches the final one as
exp(-t / tau), where tau varies between networks and large ones are slower, with noise from epoch to epoch that fades
with the learning rate. All numbers are drawn from one seed; none was fitted to a measured table.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from rksearch.bench.replay.table import Table, member
from rksearch.recipes.shipped import recipe
from rksearch.results.plan import Plan
from rksearch.results.records import Epoch, TrialResult
from rksearch.space import SearchPlan, Space
from rksearch.space.counting import Priced

LARGEST = 20_000
"""Members that a space may have at most to be listed as a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The constants of a made-up table.

    Attributes:
        level: log-odds of the error of a network of average size.
        params, macs: fall of the log-odds per standard deviation of log-parameters and log-MACs.
        decisions: standard deviation of the effects of a decision's values.
        own: standard deviation of a network's own deviation.
        seeds: standard deviation between trainings of one network.
        jitter: standard deviation between epochs, at the first learning rate.
    """

    level: float = -1.8
    params: float = 0.5
    macs: float = 0.25
    decisions: float = 0.25
    own: float = 0.15
    seeds: float = 0.15
    jitter: float = 0.25


def synthetic_table(space: Space, *, seed: int, epochs: int = 18, seeds: int = 3, law: Law | None = None) -> Table:
    """A table of every member of `space`, the same for the same arguments.

    Raises:
        ValueError: the space has more than `LARGEST` members.
    """
    if len(space) > LARGEST:
        raise ValueError(f"a made-up table has at most {LARGEST:,} members, but {space.name} has {len(space):,}")
    law = law or Law()
    rng = random.Random(f"{space.name} {seed}")
    priced = list(space.by_name())
    p = _standardised([math.log(item.params) for item in priced])
    q = _standardised([math.log(item.macs) for item in priced])
    effects: dict[tuple[str, object], float] = {}
    for key, values in space.dimensions().items():
        effects.update({(key, value): rng.gauss(0, law.decisions) for value in values})
    specs = {str(spec): spec for spec in space}
    members = {}
    for i, item in enumerate(priced):
        decisions = space.choices(specs[item.name])
        z = law.level - law.params * p[i] - law.macs * q[i] + rng.gauss(0, law.own)
        z += math.fsum(effects[key, value] for key, value in decisions.items())
        tau = 0.12 * epochs * math.exp(0.25 * rng.gauss(0, 1) + 0.2 * q[i])
        spread = law.seeds * math.exp(-0.3 * p[i])
        trainings = [_training(rng, z + rng.gauss(0, spread), tau, epochs, law.jitter, item) for _ in range(seeds)]
        members[item.name] = member(item.name, item.params, item.macs, trainings)
    plan = Plan(
        dataset=space.definition.dataset.name,
        recipe=recipe("short", epochs=epochs),
        train_images=None,
        baselines=(),
        known=(),
        trials=len(priced),
        search_seeds=seeds,
        final_seeds=seeds,
        objectives=SearchPlan().objectives,
        sampler="grid",
        sampler_seed=seed,
    )
    return Table(name=f"made up on {space.name}", space=space, plan=plan, epochs=epochs, members=members)


def _training(rng: random.Random, z: float, tau: float, epochs: int, jitter: float, item: Priced) -> TrialResult:
    final = 100 / (1 + math.exp(-z))
    curve = []
    for t in range(1, epochs + 1):
        lr = 0.5 * (1 + math.cos(math.pi * t / epochs))
        error = final + (90 - final) * math.exp(-t / tau) * lr**0.5
        # Train loss sees the same course with less noise.
        loss = error / 35 * math.exp(0.3 * jitter * lr * rng.gauss(0, 1))
        error = min(90.0, error * math.exp(jitter * lr * rng.gauss(0, 1)))
        curve.append(
            Epoch(
                epoch=t,
                lr=0.1 * lr,
                train_loss=loss,
                train_error_pct=min(90.0, 1.1 * error),
                val_loss=error / 35,
                val_error_pct=error,
                train_time_s=1.0,
            )
        )
    return TrialResult(
        status="complete",
        epochs=tuple(curve),
        params=item.params,
        params_paper=item.params,
        macs=item.macs,
        fvcore_flops=item.macs,
    )


def _standardised(values: list[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)) or 1.0
    return [(v - mean) / spread for v in values]
