"""A whole run measured: from the command to its end, against tuned loops that train the same networks.

The rivals are processes of `rksearch.bench.rival`: one with all threads that trains the networks one after another, and
as many as there are slots, of an equal share of the threads, with the networks divided among them. All have the same
images, epochs and validations. They alternate with the run, in an order that rotates.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.bench.noise import NOISE
from rksearch.bench.ratios import Ratio, speed_up
from rksearch.bench.rival import Job
from rksearch.bench.turns import order
from rksearch.data.facts import dataset, datasets
from rksearch.errors import RksearchError
from rksearch.results.ledger import Ledger
from rksearch.results.processes import child_environment, own_python
from rksearch.results.records import WorkTimes
from rksearch.search.reservations import cpus_here
from rksearch.training.engine.device import resolve_device, resolve_precision

NETWORKS = (
    "RKNet-k8-m2_3_4-1x1_1x1_1x1",
    "RKNet-k8-m1_2_4-2x2_1x1_1x1",
    "RKNet-k12-m1_2_2-1x2s_1x1_1x1",
    "RKNet-BC-k8-m1_2_4-1x2_1x1_1x1",
    "RKNet-BC-k8-m1_3_4-1x2s_1x1_1x2",
    "RKNet-BC-k12-m1_2_2-1x1_1x1_1x1",
)
"""Members of `cifar10_small`."""

RAY_IS_UP = "Ray dashboard:"
"""Beginning of the line that a run prints when Ray has started."""

COMMAND = (
    "-c",
    "import rksearch; from rksearch.bench.noise import NOISE; rksearch.register_dataset(NOISE); "
    "from rksearch.cli.main import main; main()",
)
"""The command line, in a process that knows random pixels as a data set."""

RIVAL = ("-c", "from rksearch.bench.rival import main; main()")

RUN, ONE, BESIDE = "run", "one loop", "loops beside each other"


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRun:
    """What is to be measured.

    Attributes:
        networks: architectures.
        epochs, train_images: of each training.
        slots: trials at a time, and number of loops beside each other; each has an equal share of the threads.
        threads: CPU threads in all.
        rounds: runs of each contestant.
        data_dir: directory with CIFAR-10; None for random pixels.
        device, precision, compile: as for `rksearch run`; the rivals compile nothing. The figures name the precision
            that `auto` is here.
    """

    networks: tuple[str, ...] = NETWORKS
    epochs: int = 6
    train_images: int = 8_000
    slots: int = field(default_factory=cpus_here)
    threads: int = field(default_factory=cpus_here)
    rounds: int = 3
    data_dir: str | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return NOISE.name if self.data_dir is None else "cifar10"

    def space(self) -> str:
        """The space of the run, as YAML: these networks, all trained to the end."""
        listed = "".join(f"  - {name}\n" for name in self.networks)
        return (
            f"dataset: {self.dataset}\narchitectures:\n{listed}recipe: {{name: short, epochs: {self.epochs}}}\n"
            f"train_images: {self.train_images}\ntrials: {len(self.networks)}\nseeds: {{search: 1, final: 1}}\n"
            "search: {sampler: grid, racing: false, replicates: 0}\n"
        )

    def jobs(self, loops: int) -> list[Job]:
        """Jobs of rivals beside each other: the largest network goes to the loop that has least to do."""
        data = dataset("cifar10")
        loads = [0] * loops
        shares: list[list[str]] = [[] for _ in range(loops)]
        macs = {name: cost(parse(name), data).macs for name in self.networks}
        for name in sorted(macs, key=lambda name: -macs[name]):
            least = loads.index(min(loads))
            loads[least] += macs[name]
            shares[least].append(name)
        return [
            Job(
                networks=tuple(share),
                dataset=self.dataset,
                data_dir=self.data_dir or "data",
                epochs=self.epochs,
                train_images=self.train_images,
                threads=max(1, self.threads // loops),
                device=self.device,
                precision=self.precision,
            )
            for share in shares
            if share
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Where the slot-seconds of a run went.

    Attributes:
        wall_s: from the command to its end.
        slots: trials at a time.
        slot_s: slot-seconds by part, in the order of a run; they add up to `slots` times `wall_s`.
    """

    wall_s: float
    slots: int
    slot_s: dict[str, float]


def bench_run(asked: WholeRun, on_done: Callable[[str, float], None] | None = None) -> dict[str, Any]:
    """Measure the run and its rivals; plain values for JSON.

    Args:
        asked: what is to be measured.
        on_done: called with a contestant's name and its seconds, each time.

    Raises:
        RksearchError: more slots than CPUs; or the run or a rival failed, and the message has the end of its output.
    """
    if asked.slots > asked.threads:
        raise RksearchError(
            f"each of the slots must have a CPU, but got {asked.slots} slots for {asked.threads} CPUs; use fewer"
        )
    asked = replace(
        asked,
        networks=tuple(str(parse(name)) for name in asked.networks),
        precision=resolve_precision(asked.precision, resolve_device(asked.device)),
    )
    datasets.adopt((NOISE,))  # the run's ledger names it
    times: dict[str, list[float]] = {RUN: [], ONE: [], BESIDE: []}
    spent: list[Spent] = []

    def turn(name: str) -> float:
        if name == RUN:
            spent.append(_run(asked))
            return spent[-1].wall_s
        return _rivals(asked.jobs(1 if name == ONE else asked.slots))

    for number in range(asked.rounds):
        for name in order(list(times), number):
            times[name].append(turn(name))
            if on_done is not None:
                on_done(name, times[name][-1])
    return {
        "settings": asdict(asked),
        "synthetic_images": asked.data_dir is None,
        "seconds": times,
        "times_one_loop": asdict(speed_up(times[ONE], times[RUN])),
        "times_loops_beside_each_other": asdict(speed_up(times[BESIDE], times[RUN])),
        "spent": [asdict(one) for one in spent],
    }


def _rivals(jobs: Sequence[Job]) -> float:
    """Seconds until rivals beside each other have all ended."""
    began = time.perf_counter()
    processes = [
        subprocess.Popen(  # noqa: S603 - this Python, with words of this module
            own_python(*RIVAL, job.to_json()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=child_environment(OMP_NUM_THREADS=str(job.threads)),
        )
        for job in jobs
    ]
    outputs = [process.communicate()[0] for process in processes]
    took_s = time.perf_counter() - began
    for process, output in zip(processes, outputs, strict=True):
        _require_success("a tuned loop", process.returncode, output)
    return took_s


def _run(asked: WholeRun) -> Spent:
    """The run, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="rksearch-", ignore_cleanup_errors=True) as directory:
        space, out = Path(directory) / "space.yaml", Path(directory) / "run"
        space.write_text(asked.space(), encoding="utf-8")
        began, began_s = time.perf_counter(), time.time()
        process = subprocess.Popen(  # noqa: S603 - this Python, with words of this module
            [
                *own_python(*COMMAND, "run", "--space", str(space), "--out", str(out)),
                *("--device", asked.device, "--precision", asked.precision, "--compile", asked.compile),
                *("--data-dir", asked.data_dir or directory, "--no-download"),
                *("--cpus-per-trial", str(asked.threads // asked.slots), "--max-concurrent", str(asked.slots)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=child_environment(PYTHONUNBUFFERED="1"),
        )
        assert process.stdout is not None
        up_s, lines = began_s, list[str]()
        for line in process.stdout:
            lines.append(line)
            if line.startswith(RAY_IS_UP):
                up_s = time.time()
        code = process.wait()
        wall_s = time.perf_counter() - began
        _require_success("the run", code, "".join(lines))
        trials = [result.work_times for _, result in Ledger(out).read().trials.values()]
        works = [times for times in trials if times is not None]
    return Spent(
        wall_s=wall_s, slots=asked.slots, slot_s=slot_seconds(began_s, up_s, began_s + wall_s, works, asked.slots)
    )


def _require_success(what: str, code: int, output: str) -> None:
    if code:
        last = " ".join(output.split())[-400:]
        raise RksearchError(f"{what} must end well, but its exit code was {code}: {last}")


def slot_seconds(
    began_s: float, up_s: float, ended_s: float, works: Sequence[WorkTimes], slots: int
) -> dict[str, float]:
    """Slot-seconds of a run by part; they add up to `slots` times its duration.

    Args:
        began_s, up_s, ended_s: start of the command, Ray up, end of the command; seconds since 1970.
        works: of all trials.
        slots: trials at a time.
    """
    free = [up_s] * slots
    found = {"command to Ray": slots * (up_s - began_s), "worker start": 0.0}
    parts: dict[str, float] = {}
    idle = inside = 0.0
    for work in sorted(works, key=lambda work: work.began_s):
        # Into the slot that has been empty for the shortest time: the one whose trial has just ended.
        ready = [place for place in range(slots) if free[place] <= work.began_s]
        slot = max(ready, key=lambda place: free[place]) if ready else free.index(min(free))
        gap = max(0.0, work.began_s - free[slot])
        if free[slot] == up_s:
            found["worker start"] += gap
        else:
            idle += gap
        free[slot] = work.ended_s
        for name, seconds in work.parts_s.items():
            parts[name] = parts.get(name, 0.0) + seconds
        inside += work.ended_s - work.began_s
    last = max(free)
    found |= parts
    found["rest of trials"] = inside - sum(parts.values())
    found["between trials"] = idle
    found["no trial left"] = sum(last - end for end in free)
    found["report and end"] = slots * (ended_s - last)
    return found


def run_text(found: Mapping[str, Any]) -> str:
    """Figures in lines."""
    settings = found["settings"]
    images = "random pixels" if found["synthetic_images"] else "CIFAR-10"
    lines = [
        f"{len(settings['networks'])} networks, {settings['epochs']} epochs of {settings['train_images']:,} images of "
        f"{images}, {settings['slots']} slots, {settings['rounds']} rounds"
    ]
    for name, seconds in found["seconds"].items():
        lines.append(f"  {name:26} {median(seconds):8.1f} s (best {min(seconds):.1f})")
    for key in ("times_one_loop", "times_loops_beside_each_other"):
        ratio = Ratio(**found[key])
        lines.append(
            f"  run, {key.replace('_', ' '):38} {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}; "
            f"best {ratio.of_minima:.2f})"
        )
    best = min(found["spent"], key=lambda one: one["wall_s"])
    whole = best["slots"] * best["wall_s"]
    lines.append(f"where the {whole:.0f} slot-seconds of the shortest run went:")
    lines += [f"  {name:26} {s:8.1f} s  {100 * s / whole:5.1f} %" for name, s in best["slot_s"].items()]
    return "\n".join(lines)
