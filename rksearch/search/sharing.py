"""How many trials share one GPU: measured with a network of the run before its first trial, not guessed.

A small network leaves most of a GPU idle, so several at a time get more done; how many is a matter of the GPU, of its
memory and of the networks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from rksearch.cost import cost
from rksearch.errors import RksearchError
from rksearch.space import Space

logger = logging.getLogger(__name__)

COUNTS = (1, 2, 4, 8)
"""Trainings at a time that are measured, until one more doubling does not pay."""

WORTH = 1.1
"""So many times the images a second more trainings at a time must bring: each takes longer, and needs memory."""

CANDIDATES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training that stands for those of a run.

    Attributes:
        arch: canonical name.
        dataset: whose images it takes; random pixels stand for them.
        batch_size: images in a step.
        precision: `auto`, `fp32` or `bf16`.
        threads: CPU threads of each.
    """

    arch: str
    dataset: str
    batch_size: int
    precision: str = "auto"
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What was measured.

    Attributes:
        training: with what.
        images_per_s: of all trainings together, by how many there were at a time.
    """

    training: Training
    images_per_s: Mapping[int, float]

    @property
    def trials_per_gpu(self) -> int:
        """How many to train at a time; see `fewest_worthwhile`."""
        return fewest_worthwhile(self.images_per_s)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        rates = {str(count): rate for count, rate in self.images_per_s.items()}
        return {"training": asdict(self.training), "images_per_s": rates, "trials_per_gpu": self.trials_per_gpu}


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


def measure(training: Training, on_count: Callable[[int, float], None] | None = None) -> Sharing:
    """Train as many at a time as pays on the GPU that this process sees (on the CPU where it sees none).

    A count that cannot be measured, for example because memory runs out, ends the measurement.

    Raises:
        RksearchError: not even one training can be measured.
    """
    # Imported here: the driver, which imports this module, does not need torch.
    from rksearch.bench.concurrent import bench_concurrent
    from rksearch.bench.train import Settings, Source
    from rksearch.datasets import dataset
    from rksearch.device import resolve_device, resolve_precision

    device = resolve_device("auto")
    settings = Settings(
        device=device,
        precision=resolve_precision(training.precision, device),
        batch_size=training.batch_size,
        rounds=1,
    )
    source = Source(dataset(training.dataset), None, settings.seed)
    found: dict[int, float] = {}
    for count in COUNTS:
        try:
            one = bench_concurrent([training.arch], [count], source, settings, threads=training.threads)
        except RksearchError as error:
            if not found:
                raise
            logger.warning("%d trainings at a time were not measured: %s", count, error)
            break
        rate = one["concurrent"][0]["images_per_s"]["median"]
        before = max(found.values(), default=0.0)
        found[count] = rate
        if on_count is not None:
            on_count(count, rate)
        if rate < WORTH * before:
            break
    return Sharing(training=training, images_per_s=found)
