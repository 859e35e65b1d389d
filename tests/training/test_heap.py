"""What a training frees stays for its next step, and goes back to the system afterwards (glibc only)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from rksearch.training.engine import heap

needs_glibc = pytest.mark.skipif(heap._glibc() is None, reason="the C library is not glibc")

ROUNDS = """
import resource, sys, threading
from pathlib import Path
import torch
from rksearch.training.engine import heap

def faults():
    '''Pages handed out for 12 blocks of 20 MiB, 61,440 pages in all, that are freed again.'''
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(20 * heap.MIB, dtype=torch.uint8) for _ in range(12)]
    held.clear()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mib():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) // 1024

def steps():
    with heap.freed_memory_kept(torch.device("cpu")):
        with heap.freed_memory_kept(torch.device("cpu")):
            rounds = [faults() for _ in range(6)]
        rounds.append(faults())
        kept = resident_mib()
    print(*rounds, kept - resident_mib(), faults())

def returned():
    with heap.freed_memory_kept(torch.device("cpu")):
        faults()
        kept = resident_mib()
        heap.return_freed()
        print(kept - resident_mib(), faults(), faults())
"""


def run(program: str, *arguments: str, **environment: str) -> list[int]:
    """The numbers that a process of its own prints, whose heap nobody has used before."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})
    return [int(word) for word in done.stdout.split()]


@needs_glibc
@pytest.mark.parametrize("call", ["steps()", "thread = threading.Thread(target=steps); thread.start(); thread.join()"])
def test_memory_is_handed_out_once(call: str) -> None:
    """In a thread too, which has a heap of its own: trials under Ray Tune run in one."""
    first, *rounds, given_back_mib, afterwards = run(ROUNDS + call)
    assert first > 50_000
    assert max(rounds[-3:]) < 6_000  # the first few rounds leave gaps between blocks; the last is of the outer block
    assert given_back_mib > 200
    assert afterwards > 50_000


@needs_glibc
def test_memory_can_be_returned_in_between_and_is_kept_again_afterwards() -> None:
    returned_mib, again, afterwards = run(ROUNDS + "returned()")
    assert returned_mib > 200
    assert again > 50_000
    assert afterwards < 20_000


@pytest.mark.slow
@needs_glibc
def test_what_users_have_chosen_stays_so() -> None:
    *rounds, _, afterwards = run(ROUNDS + "steps()", MALLOC_MMAP_THRESHOLD_=str(2**20))
    assert min(*rounds, afterwards) > 50_000, "blocks of 20 MiB go back to the system one by one, as asked"


USUAL = """
import ctypes, resource, sys
from rksearch.training.engine import heap
if sys.argv[1] == "told":
    heap.let_go_as_usual(4 * heap.MIB)
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [library.malloc(4 * heap.MIB) for _ in range(10)]
    for block in blocks: ctypes.memset(block, 1, 4 * heap.MIB)
    for block in blocks: library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@needs_glibc
def test_the_usual_ways_are_those_of_a_process_that_nobody_told_anything() -> None:
    """Pages handed out in a fifth round of ten blocks, by glibc's own thresholds and by those that it comes to."""
    (by_itself,), (told,) = run(USUAL, "by itself"), run(USUAL, "told")
    assert by_itself > 5_000
    assert told == pytest.approx(by_itself, rel=0.2)


def test_other_devices_are_left_alone() -> None:
    with heap.freed_memory_kept(torch.device("meta")):
        assert heap._uses == 0
