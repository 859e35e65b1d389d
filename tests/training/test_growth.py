"""A worker trains one network after the other in one process: its memory must not grow with their number."""

from __future__ import annotations

import pytest

from tests.helpers.command_line import python

PROGRAM = """
import gc, sys, tempfile, threading
from pathlib import Path
from rksearch.recipes.shipped import recipe
from rksearch.results.records import TrialSpec
from rksearch.training.execution import Execution
from rksearch.training.trial import run_trial

SHAPES = ("1x1_1x1_1x1", "1x2_1x1_1x1", "1x1_1x2_1x1", "2x1_1x1_1x1", "1x1_1x1_1x2")
NAMES = [f"RKNet-k{k}-m1_1_2-{shape}" for k in (4, 8, 12, 16) for shape in SHAPES]
execution = Execution(work_dir=tempfile.mkdtemp(), data_dir="", device="cpu", threads=1)

def train(name):
    spec = TrialSpec(arch=name, dataset="digits", recipe=recipe("short", epochs=1, batch_size=32), train_images=200)
    assert run_trial(spec, execution).status == "complete"

for name in NAMES:
    thread = threading.Thread(target=train, args=(name,))  # as Ray's function trainables do
    thread.start()
    thread.join()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(pages * 4096 // 2**20, flush=True)
"""


@pytest.mark.slow
def test_twenty_networks_in_one_process_take_the_memory_of_a_few() -> None:
    """Measured: about 1 MiB a network, oneDNN's kernels for its shapes, of which the library keeps 1,024 at most."""
    done = python("-c", PROGRAM, timeout_s=600)
    assert done.returncode == 0, done.stderr
    mib = [int(line) for line in done.stdout.split()]
    assert len(mib) == 20
    assert max(mib[-5:]) - mib[4] < 100, mib
