"""Speed-up by each optimisation of training, measured alone: with it and without it, in alternated rounds.

Most are measured by training steps of whole networks: some by a step on one batch, some by a pass of two steps, images
included, some by gradients alone. Those inside of a dense block or a time-step are measured on one, forward and
backward: see `rksearch.bench.dense`. Predictions come from the bytes that must cross
the memory, in the units of `rksearch.bench.roofline`, or are rules of thumb that say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain
from multiprocessing import get_context
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from rksearch.arch import ArchSpec, family_of, parse
from rksearch.arch.cost import layout_cost
from rksearch.arch.layout import layout
from rksearch.bench.contestants import plain
from rksearch.bench.dense import block_pairs
from rksearch.bench.settings import BenchSettings, Spread, cold_compiler, require_compiler
from rksearch.bench.turns import order
from rksearch.bench.usual import as_usually_written
from rksearch.data.batches import DeviceImages, TrainBatches
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.training.engine.compiling import EAGER, Choice
from rksearch.training.engine.device import autocast
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.memory import activation_bytes
from rksearch.training.seed_groups import SeedGroup
from rksearch.training.throughput import ImageSource
from rksearch.training.trainer import seed_everything

SEEDS = 4
HEAP_STEPS = 8
Routine = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The same work without and with an optimisation.

    Attributes:
        optimisation: its name.
        subject: network or module that it is tried on.
        predicted: predicted speed-up.
        because: reason for the prediction.
        without, within: the work; both are called equally often.
    """

    optimisation: str
    subject: str
    predicted: float
    because: str
    without: Routine
    within: Routine


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedUp:
    """Measurement of a pair: the time without the optimisation over the time with it, round by round."""

    optimisation: str
    subject: str
    predicted: float
    because: str
    measured: Spread


def bench_optimisations(
    names: Sequence[str], source: ImageSource, settings: BenchSettings, on_done: Callable[[SpeedUp], None] | None = None
) -> dict[str, Any]:
    """Try every optimisation on every network, and those inside of a dense block on one; plain values for JSON.

    Compiling is tried where `settings.compiled` says so.

    Raises:
        DeviceError: it says so where nothing can be compiled.
        SpecError: a name that cannot be parsed.
    """
    require_compiler(settings)
    specs = [parse(name) for name in names]
    found: list[SpeedUp] = []
    with cold_compiler():
        for speed_up in chain(
            (_measure(pair, settings) for pair in _pairs(specs, source, settings)),
            (_heap_speed_up(spec, source, settings) for spec in specs if settings.device.type == "cpu"),
        ):
            found.append(speed_up)
            if on_done is not None:
                on_done(speed_up)
    return {
        "settings": settings.to_json(),
        "dataset": source.data.name,
        "synthetic_images": source.synthetic,
        "optimisations": [asdict(speed_up) for speed_up in found],
    }


def _pairs(specs: Sequence[ArchSpec], source: ImageSource, settings: BenchSettings) -> Iterator[Pair]:
    for spec in specs:
        yield _layout_pair(spec, source, settings)
        if settings.precision == "bf16":
            yield _bf16_pair(spec, source, settings)
        yield _resident_pair(spec, source, settings)
        yield _optimiser_pair(spec, source, settings)
        yield from _transition_pairs(spec, source, settings)
        yield _recompute_pair(spec, source, settings)
        yield _seeds_pair(spec, source, settings)
        yield _together_pair(spec, source, settings)
        if settings.compiled:
            yield _compiled_pair(spec, source, settings)
        if settings.device.type == "cuda":
            yield _graph_pair(spec, source, settings)
    for name, subject, predicted, because, without, within in block_pairs(source.data, settings, settings.compiled):
        yield Pair(
            optimisation=name, subject=subject, predicted=predicted, because=because, without=without, within=within
        )


def _measure(pair: Pair, settings: BenchSettings) -> SpeedUp:
    """Measure in rounds of one call each, after a warm-up of both.

    Freed memory is kept meanwhile, as in trainings: else a pass would return it, and the next one take it again.
    """

    def seconds(within: bool) -> float:
        work = pair.within if within else pair.without
        start = settings.now_s()
        work()
        return settings.now_s() - start

    with freed_memory_kept(settings.device):
        pair.without()
        pair.within()
        measured = _ratios(seconds, settings.rounds)
    return SpeedUp(
        optimisation=pair.optimisation,
        subject=pair.subject,
        predicted=pair.predicted,
        because=pair.because,
        measured=measured,
    )


def _ratios(seconds: Callable[[bool], float], rounds: int) -> Spread:
    """Times without an optimisation over those with it, `seconds(False)` and `seconds(True)`, in alternated order."""
    found = []
    for number in range(rounds):
        times = {within: seconds(within) for within in order((False, True), number)}
        found.append(times[False] / times[True])
    return Spread.of(found)


def _step_of(
    spec: ArchSpec,
    source: ImageSource,
    settings: BenchSettings,
    *,
    channels_last: bool,
    bf16: bool,
    fused: bool | None = None,
    change: Callable[[nn.Module], nn.Module] | None = None,
) -> Routine:
    """One training step, always on the same batch, of the network as `change` makes it."""
    seed_everything(settings.seed)
    model: nn.Module = build(spec, source.data).to(settings.device)
    if change is not None:
        model = change(model)
    batch = DeviceImages(*source.take(settings.batch_size), source.data, settings.device)
    images, labels = next(batch.batches(settings.batch_size))
    if channels_last:
        model.to(memory_format=torch.channels_last)
    else:
        images = images.contiguous()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=fused
    )

    def step() -> None:
        with autocast(settings.device, "bf16" if bf16 else "fp32"):
            logits = model(images)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def _our_step(
    spec: ArchSpec,
    source: ImageSource,
    settings: BenchSettings,
    *,
    fused: bool | None = None,
    change: Callable[[nn.Module], nn.Module] | None = None,
) -> Routine:
    """`_step_of` in the memory format and the precision of trainings."""
    bf16 = settings.precision == "bf16"
    return _step_of(spec, source, settings, channels_last=True, bf16=bf16, fused=fused, change=change)


def _layout_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    return Pair(
        optimisation="channels last",
        subject=str(spec),
        predicted=1.2,
        because="rule of thumb: no reordering around the libraries' convolutions",
        without=_step_of(spec, source, settings, channels_last=False, bf16=False),
        within=_step_of(spec, source, settings, channels_last=True, bf16=False),
    )


def _bf16_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    return Pair(
        optimisation="bf16",
        subject=str(spec),
        predicted=2.0,
        because="half the bytes, and convolutions several times as fast",
        without=_step_of(spec, source, settings, channels_last=True, bf16=False),
        within=_step_of(spec, source, settings, channels_last=True, bf16=True),
    )


def _optimiser_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    return Pair(
        optimisation="fused optimiser",
        subject=str(spec),
        predicted=1.03,
        because="rule of thumb: a loop over many small tensors costs a few percent of a small step",
        without=_our_step(spec, source, settings),
        within=_our_step(spec, source, settings, fused=True),
    )


def _heap_speed_up(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> SpeedUp:
    """Steps that take their memory from the system again, and steps that find what the last one freed.

    In processes of their own, as trainings are: the rest of a heap decides what is given back.
    """

    def seconds(kept: bool) -> float:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(_steps_s, str(spec), source, settings, torch.get_num_threads(), kept=kept).result()

    return SpeedUp(
        optimisation="freed memory kept",
        subject=str(spec),
        predicted=1.1,
        because="rule of thumb: no page is zeroed again, of thousands in a step",
        measured=_ratios(seconds, settings.rounds),
    )


def _steps_s(name: str, source: ImageSource, settings: BenchSettings, threads: int, *, kept: bool) -> float:
    """Seconds of a few training steps in this process, after two others."""
    torch.set_num_threads(threads)
    step = _our_step(parse(name), source, settings, fused=True)
    with freed_memory_kept(settings.device) if kept else nullcontext():
        step()
        step()
        start = settings.now_s()
        for _ in range(HEAP_STEPS):
            step()
        return settings.now_s() - start


def _transition_pairs(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Iterator[Pair]:
    """Transitions in the order of their definition, and pooled first; none for a network without them."""
    net = layout(spec, source.data)
    if family_of(spec).pools_first and net.as_trained() != net:
        defined, done = (layout_cost(rows).macs for rows in (net, net.as_trained()))
        yield Pair(
            optimisation="transitions pool first",
            subject=str(spec),
            predicted=defined / done,
            because=f"{done / 1e6:.1f} instead of {defined / 1e6:.1f} million MACs",
            without=_our_step(spec, source, settings, change=as_usually_written),
            within=_our_step(spec, source, settings),
        )


def _recompute_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    usual, again = (
        activation_bytes(spec, source.data, settings.batch_size, settings.precision, recompute=on) / 2**20
        for on in (False, True)
    )
    return Pair(
        optimisation="recomputation",
        subject=str(spec),
        predicted=0.75,
        because=f"a second forward pass, a third more work; keeps {again:.0f} MiB instead of {usual:.0f}",
        without=_our_step(spec, source, settings),
        within=_our_step(spec, source, settings, change=recompute),
    )


def _resident_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    """Our step with images from a data loader, and with images that stay on the device."""
    step = _our_step(spec, source, settings)
    loader = plain(spec, source, settings, settings.batch_size)
    train = DeviceImages(*source.take(settings.batch_size), source.data, settings.device)
    batches = TrainBatches(train, source.data, batch_size=settings.batch_size, augment=True, seed=settings.seed)

    def without() -> None:
        for _ in loader.batches():
            step()

    def within() -> None:
        for _ in batches.epoch():
            step()

    return Pair(
        optimisation="resident data",
        subject=str(spec),
        predicted=1.05,
        because="rule of thumb: pictures one by one cost about a tenth of a millisecond each",
        without=without,
        within=within,
    )


def _epoch(spec: ArchSpec, source: ImageSource, settings: BenchSettings, choice: Choice) -> Routine:
    trainer = settings.workload(spec, source).trainer(2 * settings.batch_size, choice)
    trainer.prepare()
    return lambda: trainer.train_pass(1)


def _compiled_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    return Pair(
        optimisation="compile",
        subject=str(spec),
        predicted=1.5,
        because="rule of thumb: everything between convolutions in fewer passes, see the dense block",
        without=_epoch(spec, source, settings, EAGER),
        within=_epoch(spec, source, settings, Choice(compiled=True, reason="measured")),
    )


def _graph_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    """Steps launched kernel by kernel, and replayed as a CUDA graph."""

    def unrecorded(warm_up: Callable[[], None], body: Callable[[], None]) -> Callable[[], None]:
        return body

    slow = settings.workload(spec, source).trainer(2 * settings.batch_size, record=unrecorded)
    slow.prepare()
    return Pair(
        optimisation="CUDA graph",
        subject=str(spec),
        predicted=2.0,
        because="rule of thumb: at batch 64 launching kernels takes longer than they run",
        without=lambda: slow.train_pass(1),
        within=_epoch(spec, source, settings, EAGER),
    )


def _seeds_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    """Gradients of several networks of one architecture: one after the other, and batched by `torch.func`.

    Both in float32, because `torch.func` has no batch norm of bfloat16 images by float32 weights.
    """
    models = []
    for seed in range(SEEDS):
        seed_everything(seed)
        models.append(build(spec, source.data).to(settings.device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    train = DeviceImages(*source.take(settings.batch_size), source.data, settings.device)
    images, labels = next(train.batches(settings.batch_size))

    def one_by_one() -> None:
        for model in models:
            model.zero_grad()
            F.cross_entropy(model(images), labels).backward()

    return Pair(
        optimisation=f"{SEEDS} seeds batched (fp32)",
        subject=str(spec),
        predicted=1.0 if settings.device.type == "cpu" else 2.0,
        because="the same work in fewer, larger operations: worth it where launching them is what takes time",
        without=one_by_one,
        within=batched_gradients(models, images, labels),
    )


def _together_pair(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> Pair:
    """Several trainings one after the other, and as one program."""
    images = 2 * settings.batch_size
    apart, joined = (
        [replace(settings, seed=seed).workload(spec, source).trainer(images) for seed in range(SEEDS)] for _ in range(2)
    )
    together = SeedGroup(joined)
    together.prepare()
    for trainer in apart:
        trainer.prepare()

    def one_by_one() -> None:
        for trainer in apart:
            trainer.train_pass(1)

    on_cpu = settings.device.type == "cpu"
    return Pair(
        optimisation=f"{SEEDS} seeds as one program",
        subject=str(spec),
        predicted=1.0 if on_cpu else 2.0,
        because="they take turns" if on_cpu else "rule of thumb: one small network leaves most of a GPU idle",
        without=one_by_one,
        within=together.train_pass,
    )


def batched_gradients(models: Sequence[nn.Module], images: Any, labels: Any) -> Routine:
    """Work that returns the gradients by parameter, (networks, ...), of all `models` on one batch at once."""
    parameters, buffers = stack_module_state(list(models))
    skeleton = models[0]

    def loss_of(weights: Any, state: Any) -> Any:
        # Weights that time-steps share belong to one module under several names; tied, they would not be put back.
        logits = functional_call(skeleton, (weights, state), (images,), tie_weights=False)
        return F.cross_entropy(logits, labels)

    together = vmap(grad_and_value(loss_of))
    return lambda: together(parameters, buffers)[0]
