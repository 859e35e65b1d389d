"""How trials share one GPU: measured with a network of the run before its first trial, not guessed.

A small network leaves most of a GPU idle, so several at a time get more done; how many is a matter of the GPU, of its
memory and of the networks. Trials in processes of their own share the GPU's time; seeds of one architecture that are
trained as one program share its cores as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from rksearch.arch import draws_random_numbers, parse
from rksearch.arch.cost import cost
from rksearch.errors import RksearchError
from rksearch.space import Space

logger = logging.getLogger(__name__)

COUNTS = (2, 4, 8)
"""Trainings at a time that are measured besides one alone, until one more doubling does not pay."""

WORTH = 1.1
"""So many times the images a second more trainings at a time must bring: each takes longer, and needs memory."""

CANDIDATES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalTraining:
    """A training that stands for those of a run.

    Attributes:
        arch: canonical name.
        dataset: whose images it takes; random pixels stand for them.
        batch_size: images in a step.
        precision: `auto`, `fp32` or `bf16`.
        threads: CPU threads of each.
        seeds: most seeds of an architecture that the run could train together.
    """

    arch: str
    dataset: str
    batch_size: int
    precision: str = "auto"
    threads: int = 1
    seeds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What was measured.

    Attributes:
        training: with what.
        images_per_s: of all trainings, by how many there were at a time, each in a process of its own.
        together: of all trainings, by how many there were as one program.
    """

    training: TypicalTraining
    images_per_s: Mapping[int, float]
    together: Mapping[int, float] = field(default_factory=dict)

    @property
    def trials_per_gpu(self) -> int:
        """How many to train at a time; see `fewest_worthwhile`."""
        return fewest_worthwhile(self.images_per_s)

    @property
    def seeds_together(self) -> int:
        """How many seeds to train as one program: one unless that beats so many trials at a time."""
        return fewest_worthwhile({1: self.images_per_s[self.trials_per_gpu], **self.together})

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "training": asdict(self.training),
            "images_per_s": _named(self.images_per_s),
            "together": _named(self.together),
            "trials_per_gpu": self.trials_per_gpu,
            "seeds_together": self.seeds_together,
        }


def _named(rates: Mapping[int, float]) -> dict[str, float]:
    return {str(count): rate for count, rate in rates.items()}


def fewest_worthwhile(images_per_s: Mapping[int, float]) -> int:
    """The smallest count that no larger one beats by `WORTH` times."""
    best = max(images_per_s.values())
    return min(count for count, rate in images_per_s.items() if best < WORTH * rate)


def typical(space: Space) -> str:
    """The member of median multiply-adds among some that lie evenly in the space's order."""
    count = min(CANDIDATES, len(space))
    members = [space.at(i * len(space) // count) for i in range(count)]
    by_macs = sorted(members, key=lambda spec: (cost(spec, space.definition.dataset).macs, str(spec)))
    return str(by_macs[count // 2])


def measure(training: TypicalTraining) -> Sharing:
    """Train as many at a time as pays on the GPU that this process sees (on the CPU where it sees none).

    A count that cannot be measured, for example because memory runs out, ends the measurement of larger ones.

    Raises:
        RksearchError: not even one training can be measured.
    """
    # Imported here: the driver, which imports this module, does not need torch.
    from rksearch.data.facts import dataset
    from rksearch.training.engine.device import resolve_device, resolve_precision
    from rksearch.training.throughput import Arrangement, ImageSource, Workload, images_per_s

    device = resolve_device("auto")
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
    """Images a second by count, as long as one more doubling pays and can be measured."""
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
