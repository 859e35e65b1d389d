"""One tuned loop that trains several networks, one after another: what a run is compared to.

A process of its own: `python -c "from rksearch.bench.rival import main; main()" JSON`. It has the images, the
recipe and the validation of the run, and nothing else of it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work of a rival.

    Attributes:
        networks: architectures, in the order of their training.
        dataset: data set; `cifar10-noise` for random pixels.
        data_dir: directory of the data sets.
        epochs: passes over the training images of each network; each is followed by a validation.
        train_images: size of the training subset.
        threads: CPU threads.
        device, precision: as for `rksearch run`.
    """

    networks: tuple[str, ...]
    dataset: str
    data_dir: str
    epochs: int
    train_images: int
    threads: int
    device: str = "auto"
    precision: str = "auto"

    def to_json(self) -> str:
        """The job as the argument of its process."""
        return json.dumps(asdict(self))


def main() -> None:
    """Do the job that the command line gives; prints the validation error of every epoch as JSON."""
    job = Job(**json.loads(sys.argv[-1]))
    print(json.dumps(work(job)))


def work(job: Job) -> dict[str, list[float]]:
    """Train the networks; validation errors in percent, by network and epoch."""
    import torch

    from rksearch.arch import parse
    from rksearch.bench.noise import NOISE
    from rksearch.bench.tuned import TunedLoop
    from rksearch.bench.usual import as_usually_written
    from rksearch.data.facts import dataset
    from rksearch.data.images import load_images, split
    from rksearch.models import build
    from rksearch.recipes.shipped import recipe
    from rksearch.training.engine.device import resolve_device, resolve_precision

    torch.set_num_threads(job.threads)
    data = NOISE if job.dataset == NOISE.name else dataset(job.dataset)
    images = load_images(data, Path(job.data_dir), download=False)
    parts = split(data, images, job.train_images)
    device = resolve_device(job.device)
    bf16 = resolve_precision(job.precision, device) == "bf16"
    val = images.train_images[parts.val].to(device), images.train_labels[parts.val].to(device)
    how = recipe("short", epochs=job.epochs)
    errors: dict[str, list[float]] = {}
    for name in job.networks:
        loop = TunedLoop(
            as_usually_written(build(parse(name), data)),
            images.train_images[parts.train],
            images.train_labels[parts.train],
            data,
            how,
            device,
            bf16=bf16,
        )
        steps = -(-job.train_images // how.batch_size)
        errors[name] = []
        for epoch in range(job.epochs):
            loop.epoch([how.lr_at(epoch * steps + step, steps) for step in range(steps)])
            errors[name].append(loop.error_pct(*val))
    return errors
