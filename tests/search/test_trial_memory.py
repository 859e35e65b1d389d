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
