import json
from pathlib import Path

import pytest
import torch

from rksearch.bench.precision_comparison import compare_precision, summary
from rksearch.recipes.shipped import recipe
from rksearch.training.engine.device import has_native_bf16
from rksearch.training.execution import Execution

BF16 = has_native_bf16(torch.device("cpu"))
pytestmark = pytest.mark.skipif(not BF16, reason="this CPU would only emulate bf16")

CIFAR10_DIR = Path("data")


def execution(work_dir: Path, data_dir: Path) -> Execution:
    return Execution(work_dir=str(work_dir), data_dir=str(data_dir), device="cpu", download=False)


def test_pairs_share_their_seed_and_differ_in_precision_alone(tmp_path):
    there = execution(tmp_path, tmp_path)
    chosen = recipe("short", epochs=1, batch_size=32)
    pairs = list(compare_precision("RKNet-k2-m1-1x1", "digits", chosen, there, seeds=2, train_images=60))
    kept = {path.parts[-3]: path for path in tmp_path.glob("*/trials/*@0")}
    assert set(kept) == {"fp32", "bf16"}
    found = summary(pairs, 1.0)
    assert found["fp32_error_pct"] == [a for a, _ in pairs]
    assert found["bf16_error_pct"] == [b for _, b in pairs]
    assert found["pairs"] == 2
    assert json.loads(json.dumps(found))["equivalent"] in (True, False)
    # Nothing is trained again.
    assert list(compare_precision("RKNet-k2-m1-1x1", "digits", chosen, there, seeds=2, train_images=60)) == pairs


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["RKNet-BC-k6-m2_3-1x2_1x1", "ResNet-8"])
def test_bf16_trains_as_well_as_fp32_on_digits(tmp_path, arch):
    """Paired t-test at the 5 % level over five seeds; its power is limited, so it must also see 5 points."""
    chosen = recipe("short", epochs=20)
    pairs = list(compare_precision(arch, "digits", chosen, execution(tmp_path, tmp_path), seeds=5))
    found = summary(pairs, 1.0)
    assert not found["significant"], found
    assert found["detectable"] < 5, found


@pytest.mark.slow
def test_bf16_trains_as_well_as_fp32_on_a_subset_of_cifar10(tmp_path):
    if not (CIFAR10_DIR / "cifar-10-batches-py").exists():
        pytest.skip(f"CIFAR-10 does not lie in {CIFAR10_DIR.absolute()}")
    chosen = recipe("short", epochs=5)
    there = execution(tmp_path, CIFAR10_DIR)
    arch = "RKNet-k8-m2_2_3-1x1_1x1_1x1"
    pairs = list(compare_precision(arch, "cifar10", chosen, there, seeds=5, train_images=2000))
    found = summary(pairs, 2.0)
    assert not found["significant"], found
    assert found["detectable"] < 5, found
