"""From training to use: what `rksearch train` and a run leave is loaded and exported with the facts of its training."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result

import rksearch
from rksearch.api import Run, Trained
from rksearch.api.trained import front_trials, trained_network
from rksearch.cli.main import cli
from rksearch.errors import ExportError, RksearchError, RunError, TrialFailed
from rksearch.models.export import CARD, SPEC, WEIGHTS
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipe
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialSpec
from rksearch.results.run_dir import RunDir
from rksearch.results.training_record import TRAINING_FILE, read_training
from rksearch.training.execution import Execution
from rksearch.training.trial import finished_weights, run_trial
from tests.helpers.ledgers import environment_record

ARCH = "RKNet-Res-1x2s"
SHORT = recipe("short", epochs=1)


def train(
    out: Path, arch: str = ARCH, chosen: Recipe = SHORT, *, read_test: bool = False, replicate: int = 0
) -> Trained:
    execution = Execution(work_dir=str(out), data_dir=str(out), device="cpu", precision="fp32", compile="off")
    return rksearch.train(
        arch, execution, dataset="digits", recipe=chosen, train_images=40, read_test=read_test, replicate=replicate
    )


def called(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def refused(*words: object) -> str:
    """The one line with which a command refuses."""
    done = called(*words)
    assert isinstance(done.exception, RksearchError), (done.output, done.exception)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A work directory, and the training of one network in it, tested."""
    out = tmp_path_factory.mktemp("out") / "work"
    return out, train(out, read_test=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two networks, the first with two seeds, and a baseline."""
    directory = tmp_path_factory.mktemp("run")
    ledger = Ledger(directory)
    ledger.write_session(environment=environment_record(), options={})
    execution = Execution(work_dir=str(RunDir(directory).work), data_dir=str(directory), device="cpu", precision="fp32")
    first = TrialSpec(arch=ARCH, dataset="digits", recipe=SHORT, train_images=40)
    baseline = replace(first, arch="RKNet-Res-1x1", role="baseline")
    second = replace(first, arch="RKNet-Res-1x2")
    for spec in (baseline, replace(first, replicate=1), first, second):
        ledger.write_trial(spec, run_trial(spec, execution), wall_time_s=1.0)
    return directory


def test_a_training_is_loaded_by_its_id_and_by_its_directory(work: tuple[Path, Trained]) -> None:
    out, trained = work
    assert trained.directory.parent == out
    assert trained.directory.name.startswith(f"{ARCH}@0-")
    expected = finished_weights(trained.spec, trained.directory)
    for name in (trained.spec.id, trained.directory.name):
        net = rksearch.load(f"{out}:{name}")
        assert not net.training
        assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())


def test_an_export_of_a_training_carries_its_facts(work: tuple[Path, Trained], tmp_path: Path) -> None:
    out, trained = work
    done = called("export", f"{out}:{ARCH}@0", "--to", tmp_path / "to")
    assert done.exit_code == 0, (done.output, done.exception)
    record = json.loads((tmp_path / "to" / SPEC).read_text())
    facts = record["training"]
    last, test = trained.result.epochs[-1], trained.test
    assert test is not None
    assert facts["errors_pct"]["val_error_pct"] == last.val_error_pct
    assert facts["errors_pct"]["test_error_pct"] == test.test_error_pct
    assert facts["errors_pct"]["balanced_test_error_pct"] == test.balanced_test_error_pct
    assert facts["recipe"] == json.loads(json.dumps(asdict(SHORT)))
    assert (facts["trial"], facts["run"]) == (f"{ARCH}@0", None)
    assert (facts["replicate"], facts["seed"], facts["epochs"]) == (0, trained.spec.seed, 1)
    assert facts["split"] == trained.result.split != ""
    assert (facts["train_images"], facts["val_images"]) == (trained.result.images.train, trained.result.images.val)
    record_of_training = read_training(trained.directory)
    assert record_of_training is not None
    commit = record_of_training.environment.commit
    assert [text.removesuffix("+") for text in facts["commits"]] == ([commit] if commit else [])

    card = (tmp_path / "to" / CARD).read_text()
    _, front, body = card.split("---\n", 2)
    values = yaml.safe_load(front)
    assert (values["license"], values["library_name"], values["datasets"]) == ("apache-2.0", "rksearch", ["digits"])
    accuracies = {item["dataset"]["split"]: item["metrics"][0]["value"] for item in values["model-index"][0]["results"]}
    assert accuracies == {
        "validation": pytest.approx(1 - last.val_error_pct / 100, abs=1e-6),
        "test": pytest.approx(1 - test.test_error_pct / 100, abs=1e-6),
    }
    for text in (
        f"| Validation error | {last.val_error_pct:.2f} % |",
        f"| Test error | {test.test_error_pct:.2f} % |",
        f"split `{trained.result.split}`",
        f"{trained.spec.seed} for torch",
        "| `lr` |",
        "Data set: digits (",
    ):
        assert text in body, text
    expected, loaded = rksearch.load(f"{out}:{ARCH}@0").state_dict(), rksearch.load(tmp_path / "to").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in expected.items())


def test_other_settings_have_directories_of_their_own(tmp_path: Path) -> None:
    first = train(tmp_path)
    before = files(first.directory)
    others: Sequence[Trained] = [
        train(tmp_path, chosen=replace(SHORT, epochs=2)),
        train(tmp_path, chosen=replace(SHORT, lr=0.01)),
        train(tmp_path, replicate=1),
    ]
    assert len({trained.directory for trained in (first, *others)}) == 4
    assert files(first.directory) == before
    assert len(others[0].result.epochs) == 2
    assert "holds 3 trainings RKNet-Res-1x2s@0, of other settings each" in refused(
        "export", f"{tmp_path}:{ARCH}@0", "--to", tmp_path / "to"
    )
    net = rksearch.load(f"{tmp_path}:{others[1].directory.name}")
    expected = finished_weights(others[1].spec, others[1].directory)
    assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())
    again = train(tmp_path)
    assert (again.directory, again.result.split) == (first.directory, first.result.split)
    assert files(first.directory) == before, "a finished training is neither trained nor recorded again"


def test_a_command_that_fails_leaves_finished_trainings_alone(tmp_path: Path) -> None:
    trained = train(tmp_path)
    before = files(trained.directory)
    with pytest.raises(TrialFailed):
        train(tmp_path, chosen=replace(SHORT, lr=1e30, warmup=0.0, batch_size=8))
    with pytest.raises(RksearchError):
        rksearch.train(
            ARCH, Execution(work_dir=str(tmp_path), data_dir="", device="cpu"), dataset="digits", train_images=10**6
        )
    assert files(trained.directory) == before
    assert rksearch.load(f"{tmp_path}:{ARCH}@0").spec == rksearch.parse(ARCH), "what failed is no finished training"


def test_a_later_call_keeps_the_reading_of_the_test_set(tmp_path: Path) -> None:
    tested = train(tmp_path, read_test=True)
    assert train(tmp_path).test is None
    record = read_training(tested.directory)
    assert record is not None
    assert record.test == tested.test


def test_a_damaged_record_is_one_line_and_is_written_again(tmp_path: Path) -> None:
    trained = train(tmp_path)
    path = trained.directory / TRAINING_FILE
    good = path.read_bytes()
    for bad in (
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        good.replace(b'"digits"', b"7"),
        good.replace(b'"epochs": 1', b'"epochs": []'),
    ):
        path.write_bytes(bad)
        with pytest.raises(RunError, match=r"must hold the record of a training, but it is damaged") as error:
            rksearch.load(f"{tmp_path}:{ARCH}@0")
        assert "\n" not in str(error.value)
    train(tmp_path)
    assert rksearch.load(f"{tmp_path}:{ARCH}@0")


def test_a_training_that_a_deadline_has_paused_is_no_finished_one(tmp_path: Path) -> None:
    there = Execution(work_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu", precision="fp32", compile="off")
    late = replace(there, deadline_s=time.time() - 1)

    def call(execution: Execution) -> Trained:
        return rksearch.train(ARCH, execution, dataset="digits", recipe=SHORT, train_images=40, read_test=True)

    paused = call(late)
    assert (paused.result.status, paused.result.epochs, paused.test) == ("paused", (), None)
    assert paused.frame.empty
    assert not (paused.directory / TRAINING_FILE).exists()
    whole = call(there)
    assert (whole.result.status, len(whole.result.epochs), whole.directory) == ("complete", 1, paused.directory)
    assert whole.test is not None
    assert call(late).result == whole.result, "it is finished"


def test_the_record_of_a_paused_training_is_refused_in_one_line(tmp_path: Path) -> None:
    """Versions that took a paused training for a finished one have written such records."""
    out = tmp_path / "out"
    trained = train(out)
    record = read_training(trained.directory)
    assert record is not None
    replace(record, result=replace(record.result, status="paused", epochs=())).write(trained.directory)
    words = f"{ARCH}@0 in {trained.directory} is paused; give the command that trained it again"
    assert words in refused("export", f"{out}:{ARCH}@0", "--to", tmp_path / "to")
    with pytest.raises(RunError, match="a complete training must be named"):
        rksearch.load(f"{out}:{ARCH}@0")
    train(out)
    assert rksearch.load(f"{out}:{ARCH}@0") is not None


def test_what_is_not_there_is_one_line(work: tuple[Path, Trained], tmp_path: Path) -> None:
    out, _ = work
    assert f"must be named, but got '{ARCH}@1'" in refused("export", f"{out}:{ARCH}@1", "--to", tmp_path / "to")
    assert "is neither" in refused("export", f"{tmp_path / 'nothing'}:{ARCH}@0", "--to", tmp_path / "to")
    assert "is neither" in refused("export", f"{tmp_path}:{ARCH}@0", "--to", tmp_path / "to")
    assert "named RUN:TRIAL, but got ':x'" in refused("export", ":x", "--to", tmp_path / "to")
    with pytest.raises(ExportError, match=r"an export holds spec\.json"):
        rksearch.load(tmp_path / "nothing")
    Ledger(tmp_path / "run").write_session(environment=environment_record(), options={})
    assert "is a run; name one of its trials" in refused("export", tmp_path / "run", "--to", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_options_for_fresh_weights_do_not_go_with_trained_ones(
    work: tuple[Path, Trained], run: Path, tmp_path: Path
) -> None:
    out, _ = work
    for what in ([f"{out}:{ARCH}@0"], [run, "--front"]):
        for option in (["--seed", "0"], ["--dataset", "cifar10"]):
            assert f"{option[0]} is for an architecture with fresh weights" in refused(
                "export", *what, "--to", tmp_path / "to", *option
            )


def test_a_trial_of_a_run_is_loaded_with_its_facts(run: Path) -> None:
    found = trained_network(f"{run}:{ARCH}@1")
    expected = Run(run).weights(f"{ARCH}@1")
    assert all(torch.equal(value, expected[key]) for key, value in found.network.state_dict().items())
    assert all(torch.equal(v, expected[k]) for k, v in rksearch.load(f"{run}:{ARCH}@1").state_dict().items())
    results = {key: result.epochs[-1].val_error_pct for key, (_, result) in Run(run).trials.items()}
    assert found.facts.errors_pct["val_error_pct"] == results[f"{ARCH}@1"]
    assert found.facts.seeds == 2
    assert found.facts.mean_val_error_pct == pytest.approx((results[f"{ARCH}@0"] + results[f"{ARCH}@1"]) / 2)
    assert found.facts.commits == ("0123456789abcdef0123456789abcdef01234567",)
    assert found.facts.run is not None


def test_the_front_is_exported_whole(run: Path, tmp_path: Path) -> None:
    trials = front_trials(Run(run))
    assert trials
    assert all(trial.endswith("@0") for trial in trials), "the first seed, not the best one"
    done = called("export", run, "--front", "--to", tmp_path)
    assert done.exit_code == 0, (done.output, done.exception)
    names = [trial.removesuffix("@0") for trial in trials]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert "RKNet-Res-1x1" not in names, "a baseline stands on no front"
    for name, trial in zip(names, trials, strict=True):
        assert f"{name}: {WEIGHTS}, {SPEC} and {CARD} are in {tmp_path / name}" in done.output
        assert json.loads((tmp_path / name / SPEC).read_text())["training"]["trial"] == trial
        expected = Run(run).weights(trial)
        assert all(torch.equal(v, expected[k]) for k, v in rksearch.load(tmp_path / name).state_dict().items())


def test_a_run_without_a_front_is_one_line(tmp_path: Path) -> None:
    Ledger(tmp_path / "run").write_session(environment=environment_record(), options={})
    assert "a front needs a complete training" in refused(
        "export", tmp_path / "run", "--front", "--to", tmp_path / "to"
    )
    assert "a run directory holds" in refused("export", tmp_path, "--front", "--to", tmp_path / "to")
