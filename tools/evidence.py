"""Make what stands under `reports/`, with the code as it is committed.

    python tools/evidence.py --list              # every command, its hours on two cores, and what it writes
    python tools/evidence.py --check             # which of it comes from another state of the code
    python tools/evidence.py cifar10_table       # the commands of a part, or of several, one after another

Run it in a checkout in which `rksearch/` has no uncommitted changes. CIFAR-10 is looked for as by every command
(`RKSEARCH_DATA`), and downloaded if need be. A part goes on from what lies there: runs, replays, trainings and
injections that are done stay, whatever code made them; what is to be made anew must be moved away first, a run's
directory with the `work/` in it. A command that writes one file at its end (`--to`) is skipped where that file comes
from the same command, code and CPU. Parts marked `idle` measure time: let nothing else run beside them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rksearch.cli.exits import EXIT_FAILURES
from rksearch.results.environment import current_environment, is_measurement

ROOT = Path(__file__).parent.parent
REPORTS = Path("reports")

MOST_NAMED = 12
"""Files that are named as changed: more say no more than their number."""

CODE = "rksearch"
"""Directory whose state is the state of the code."""

TABLES = (
    ("digits_table", "reports/digits_table", ""),
    ("cifar10_table", "reports/cifar10_table", " --trainings 33"),
    ("synthetic-quiet", "synthetic-quiet", " --trainings 60"),
    ("synthetic-noisy", "synthetic-noisy", " --trainings 60"),
)
"""Tables for the replay of search strategies: directory, what the command calls it, and its budget. A quarter of the
digits are 60 trainings, and the large tables have the same. A quarter of the smallest would be over before a search has
learned anything: half of it."""

PROPOSED = "--recipe short --recipe reports/recipes/proposal.yaml"
KINDS = "RKNet-BC-k8-m2_4_6-1x2s_1x1_1x1 DenseNet-22-k12 ResNet-20"
RATES = "RKNet-k8-m2_4_6-1x2s_1x2s_1x2s RKNet-k8-m2_4_6-1x2_1x2_1x2 DenseNet-13-k8 DenseNet-13-k12 ResNet-8 ResNet-14"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Evidence of one kind.

    Attributes:
        name: what it is called here.
        hours: about how long it takes on two cores.
        writes: what its results are in, beneath `reports/`.
        commands: what makes them, in this order.
        idle: whether it measures time.
    """

    name: str
    hours: float
    writes: tuple[str, ...]
    commands: tuple[str, ...]
    idle: bool = False


PARTS = (
    Part(
        name="quickstart",
        hours=0.05,
        writes=("quickstart/environment.json",),
        commands=("rksearch run --space quickstart --out reports/quickstart", "rksearch final reports/quickstart"),
    ),
    Part(
        name="recipes",
        hours=3,
        writes=("recipes/trainings.jsonl", "recipes/terms/trainings.jsonl"),
        commands=(
            f"rksearch bench recipes {PROPOSED} --recipe fast --precision bf16",
            f"rksearch bench recipes {PROPOSED} --each-term --epochs 8 --seeds 1 --precision bf16 "
            "--out reports/recipes/terms",
        ),
    ),
    Part(
        name="digits_table",
        hours=1.5,
        writes=("digits_table/environment.json",),
        commands=("rksearch run --space digits_table --precision fp32 --cpus-per-trial 1 --out reports/digits_table",),
    ),
    Part(
        name="cifar10_table",
        hours=2,
        writes=("cifar10_table/environment.json",),
        commands=("rksearch run --space cifar10_table --out reports/cifar10_table",),
    ),
    # Multi-objective ASHA plays where Syne Tune is installed: see docs/bench_search.md.
    *(
        Part(
            name=f"search_benchmark/{table}",
            hours=2,
            writes=(f"search_benchmark/{table}/replays.jsonl",),
            commands=(f"rksearch bench search --table {where} --repetitions 40{budget}",),
        )
        for table, where, budget in TABLES
    ),
    Part(
        name="replays_again",
        hours=0.8,
        writes=("search_benchmark/again.json",),
        commands=(
            f"python tools/replays_again.py {' '.join(table for table, _, _ in TABLES)} --repetitions 2 "
            "--to reports/search_benchmark/again.json",
        ),
    ),
    Part(
        name="cifar10_small",
        hours=4,
        writes=("cifar10_small_cpu/environment.json",),
        commands=(
            "rksearch run --space cifar10_small --racing --control --out reports/cifar10_small_cpu",
            "rksearch final reports/cifar10_small_cpu",
            "rksearch paper --ledger reports/cifar10_small_cpu > reports/cifar10_small_cpu/paper.txt",
        ),
    ),
    Part(
        name="learning_rate",
        hours=1.5,
        writes=("learning_rate/trainings.jsonl",),
        commands=(
            f"rksearch bench recipes {RATES} --recipe fast --recipe reports/learning_rate/third.yaml "
            "--recipe reports/learning_rate/triple.yaml --epochs 8 --seeds 4 --precision bf16 "
            "--out reports/learning_rate",
        ),
    ),
    Part(
        name="performance",
        hours=3.5,
        writes=(
            *(f"performance/train_{turn}.json" for turn in (1, 2, 3)),
            "performance/run.json",
            "performance/concurrent.json",
            "performance/optimisations.json",
        ),
        commands=(
            *(
                f"rksearch bench train {KINDS} --compile on --to reports/performance/train_{turn}.json"
                for turn in (1, 2, 3)
            ),
            "rksearch bench run --rounds 3 --to reports/performance/run.json",
            "rksearch bench train ResNet-20 DenseNet-22-k12 --concurrent 1,2 --together 2,4 --rounds 3 "
            "--to reports/performance/concurrent.json",
            "rksearch bench optimisations ResNet-20 DenseNet-22-k12 --threads 1 --cpu-time --rounds 15 --compile on "
            "--to reports/performance/optimisations.json",
            "python tools/performance_tables.py",
        ),
        idle=True,
    ),
    Part(
        name="search_overhead",
        hours=0.3,
        writes=("search_benchmark/overhead.json",),
        commands=("rksearch bench search --overhead --json > reports/search_benchmark/overhead.json",),
        idle=True,
    ),
    Part(
        name="precision",
        hours=0.5,
        writes=("precision/digits.json", "precision/cifar10.json"),
        commands=(
            "python tools/compare_precision.py digits --out reports/precision",
            "python tools/compare_precision.py cifar10 --out reports/precision",
            "python tools/precision_table.py",
        ),
    ),
    Part(
        name="reliability",
        hours=5,
        writes=("reliability/faults.jsonl", "reliability/fuzz.json"),
        commands=(
            "rksearch selftest --faults 240 --seed 2026 --out reports/reliability",
            "python tools/fuzz.py --inputs 100000 --seed 2026 --to reports/reliability/fuzz.json",
        ),
    ),
    Part(
        name="pictures",
        hours=0.1,
        writes=(),
        commands=("python tools/figures.py", "python tools/dashboard_picture.py docs"),
    ),
)


def main() -> int:
    """Do what is asked; the exit code is 1 where a command fails or evidence is missing or of another code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PART", help="parts to make, in this order")
    parser.add_argument("--list", action="store_true", help="show parts and their commands; without a name, all")
    parser.add_argument("--check", action="store_true", help="compare the code that made each part with the code here")
    asked = parser.parse_args()
    parts = {part.name: part for part in PARTS}
    for name in asked.names:
        if name not in parts:
            parser.error(f"a part must be one of {', '.join(parts)}, but got {name!r}")
    chosen = [parts[name] for name in asked.names]
    if asked.check:
        return check(chosen or PARTS)
    if asked.list or not chosen:
        print("\n\n".join(described(part) for part in chosen or PARTS))
        return 0
    return make(chosen)


def described(part: Part) -> str:
    """A part and its commands, for a terminal."""
    idle = ", with nothing beside it" if part.idle else ""
    writes = ", ".join(str(REPORTS / path) for path in part.writes) or "what its commands say"
    head = f"{part.name}: about {part.hours:g} h{idle}; writes {writes}"
    return "\n".join([head, *(f"    {command}" for command in part.commands)])


def make(chosen: Sequence[Part]) -> int:
    """Run the commands of parts, until one fails as a whole; its exit code."""
    if git("status", "--porcelain", "--", CODE):
        print(f"the code must be committed, but {CODE}/ has uncommitted changes; commit or stash them", file=sys.stderr)
        return 2
    for part in chosen:
        for command in part.commands:
            if measured(command):
                print(f"= {command}", flush=True)
                continue
            print(f"+ {command}", flush=True)
            program, _, target = command.partition(" > ")
            words = shlex.split(program)
            words = [sys.executable, "-m", *words] if words[0] == "rksearch" else [sys.executable, *words[1:]]
            done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE if target else None)
            if done.returncode not in (0, EXIT_FAILURES):  # failed trainings are rows of a report
                return done.returncode
            if target:
                (ROOT / target).write_bytes(done.stdout)
    return 0


def measured(command: str) -> bool:
    """Whether the file that a command writes at its end (`--to`) comes from this command, code and CPU."""
    words = shlex.split(command)
    path = ROOT / words[words.index("--to") + 1] if "--to" in words else None
    if path is None or not is_measurement(path):
        return False
    environment = json.loads(path.read_text(encoding="utf-8"))["environment"]
    here = current_environment()
    return (
        environment["command"] == words
        and not environment["dirty"]
        and environment["cpu"] == here.cpu
        and environment["commit"] is not None
        and state_of(environment["commit"]) == state_of("HEAD")
    )


def check(chosen: Sequence[Part]) -> int:
    """Say of each result which commits made it, and whether they hold the code that is here."""
    here, differs = state_of("HEAD"), False
    for part in chosen:
        for written in part.writes:
            path = ROOT / REPORTS / written
            if not path.is_file():
                said = "missing"
            else:
                commits = sorted(set(commits_of(path)))
                other = [commit for commit in commits if state_of(commit) != here]
                said = "; ".join(f"from other code, {since(commit)}" for commit in other) or "as here"
                said = said if commits else "without a commit"
            differs |= said != "as here"
            print(f"{REPORTS / written}: {said}")
    return 1 if differs else 0


def commits_of(path: Path) -> Iterator[str]:
    """Every commit that a file of results names: JSON, or lines of JSON."""
    text = path.read_text(encoding="utf-8")
    for whole in text.splitlines() if path.suffix == ".jsonl" else [text]:
        yield from named_commits(json.loads(whole))


def named_commits(value: object) -> Iterator[str]:
    """Commits under the keys that name some, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from named_commits(item)
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "commit" or key.endswith("_with"):
                yield from ([item] if isinstance(item, str) else item or [])
            else:
                yield from named_commits(item)


def state_of(commit: str) -> str | None:
    """What tells one state of the code from another, its documents aside; None for a commit that is not known here."""
    files = git("ls-tree", "-r", commit, "--", CODE).splitlines()
    return "\n".join(line for line in files if not line.endswith(".md")) or None


def since(commit: str) -> str:
    """What has changed in the code since a commit, so that a reader can see whether a result hangs on it."""
    if state_of(commit) is None:
        return f"{commit[:12]}, which is not known here"
    names = git("diff", "--name-only", commit, "HEAD", "--", CODE).splitlines()
    changed = [name.removeprefix(f"{CODE}/") for name in names if not name.endswith(".md")]
    more = f" and {len(changed) - MOST_NAMED} files more" if len(changed) > MOST_NAMED else ""
    return f"{commit[:12]}: since then {', '.join(changed[:MOST_NAMED])}{more}"


def git(*arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: S607


if __name__ == "__main__":
    sys.exit(main())
