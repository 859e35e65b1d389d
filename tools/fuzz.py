"""Try damaged inputs of every kind: space files, recipes, names, ledgers, options, environment variables.

    python tools/fuzz.py --inputs 100000 --to reports/reliability/fuzz.json
    python tools/fuzz.py --inputs 1000 --kind ledger --seed 7

Each input must work or end in one line, within 5 s of a CPU and 1 GB. Prints the inputs for which that does not hold,
with the numbers that make them again, and exits with 1 when there are any. `--to` keeps the counts of each kind and
what is wrong, with commit, versions and hardware.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from recording import record

from tests.helpers.fuzzing import Fuzzer

SHARES = {
    "space": 0.2,
    "recipe": 0.15,
    "name": 0.35,
    "ledger": 0.15,
    "options": 0.08,
    "environment": 0.02,
    "export": 0.05,
}
"""Shares of the inputs by kind: names are read the fastest."""


def main() -> int:
    """Damage the inputs that are asked for; the exit code is 1 where any answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs")
    parser.add_argument("--kind", choices=SHARES, help="one kind alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of a kind")
    parser.add_argument("--to", type=Path, help="JSON file for what was found, written at the end")
    asked = parser.parse_args()
    kinds = {}
    with tempfile.TemporaryDirectory() as directory:
        fuzzer = Fuzzer(directory=Path(directory), seed=asked.seed)
        for kind, share in SHARES.items():
            if asked.kind not in (None, kind):
                continue
            count = asked.inputs if asked.kind else round(share * asked.inputs)
            began = time.monotonic()
            found = fuzzer.run(kind, count, first=asked.first)
            time_s = time.monotonic() - began
            print(f"{kind}: {count:,} inputs in {time_s:.0f} s, {len(found)} wrong", flush=True)
            for item in found:
                print(f"  {kind} {item.number} (seed {asked.seed}): {item.problem}\n    {item.input[:400]}")
            wrong = {item.number: item.problem for item in found}
            kinds[kind] = {"inputs": count, "wrong": wrong, "time_s": time_s}
    if asked.to:
        record(asked.to, {"seed": asked.seed, "kinds": kinds})
    return 1 if any(own["wrong"] for own in kinds.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
