"""Sharing of one GPU by several trials, measured with a network of the run before its first trial.

A small network leaves most of a GPU idle, so several at a time have more throughput; the best number depends on the
GPU, its memory and the networks. Trials in processes of their own share the GPU's time; seeds of one architecture that
are trained as one program also share its cores.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from rksearch.arch import ArchSpec, draws_random_numbers, parse
from rksearch.arch.cost import Cost, cost
from rksearch.errors import RksearchError
from rksearch.results.events import SharingMeasured
from rksearch.space import Space
from rksearch.training.engine.words import AUTO

logger = logging.getLogger(__name__)

COUNTS = (2, 4, 8)
"""Numbers of simultaneous trainings to measure besides one, until a further doubling gains too little."""

WORTH = 1.1
"""Least ratio of images per second by which more trainings must win: each of them takes longer and needs memory."""

CANDIDATES = 15
"""Number of members of a space among which the typical one is the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalTraining:
    """A training that represents those of a run.

    Attributes:
        arch: canonical name.
        dataset: data set of its images; random pixels replace them.
        batch_size: number of images in a step.
        precision: `auto`, `fp32` or `bf16`.
        threads: CPU threads of each training.
        seeds: largest number of seeds of an architecture that the run could train together.
    """

    arch: str
    dataset: str
    batch_size: int
    precision: str = AUTO
    threads: int = 1
    seeds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Measured throughput of simultaneous trainings.

    Attributes:
        training: the training that was repeated.
        images_per_s: sum over all trainings, by their number, each in a process of its own.
        together: sum over all trainings, by their number, as one program.
    """

    training: TypicalTraining
    images_per_s: Mapping[int, float]
    together: Mapping[int, float] = field(default_factory=dict)

    @property
    def trials_per_gpu(self) -> int:
        """Number of trials at a time; see `fewest_worthwhile`."""
        return fewest_worthwhile(self.images_per_s)

    @property
    def seeds_together(self) -> int:
        """Number of seeds to train as one program: one unless more beat the best number of separate trials."""
        return fewest_worthwhile({1: self.images_per_s[self.trials_per_gpu], **self.together})

    @property
    def measured(self) -> SharingMeasured:
        """The event for the ledger."""
        return SharingMeasured(
            training=asdict(self.training),
            images_per_s=_named(self.images_per_s),
            together=_named(self.together),
            trials_per_gpu=self.trials_per_gpu,
            seeds_together=self.seeds_together,
        )


def _named(rates: Mapping[int, float]) -> dict[str, float]:
    return {str(count): rate for count, rate in rates.items()}


def fewest_worthwhile(images_per_s: Mapping[int, float]) -> int:
    """The smallest count that no larger one beats by `WORTH` times."""
    best = max(images_per_s.values())
    return min(count for count, rate in images_per_s.items() if best < WORTH * rate)


def even_members(space: Space) -> list[tuple[ArchSpec, Cost]]:
    """`CANDIDATES` members at even distances in the space's order, by multiply-adds."""
    count = min(CANDIDATES, len(space))
    members = [space.at(i * len(space) // count) for i in range(count)]
    costed = [(spec, cost(spec, space.definition.dataset)) for spec in members]
    return sorted(costed, key=lambda member: (member[1].macs, str(member[0])))


def typical(space: Space) -> str:
    """The member of median multiply-adds among those of `even_members`."""
    members = even_members(space)
    return str(members[len(members) // 2][0])


def measure(training: TypicalTraining) -> Sharing:
    """Measure growing numbers of trainings on the GPU that this process sees (on the CPU if it sees none).

    A number that cannot be measured, for example because memory runs out, ends the measurement of larger ones.

    Raises:
        RksearchError: not even one training can be measured.
    """
    # Imported here: the driver, which imports this module, does not need torch.
    from rksearch.data.facts import dataset
    from rksearch.training.engine.device import resolve_device, resolve_precision
    from rksearch.training.throughput import Arrangement, ImageSource, Workload, images_per_s

    device = resolve_device(AUTO)
    arch = parse(training.arch)
    workload = Workload(
        arch=arch,
        source=ImageSource(dataset(training.dataset), None, 0),
        device=device,
        precision=resolve_precision(training.precision, device),
        batch_size=training.batch_size,
    )

    def rate_of(arrangement: Arrangement) -> float:
        (rate,) = images_per_s(workload, arrangement, threads=training.threads)
        return rate

    alone = rate_of(Arrangement())
    apart = _while_worth_it(COUNTS, alone, lambda count: rate_of(Arrangement(processes=count)))
    counts = () if draws_random_numbers(arch) else [count for count in COUNTS if count <= training.seeds]
    together = _while_worth_it(counts, alone, lambda count: rate_of(Arrangement(seeds=count)))
    return Sharing(training=training, images_per_s={1: alone, **apart}, together=together)


def _while_worth_it(counts: Iterable[int], alone: float, rate_of: Callable[[int], float]) -> dict[int, float]:
    """Images per second by number, until a further doubling gains too little or cannot be measured."""
    found: dict[int, float] = {}
    for count in counts:
        before = max(found.values(), default=alone)
        try:
            found[count] = rate_of(count)
        except RksearchError as error:
            logger.warning("%d trainings at a time were not measured: %s", count, error)
            break
        if found[count] < WORTH * before:
            break
    return found
