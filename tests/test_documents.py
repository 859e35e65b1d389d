"""The documents: every command in them is one of the real command line, those that can run are run, and links hold."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from rksearch.cli.main import cli
from tests.helpers.command_line import TINY_SPACE, environment, python, rksearch
from tests.helpers.documents import (
    FENCE,
    ROOT,
    SHELLS,
    Command,
    blocks,
    commands,
    documents,
    inline_commands,
    relative_links,
    title,
)
from tests.helpers.parsing import refusal
from tests.helpers.pictures import digits_folder

PROGRAMS = {
    "pip": "installs from a registry",
    "pip3": "installs from a registry",
    "uv": "installs from a registry",
    "uvx": "installs from a registry",
    "pytest": "the tests themselves",
    "ruff": "run by .ci/run",
    "mypy": "run by .ci/run",
    "pre-commit": "changes the checkout's hooks",
    ".ci/run": "installs, and runs these tests",
    "ray": "changes the user's Ray token, or needs further machines",
    "optuna-dashboard": "a server, which is not installed by the tests' environment",
    "prometheus": "not a Python package",
    "grafana": "not a Python package",
}
"""Programs of others in the documents, and why no test runs them."""

OTHER_PYTHON = {
    "python tools/fuzz.py --inputs 100000": "tests/cli/test_fuzzing.py runs some thousand inputs",
    "python tools/site.py": "run by .ci/run",
    "python tools/evidence.py --list": "tests/test_evidence.py",
    "python tools/evidence.py --check": "tests/test_evidence.py",
    "python tools/evidence.py quickstart": "tests/test_evidence.py; the run itself is tests/search/test_run.py's",
}
"""Commands that run Python, and what runs them."""

HISTORY = ("CHANGELOG.md", "reports/")
"""Documents whose commands are records: some are of earlier versions."""


def current() -> list[Path]:
    """The documents whose commands are for today."""
    return [path for path in documents() if not title(path).startswith(HISTORY)]


def ours(path: Path) -> list[Command]:
    """The commands of a document that are rksearch's."""
    return [command for command in commands(path) if command.words[0] == "rksearch"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rksearch run --space quickstart --trials 2", None),
        ("rksearch run", "Missing option '--space'"),
        ("rksearch run --space quickstart --tirals 2", "No such option"),
        ("rksearch run --space quickstart --trials two", "not a valid integer"),
        ("rksearch run --space quickstart --device tpu", "is not one of"),
        ("rksearch run --space quickstart --sampler lucky", "is not one of"),
        ("rksearch space shwo quickstart", "No such command"),
        ("rksearch status a b", "unexpected extra argument"),
        ("rksearch bench", "a command is missing"),
    ],
)
def test_a_command_that_is_wrong_is_refused(line: str, says: str | None) -> None:
    found = refusal(tuple(line.split()), complete=True)
    assert found is None if says is None else says in (found or "")


def test_every_command_in_a_block_parses() -> None:
    wrong = [
        (command.document, str(command), found)
        for path in current()
        for command in ours(path)
        if (found := refusal(command.words, complete=True))
    ]
    assert not wrong
    assert sum(len(ours(path)) for path in current()) > 40


def test_every_command_in_prose_parses() -> None:
    wrong = [
        (command.document, str(command), found)
        for path in current()
        for command in inline_commands(path)
        if (found := refusal(with_values(command.words), complete=False))
    ]
    assert not wrong


def with_values(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command with values in the place of placeholders, and without an option whose value is left out."""
    known = [VALUES.get(word, word) for word in words if word != "..."]
    return tuple(known[:-1] if known[-1] in NAMED_ALONE else known)


VALUES = {"N": "1", "local": "random"}
"""Values for placeholders; `local` is the sampler of docs/extending.md, which another test installs."""

NAMED_ALONE = ("--dataset",)
"""Options that prose names at the end of a command without their value."""


def test_every_other_program_is_known() -> None:
    unknown = set()
    for path in documents():
        for command in commands(path):
            first, known = command.words[0], {"rksearch", *PROGRAMS}
            if first not in known and str(command) not in OTHER_PYTHON:
                unknown.add((command.document, str(command)))
    assert not unknown
    scripts = [words for line in OTHER_PYTHON if (words := line.split())]
    assert all((ROOT / words[1]).is_file() for words in scripts)


def test_markers_of_the_tests_that_documents_name_are_known() -> None:
    marked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    known = {line.partition(":")[0] for line in marked}
    named = {
        command.words[command.words.index("-m") + 1]
        for path in documents()
        for command in commands(path)
        if command.words[0] == "pytest" and "-m" in command.words
    }
    assert named <= known


def test_commands_stand_in_blocks_of_a_shell() -> None:
    """Otherwise no test sees them."""
    astray = [
        (title(path), line)
        for path in documents()
        for fence in FENCE.finditer(path.read_text(encoding="utf-8"))
        if fence["language"] not in SHELLS
        for line in fence["body"].splitlines()
        if re.match(r"\s*(\$ )?(uv run )?rksearch ", line)
    ]
    assert not astray


def test_documents_link_to_files_of_the_repository() -> None:
    broken = [
        (title(path), target)
        for path in documents()
        for target in relative_links(path)
        if not (path.parent / target).exists()
    ]
    assert not broken


def test_documents_name_no_address_of_a_package_registry() -> None:
    registry = re.compile(r"--(?:extra-)?index-url|/simple\b|/whl\b")
    named = [title(path) for path in documents() if registry.search(path.read_text(encoding="utf-8"))]
    assert not named


def test_commands_whose_results_scripts_use_print_json() -> None:
    documented = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for name in ("train", "final", "paper", "report", "export"):
        assert "--json" in {word for parameter in cli.commands[name].params for word in parameter.opts}, name
        assert f"`{name}`" in documented


# -- Running them

SKIPPED = {
    "rksearch run --space cifar10_small": "downloads CIFAR-10, and takes hours",
    "rksearch run --space cifar10_small --out reports/small": "downloads CIFAR-10, and takes hours",
    "rksearch run --space cifar10_bc --dry-run": "downloads CIFAR-10",
    "rksearch run --space cifar10_bc --recipe short --dry-run": "downloads CIFAR-10",
    "rksearch run --space cifar10_bc --recipe short": "downloads CIFAR-10, and needs a GPU",
    "rksearch run --space cifar10_bc --recipe short --gpu-hours 24 --out reports/bc": "downloads CIFAR-10, needs a GPU",
    "rksearch run --space cifar10_bc": "downloads CIFAR-10, and needs a GPU",
    "rksearch run --space cifar10_bc --address HOST:6379 --storage s3://bucket/rksearch": "a cluster and a bucket",
    "rksearch run --space cifar10_bc --recipe short --address auto --storage s3://bucket/rksearch": "both of them",
    "rksearch space show cifar10_bc --time": "downloads CIFAR-10",
    "rksearch bench run": "takes an hour; tests/bench/test_whole_run.py runs a small one",
    "rksearch bench train ResNet-20": "takes long; tests/bench/test_train.py runs a small one",
    "rksearch bench recipes --recipe short --recipe reports/recipes/proposal.yaml --recipe fast "
    "--precision bf16": "takes hours; tests/bench/test_recipe_comparison.py runs a small one",
    "rksearch bench recipes --recipe short --recipe reports/recipes/proposal.yaml --each-term --epochs 8 --seeds 1 "
    "--precision bf16 --out reports/recipes/terms": "likewise",
    "rksearch selftest --faults 20": "takes long; the plain command is run",
    "rksearch train DenseNet-121 --dataset imagenet --recipe paper_imagenet_256 --data-dir /data": "needs ImageNet",
    "rksearch data pack imagenet --data-dir /data --to imagenet.rkpack": "needs ImageNet",
    "rksearch train DenseNet-121 --dataset pack:imagenet.rkpack --recipe paper_imagenet_256": "needs ImageNet",
    "rksearch bench data pack:imagenet.rkpack --arch DenseNet-121 --batch-size 256": "needs ImageNet",
}
"""Commands that no test runs as they stand, and why."""

RUN_ELSEWHERE = {
    "rksearch run --space quickstart": "tests/search/test_run.py runs it whole",
    "rksearch selftest": "tests/bench/test_selftest.py",
    "rksearch resume reports/cifar10_bc-1 --seeds 5": "docs/tutorial.md, with a baseline besides",
    "rksearch retrain reports/cifar10_small-1 --front": "docs/tutorial.md, with a recipe besides",
    "rksearch final reports/cifar10_bc-1": "docs/tutorial.md",
}
"""Commands of which another test of .ci/run runs the like, since those that start Ray take half a minute each."""

SMALL_RUN = "--trials 1 --epochs 1 --seeds 1 --replicates 0"

SMALLER = {
    "rksearch run --space quickstart --out reports/first": SMALL_RUN,
    "rksearch run --space quickstart --sampler random --out reports/second": SMALL_RUN,
    "rksearch run --space ./sharing.yaml --control --out reports/sharing": SMALL_RUN,
    "rksearch run --space own.yaml": SMALL_RUN,
    "rksearch bench cost": "--candidates 20000 --sample 2",
    "rksearch bench search --repetitions 5 --out bench": "--table synthetic-quiet --repetitions 1 --trainings 12 "
    "--strategies random --start same",
    "rksearch retrain reports/bc --front --recipe paper --seeds 3": "--epochs 1 --seeds 1",
    "rksearch train RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s --recipe short --epochs 10": "--dataset digits --epochs 1",
    "rksearch train RKNet-BC-k4-m2_3_2-1x3s_2x1_1x2 --dataset digits --recipe short --epochs 10": "--epochs 1",
    "rksearch train RKNet-Res-1x3_1x2s_1x2 --dataset digits --recipe short --test": "--epochs 1",
    "rksearch train ResNet-20 --dataset folder:pets,size=32 --recipe short": "--epochs 1",
    "rksearch train ResNet-20 --recipe ./mine.yaml": "--dataset digits --epochs 1",
}
"""Options behind a command that make it small, or give it images that need no download."""

PYTHON = ("README.md", "docs/networks.md", "docs/python.md", "docs/watching.md")
"""Documents whose Python runs behind their commands."""

PYTHON_ELSEWHERE = {
    "docs/extending.md": "tests/arch/test_extending_family.py and its like",
    "docs/optuna.md": "tests/search/test_optunahub.py",
    "hub/package/samplers/rksearch_frontier/README.md": "tests/search/test_optunahub.py",
}
"""Documents whose Python other tests run."""

OWN_SPACE = TINY_SPACE.replace("dataset: digits", "dataset: folder:pets,size=32").replace(
    "train_images: 100", "train_images: 24"
)
"""A space of 60 images of one's own."""

RUN_DIRECTORY = re.compile(r"reports/[\w-]+")
"""A run that a document speaks of; commands find a small one there, unless they make it themselves."""


def made_by(command: Command) -> set[str]:
    """The run directories that a command makes."""
    if command.words[1] == "run" and "--out" in command.words:
        return {command.words[command.words.index("--out") + 1]}
    return set()


def test_lists_of_commands_hold_no_others() -> None:
    known = {str(command) for path in current() for command in ours(path)}
    assert not (SKIPPED.keys() | RUN_ELSEWHERE.keys() | SMALLER.keys()) - known
    assert not SKIPPED.keys() & RUN_ELSEWHERE.keys()
    assert not (SKIPPED.keys() | RUN_ELSEWHERE.keys()) & SMALLER.keys()
    for line, options in SMALLER.items():
        assert refusal((*line.split(), *options.split()), complete=True) is None


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of small networks on the digits.

    With what documents look for in a run: a control arm, checkpoints, enough networks for `--calibrate`, and its epochs
    in MLflow under the name that docs/watching.md uses.
    """
    home, name = tmp_path_factory.mktemp("small"), "quickstart-1"
    (home / "tiny.yaml").write_text(TINY_SPACE)
    options = ("--out", name, "--trials", "9", "--control", "--log", "mlflow")
    done = rksearch("run", "--space", "tiny.yaml", *options, cwd=home, timeout_s=500)
    assert done.returncode == 0, done.stderr
    return home / name


def is_run(command: Command) -> bool:
    """Whether the test of its document runs a command."""
    return str(command) not in SKIPPED and str(command) not in RUN_ELSEWHERE


def wanted_runs(path: Path) -> set[str]:
    """The run directories that the commands and the Python of a document find, rather than make."""
    made: set[str] = set()
    wanted: set[str] = set()
    for command in ours(path):
        if is_run(command):
            made |= made_by(command)
            wanted |= set(RUN_DIRECTORY.findall(" ".join(command.words[2:]))) - made
    if title(path) in PYTHON:
        wanted |= set(RUN_DIRECTORY.findall(python_of(path))) - {"reports/mine"}
    return wanted


def prepare(home: Path, path: Path) -> None:
    """Put into `home` what a document expects there besides runs: images, and the YAML files that it shows."""
    digits_folder(home / "pets", side=32)
    (home / "tiny.yaml").write_text(TINY_SPACE)
    (home / "own.yaml").write_text(OWN_SPACE)
    for body in blocks(path, "yaml"):
        if named := re.match(r"# (\w+\.yaml)\n", body):
            (home / named[1]).write_text(body)


def python_of(path: Path) -> str:
    """The Python of a document as one script, on a small space and in this checkout."""
    script = "\n".join(blocks(path, "python", indented=False))
    return script.replace('"quickstart"', '"tiny.yaml"').replace("path/to/checkout", str(ROOT))


def test_the_python_of_every_document_is_run_somewhere() -> None:
    assert {title(path) for path in current() if blocks(path, "python")} == {*PYTHON, *PYTHON_ELSEWHERE}
    for path in current():
        compile("\n".join(blocks(path, "python")), str(path), "exec")


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=title(path)) for path in current() if ours(path) or title(path) in PYTHON],
)
def test_a_document_runs(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for name in wanted_runs(path):
        shutil.copytree(request.getfixturevalue("small_run"), tmp_path / name)
    prepare(tmp_path, path)
    for command in ours(path):
        if not is_run(command):
            continue
        words = [*command.words[1:], *SMALLER.get(str(command), "").split()]
        done = rksearch(*words, cwd=tmp_path, timeout_s=500)
        assert done.returncode == 0, (str(command), done.stdout[-2000:], done.stderr[-2000:])
    if title(path) in PYTHON:
        (tmp_path / "example.py").write_text(python_of(path))
        # Figures are printed, not opened in a browser.
        done = python("example.py", cwd=tmp_path, env={**environment(), "PLOTLY_RENDERER": "json"}, timeout_s=500)
        assert done.returncode == 0, (title(path), done.stdout[-2000:], done.stderr[-2000:])
