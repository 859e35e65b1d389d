"""Memory that a trial on a CPU reserves."""

from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.data.batches import EVAL_BATCH_SIZE
from rksearch.data.streaming import PREFETCHED
from rksearch.recipes.shipped import recipe
from rksearch.results.plan import Plan
from rksearch.search.trial_memory import KEY_BYTES, LOADER_BYTES, WORKER_BYTES, memory_of_a_trial
from rksearch.training.execution import Execution
from tests.helpers.command_line import python
from tests.helpers.pictures import photos_folder

IMAGES = 1_000


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        dataset=f"folder:{photos_folder(tmp_path / 'photos')},size=28,stream=yes",
        recipe=replace(recipe("short"), batch_size=64),
        train_images=None,
        baselines=(),
        known=(),
        trials=1,
        search_seeds=1,
        final_seeds=1,
        objectives=("val_error_pct", "params"),
        sampler="random",
        sampler_seed=0,
    )


def memory(plan: Plan, threads: int) -> int:
    execution = Execution(work_dir="", data_dir="", device="cpu", precision="fp32", threads=threads)
    return memory_of_a_trial("ResNet-8", plan, execution, images=IMAGES)


def test_processes_that_read_streamed_images_are_counted(plan: Plan) -> None:
    one = memory(plan, threads=1)  # which reads its images itself
    assert one > WORKER_BYTES
    waiting = PREFETCHED * EVAL_BATCH_SIZE * 3 * 28 * 28
    for threads in (2, 5):
        assert memory(plan, threads) - one == (threads - 1) * (LOADER_BYTES + IMAGES * KEY_BYTES + waiting)


def test_images_in_memory_need_no_such_processes(plan: Plan) -> None:
    held = replace(plan, dataset=plan.dataset.replace("stream=yes", "stream=no"))
    assert memory(held, threads=5) == memory(held, threads=1)


def test_a_batch_is_no_larger_than_all_images(plan: Plan) -> None:
    """Of a recipe for large data sets, nothing else would fit."""
    whole, huge = (replace(plan, recipe=replace(plan.recipe, batch_size=size)) for size in (IMAGES, 999_999))
    assert memory(huge, threads=2) == memory(whole, threads=2)
    few = replace(huge, train_images=64)
    assert memory(few, threads=2) == memory(replace(few, recipe=plan.recipe), threads=2)


def test_a_worker_keeps_all_images_of_a_data_set_in_memory(plan: Plan) -> None:
    """CIFAR-10: 50,000 training images of 3,072 bytes, however few of them are trained on."""
    few, more = (replace(plan, dataset="cifar10", train_images=images) for images in (1_000, 40_000))
    execution = Execution(work_dir="", data_dir="", device="cpu", precision="fp32")
    for own, images in ((few, 6_000), (more, 45_000)):
        trained = memory_of_a_trial("ResNet-8", own, execution, images=images)
        assert trained > WORKER_BYTES + 50_000 * 3 * 32 * 32 + images * 3 * 32 * 32


@pytest.mark.slow
def test_a_training_takes_no_more_than_is_reserved_for_it(plan: Plan, tmp_path: Path) -> None:
    """A fresh process without Ray, which takes some 100 MB more, and without the kernels of earlier networks."""
    program = f"""
import threading, time
from pathlib import Path
from rksearch.recipes.shipped import recipe
from rksearch.results.records import TrialSpec
from rksearch.training.execution import Execution
from rksearch.training.trial import run_trial

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "RssAnon" in line)

peak_kib = 0
def watch():
    global peak_kib
    while True:
        peak_kib = max(peak_kib, anonymous())
        time.sleep(0.02)

threading.Thread(target=watch, daemon=True).start()
spec = TrialSpec(
    arch="DenseNet-13-k12", dataset="digits", recipe=recipe("short", epochs=1, batch_size=64), train_images=512
)
assert run_trial(spec, Execution(work_dir={str(tmp_path)!r}, data_dir="", device="cpu", threads=1)).status == "complete"
print(peak_kib)
"""
    done = python("-c", program, timeout_s=300)
    assert done.returncode == 0, done.stderr
    plan = replace(plan, dataset="digits", train_images=512)
    execution = Execution(work_dir="", data_dir="", device="cpu", threads=1)
    reserved = memory_of_a_trial("DenseNet-13-k12", plan, execution, images=512)
    assert 0.4 * reserved < int(done.stdout) * 1024 < reserved - 100 * 10**6
