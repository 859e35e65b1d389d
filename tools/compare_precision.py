"""Train networks in bf16 and fp32 from the same seeds and compare the final validation errors.

    python tools/compare_precision.py digits --out reports/precision
    python tools/compare_precision.py cifar10 --out reports/precision

Writes DATASET.json: errors, tests and their power (see `rksearch.bench.precision_comparison`), commit, versions,
hardware. An interrupted comparison is resumed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recording import record

from rksearch.bench.precision_comparison import compare_precision, summary
from rksearch.data.facts import dataset
from rksearch.data.locations import data_home
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import to_plain
from rksearch.training.execution import Execution

PLANS: dict[str, dict[str, Any]] = {
    "digits": {
        "archs": ["RKNet-BC-k6-m2_3-1x2_1x1"],
        "epochs": 20,
        "train_images": None,
        "margin_pct": 1.0,
    },
    "cifar10": {
        "archs": ["RKNet-k8-m2_2_3-1x1_1x1_1x1"],
        "epochs": 5,
        "train_images": 2000,
        "margin_pct": 2.0,
    },
}
"""What is trained, and the difference in percentage points that is held to be none: about the spread between seeds."""


def main() -> None:
    """Train the pairs and compare them; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=list(PLANS))
    parser.add_argument("--data-dir", type=Path, help="where CIFAR-10 is, by default as for every command")
    parser.add_argument("--work-dir", type=Path, default=Path("work-precision"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    plan = PLANS[dataset(asked.dataset).name]
    chosen = recipe("short", epochs=plan["epochs"])
    execution = Execution(
        work_dir=str(asked.work_dir.absolute()),
        data_dir=str(data_home(asked.data_dir)),
        device=asked.device,
        threads=asked.threads,
        download=False,
    )
    began, found = time.perf_counter(), {}
    for arch in plan["archs"]:
        pairs: list[tuple[float, float]] = []
        for pair in compare_precision(
            arch, asked.dataset, chosen, execution, seeds=asked.seeds, train_images=plan["train_images"]
        ):
            print(f"{arch}@{len(pairs)}: fp32 {pair[0]:.2f} %, bf16 {pair[1]:.2f} %", flush=True)
            pairs.append(pair)
        found[arch] = summary(pairs, plan["margin_pct"])
    record(
        asked.out / f"{asked.dataset}.json",
        {
            "dataset": asked.dataset,
            "recipe": to_plain(chosen),
            "train_images": plan["train_images"],
            "seeds": list(range(asked.seeds)),
            "threads": asked.threads,
            "time_s": time.perf_counter() - began,
            "architectures": found,
        },
    )


if __name__ == "__main__":
    main()
