"""Measuring the networks of a forecast: in this process on a CPU, in a child on a GPU.

A driver must not take memory of the GPU that its trials share, so the child's context ends with it. Nor must it run the
code of an installed plugin, which may crash or hang: its networks are measured in a child on a CPU too. The child knows
the families of rksearch and of plugins; those that a script has registered are not measured there.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.data.facts import Dataset
from rksearch.errors import RksearchError
from rksearch.recipes.recipe import Recipe
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.processes import child_environment, own_python
from rksearch.results.records import ImageCounts
from rksearch.search.agenda import SearchAgenda
from rksearch.search.disk import disk_need
from rksearch.search.forecasting import Probe, Probed, forecast, forecast_of_rest, probes
from rksearch.search.reservations import Reservations, cpus_here
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.space import Space

if TYPE_CHECKING:
    from rksearch.data.dataset import Images
    from rksearch.data.pictures import Stored

CHILD_S = 600.0
"""Seconds after which the measurement in a child process is given up."""

PLUGIN_S = 30.0
"""The same for networks of installed plugins on a CPU: what one that hangs costs at the start of a run.

A child takes 5 s to import torch, and several times that on a busy machine; the networks themselves take a few steps.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What to measure.

    Attributes:
        probes: the networks.
        data: facts about the images.
        recipe: recipe of their trainings.
        images: numbers of images that they train and validate on.
        device, precision, threads: as in `rksearch.training.execution.Execution`.
    """

    probes: Sequence[Probe]
    data: Dataset
    recipe: Recipe
    images: ImageCounts
    device: str
    precision: str
    threads: int


def measured(what: Measurement) -> list[Probed]:
    """Each network with the time of its epochs; one that cannot be measured has a note instead.

    Raises:
        DeviceError: no such device or precision.
    """
    from rksearch.training.engine.device import resolve_device

    if resolve_device(what.device).type == "cuda":
        return _in_child(what)
    outside = [probe for probe in what.probes if _is_of_plugin(probe.arch)]
    found = _here(replace(what, probes=[probe for probe in what.probes if probe not in outside]))
    if outside:
        found += _in_child(replace(what, probes=outside), PLUGIN_S)
    by_probe = {probed.probe: probed for probed in found}
    return [by_probe[probe] for probe in what.probes]


def _is_of_plugin(arch: str) -> bool:
    """Whether a network's family is that of an installed plugin; False for what is no name."""
    try:
        return family_of(parse(arch)) not in (*FAMILIES.shipped(), *FAMILIES.added())
    except RksearchError:
        return False


def image_counts(facts: Dataset, images: Images | Stored, train_images: int | None) -> ImageCounts:
    """Numbers of images of a split, without making it: those held out are a fixed share."""
    from rksearch.data.pictures import Stored

    count = len(images.train) if isinstance(images, Stored) else len(images.train_labels)
    held_out = images.held_out
    val = round(facts.val_fraction * count) if held_out is None else len(held_out)
    return ImageCounts(train=count - val if train_images is None else train_images, val=val)


def session_forecast(
    space: Space,
    plan: Plan,
    state: RunState,
    images: Images | Stored,
    resources: Resources,
    say: Callable[[str], None],
) -> Forecast | None:
    """Expected cost of what a search has left, on this machine.

    Args:
        space, plan, state: the run.
        images: all images of its data set.
        resources: what the session may use.
        say: shows a line.

    Returns:
        None for a session that reads the test set, and for machines of a cluster, which differ from this one.
    """
    if not isinstance(state.agenda, SearchAgenda):
        return None
    if resources.address is not None:
        say("What the run costs on this cluster is known once its first trainings have ended.")
        return None
    history = state.history
    if any(result.epochs for _, result in (*history.trials.values(), *history.paused.values())):
        reserved, slots = reserved_here(resources)
        disk_bytes = disk_need(space, plan, history).most
        return forecast_of_rest(history, state.agenda, slots=slots, reserved=reserved, disk_bytes=disk_bytes)
    say("Measuring some steps of the smallest, the median and the largest network and of the baselines ...")
    return forecast_here(space, plan, images, resources)


def forecast_here(space: Space, plan: Plan, images: Images | Stored, resources: Resources) -> Forecast:
    """Expected cost of a whole run on this machine, some of whose networks are measured now.

    Raises:
        DeviceError: no such device or precision.
    """
    from rksearch.training.engine.device import resolve_device, resolve_precision

    facts = space.definition.dataset
    device = resolve_device(resources.device)
    precision = resolve_precision(resources.precision, device)
    threads = f"{resources.threads} thread{'s' if resources.threads > 1 else ''}"
    what = Measurement(
        probes=probes(space, plan),
        data=facts,
        recipe=plan.recipe,
        images=image_counts(facts, images, plan.train_images),
        device=device.type,
        precision=precision,
        threads=resources.threads,
    )
    reserved, slots = reserved_here(resources)
    return forecast(
        space,
        plan,
        measured(what),
        slots=slots,
        reserved=reserved,
        disk_bytes=disk_need(space, plan, History()).most,
        measured_on=f"{'GPU' if device.type == 'cuda' else 'CPU'}, {precision}, {threads}",
        budget=resources.budget.words if resources.limited else "",
    )


def reserved_here(resources: Resources) -> tuple[dict[str, float], int]:
    """CPUs and GPUs that a trial reserves, and the number of trials that fit on this machine at once.

    A share of a GPU that will be measured counts as a whole one; memory does not count.

    Raises:
        RunError: the machine has less than a trial asks for.
    """
    import torch

    gpus = 0 if resources.device == "cpu" else torch.cuda.device_count()
    here = [{"CPU": float(cpus_here()), "GPU": float(gpus)}]
    found = Reservations.on(here, resources)
    return dict(found.trial), found.slots(here)


def _here(what: Measurement) -> list[Probed]:
    from rksearch.training.pace import measure_pace

    found = []
    for probe in what.probes:
        try:
            pace = measure_pace(
                parse(probe.arch),
                what.data,
                what.recipe,
                what.images,
                device=what.device,
                precision=what.precision,
                threads=what.threads,
            )
        except RksearchError as error:  # one network that does not fit, for one, is no reason to know nothing
            found.append(Probed(probe=probe, epoch_s=None, note=str(error)))
            continue
        note = "recomputes activations to fit in memory" if pace.recompute else ""
        epoch_s = pace.epoch_s(what.recipe, what.images)
        found.append(Probed(probe=probe, epoch_s=epoch_s, peak_bytes=pace.peak_bytes, note=note))
    return found


def _in_child(what: Measurement, limit_s: float = CHILD_S) -> list[Probed]:
    # A loader of images may be a function that no other process can import, and it is not needed.
    payload = pickle.dumps(replace(what, data=replace(what.data, load=None)))
    code = "from rksearch.search.measuring import answer; answer()"
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and the code above
            own_python("-c", code),
            input=payload,
            env=child_environment(),
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _none(what, f"not measured within {limit_s:.0f} s")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"its process ended with {done.returncode}"
        ]
        return _none(what, f"not measured: {lines[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return [Probed(**{**item, "probe": Probe(**item["probe"])}) for item in found]


def _none(what: Measurement, note: str) -> list[Probed]:
    return [Probed(probe=probe, epoch_s=None, note=note) for probe in what.probes]


def answer() -> None:
    """The child's part: read what to measure from standard input, and print what was found as a line of JSON."""
    what: Measurement = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - its own parent wrote it
    print(json.dumps([asdict(found) for found in _here(what)]))
