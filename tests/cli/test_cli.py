import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.arch import parse
from rksearch.arch.cost import cost, executed_macs
from rksearch.data.facts import dataset
from rksearch.space import load_space
from rksearch.training.memory import footprint
from tests.helpers.command_line import Answer, environment, rksearch, rksearch_json

COMMANDS = ("run", "resume", "status", "report", "space", "describe", "train")
RK = "RKNet-BC-k4-m2_3_2-1x3s_2x1_1x2"


def test_help_names_every_command_and_how_to_start():
    text = rksearch("--help").stdout
    assert all(command in text for command in COMMANDS)
    assert "rksearch run --space quickstart" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = rksearch(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 150


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["describe", "RKNet-BC-k12-m2-1x"], "character 19"),
        (["describe", "ResNet-20", "--dataset", "cifar11"], "did you mean 'cifar10'"),
        (["describe", "RKNet-k2-m1_1_1_1_1-1x1_1x1_1x1_1x1_1x1", "--dataset", "digits"], "cannot halve"),
        (["space", "show", "quickstrt"], "did you mean 'quickstart'"),
        (["space", "sample", "quickstart", "-n", "999999999"], "999999999"),
        (["space", "show", "quickstart", "--device", "cpu"], "--device is for what --time measures; add --time"),
        (["space", "show", "quickstart", "--no-download"], "--no-download is for what --time measures"),
        (["run", "--space", "quickstart", "--recipe", ""], "the recipe must be one of"),
        (
            ["run", "--space", "quickstart", "--dry-run", "--recipe", "paper_imagenet_256"],
            "only streamed images can have",
        ),
        (["data", "show", "npz:/dev/null"], "which is a pipe or a device"),
        (["run", "--space", "missing.yaml"], "missing.yaml"),
        (["run", "--space", "quickstart", "--recipe", "papr"], "did you mean 'paper'"),
        (["run", "--space", "quickstart", "--cpus-per-trial", "0"], "cpus-per-trial"),
        (["run"], "--space"),
        (["resume", "nowhere"], "nowhere"),
        (["status", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["train", "ResNet-9", "--dataset", "digits"], "6n + 2"),
        (["train", "ResNet-8", "--dataset", "cifar10", "--no-download"], "--data-dir"),
        (["train", "ResNet-8", "--dataset", "digits", "--device", "tpu"], "tpu"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, answer, args, says):
    monkeypatch.chdir(tmp_path)
    code, _, errors = answer(*args)
    assert code == 2
    assert says in errors
    assert "Traceback" not in errors
    message = [line for line in errors.splitlines() if line.startswith(("rksearch:", "Error:"))]
    assert len(message) == 1
    if args[0] != "train":
        assert not list(tmp_path.iterdir()), "bad input leaves nothing behind"


@pytest.mark.timing
@pytest.mark.parametrize("args", [["--help"], ["space", "show", "quickstart"], ["space", "show", "cifar10_bc"]])
def test_help_and_spaces_answer_in_under_a_second_of_computing(args):
    """Seconds of the processor, so that a busy machine does not fail the test."""
    rksearch(*args)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    rksearch(*args)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize(
    "imports",
    [
        "import rksearch, rksearch.arch.layout, rksearch.arch.cost, rksearch.space, rksearch.results.fronts, "
        "rksearch.results.ledger",
        "import rksearch.training.memory, rksearch.training.latency, rksearch.results.stats",
        "import rksearch.report, rksearch.cli.main, rksearch.search.agenda, rksearch.search.run_state",
        "import rksearch.space as s; s.describe_space(s.load_space('quickstart'))",
    ],
)
def test_what_must_answer_at_once_imports_no_heavy_package(imports):
    heavy = {"torch", "ray", "optuna", "pandas", "matplotlib"}
    code = f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == "[]"


def test_training_needs_neither_ray_nor_optuna_nor_matplotlib():
    heavy = {"ray", "optuna", "fvcore", "matplotlib", "pandas"}
    code = f"import sys, rksearch.training.trial; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == "[]"


def test_describe_as_json():
    found = rksearch_json("describe", RK, "--dataset", "cifar10", "--json")
    assert found["name"] == RK
    assert (found["family"], found["growth_rate"]) == ("dense_bc", 4)
    assert found["periods"] == [
        {"m": 2, "s": 1, "r": 3, "share": True},
        {"m": 3, "s": 2, "r": 1, "share": False},
        {"m": 2, "s": 1, "r": 2, "share": False},
    ]
    counted = cost(parse(RK), dataset("cifar10"))
    assert {key: found[key] for key in counted._fields} == counted._asdict()
    executed = executed_macs(parse(RK), dataset("cifar10"))
    assert found["executed_macs"] == executed < counted.macs
    assert found["witness"] == {
        "params": counted.params,
        "fvcore_flops": counted.fvcore_flops,
        "agree": True,
        "executed_macs": executed,
    }
    for item in found["memory"]:
        predicted = footprint(
            parse(RK), dataset("cifar10"), item["batch_size"], item["precision"], recompute=item["recompute"]
        )
        assert item["step_peak_bytes"] == predicted.step_peak
        assert item["activation_bytes"] == predicted.activations
    assert [(item["precision"], item["recompute"]) for item in found["memory"]] == [
        ("fp32", False),
        ("fp32", True),
        ("bf16", False),
        ("bf16", True),
    ]


def test_describe_prints_layers_and_both_witnesses():
    text = rksearch("describe", RK).stdout
    assert "weights of period1.step1.layer1.conv1" in text
    assert f"{cost(parse(RK), dataset('cifar10')).macs:,}" in text
    assert "built model:" in text
    assert "fvcore:" in text
    assert "% less, because transitions pool before they convolve; torch: " in text
    assert text.count("MiB  predicted peak of a training step") == 4
    assert "agree" in text


def test_a_network_too_large_to_build_is_described_by_arithmetic_and_not_exported(
    tmp_path: Path, answer: Callable[..., Answer]
):
    name = "RKNet-k1500-m2-2x2"
    code, shown, errors = answer("describe", name, "--dataset", "digits")
    assert (code, errors) == (0, "")
    assert f"{cost(parse(name), dataset('digits')).params:,}" in shown
    [line] = [line for line in shown.splitlines() if line.startswith("witnesses")]
    assert "left out  networks of at most 200,000,000 parameters are built" in line
    assert "built model" not in shown
    assert "fvcore:" not in shown
    code, shown, errors = answer("describe", name, "--dataset", "digits", "--json")
    assert (code, set(json.loads(shown)["witness"].values())) == (0, {None})
    code, _, errors = answer("export", name, "--dataset", "digits", "--to", tmp_path / "out")
    assert (code, errors.count("\n")) == (2, 1)
    assert "may have at most 500,000,000 parameters" in errors
    assert not (tmp_path / "out").exists()


def test_space_sample_is_reproducible_and_within_the_budgets():
    sample = rksearch_json("space", "sample", "quickstart", "-n", "20", "--seed", "7", "--json")
    assert sample == rksearch_json("space", "sample", "quickstart", "-n", "20", "--seed", "7", "--json")
    assert sample != rksearch_json("space", "sample", "quickstart", "-n", "20", "--seed", "8", "--json")
    space = load_space("quickstart")
    names = [item["name"] for item in sample]
    assert len(set(names)) == 20
    for item in sample:
        assert parse(item["name"]) in space
        assert item["params"] == cost(parse(item["name"]), dataset("digits")).params


def test_space_show_and_list_as_json():
    shown = rksearch_json("space", "show", "quickstart", "--json")
    space = load_space("quickstart")
    assert shown["feasible"] == len(space)
    assert shown["smallest"]["params"] == space.smallest.params
    assert set(shown["rejected"]) >= {"too_many_params", "too_many_macs"}
    names = [item["name"] for item in rksearch_json("space", "list", "--json")]
    assert {"quickstart", "cifar10_bc", "cifar10_small"} <= set(names)


@pytest.mark.slow
def test_train_prints_its_curve_and_goes_on_where_it_stopped(tmp_path):
    args = ["train", "ResNet-8", "--dataset", "digits", "--recipe", "short", "--train-images", "60", "--epochs", "2"]
    first = rksearch(*args, "--test", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("validation error") == 3
    assert "test error" in first.stdout
    began = time.monotonic()
    second = rksearch(*args, cwd=tmp_path)
    assert second.returncode == 0, f"{second.stderr} after {time.monotonic() - began:.0f} s"
    assert second.stdout.count("epoch ") == 0, "a finished trial is not trained again"
    assert "  validation, by class: 0 " in first.stdout
    assert "  test, by class: 0 " in first.stdout
    assert second.stdout.splitlines()[-3:-1] == first.stdout.splitlines()[-5:-3]
    assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


HUGE = ("99999999999", "9" * 5_000)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "words",
    [
        "cost --candidates",
        "cost --sample",
        "search --handed-out",
        "search --repetitions",
        "search --trainings",
        "search --slots",
        "search --jobs",
        "data --batch-size",
        "data --workers",
        "data --seconds",
        "latency ResNet-8 --batch-size",
        "recipes --epochs",
        "recipes --train-images",
        "recipes --jobs",
        "run --epochs",
        "run --train-images",
        "run --slots",
        "run --rounds",
        "train --batch-size",
        "train --rounds",
        "train --steps",
        "train --workers",
        "train --concurrent",
        "train --together",
        "optimisations --rounds",
    ],
)
def test_no_number_of_a_benchmark_is_without_bounds(words: str, value: str, answer: Callable[..., Answer]) -> None:
    code, _, errors = answer("bench", *words.split(), value)
    [line] = errors.splitlines()
    assert code == 2
    assert words.split()[-1] in line
