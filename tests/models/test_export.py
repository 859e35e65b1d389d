import errno
import json
import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import rksearch
from rksearch.arch import parse
from rksearch.cli.main import cli
from rksearch.data.facts import dataset
from rksearch.errors import ExportError, RksearchError
from rksearch.models import build
from rksearch.models import export as exporting
from rksearch.models.witness import count_params
from rksearch.recipes.shipped import recipe
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialSpec
from rksearch.results.run_dir import RunDir
from rksearch.training.execution import Execution
from rksearch.training.trial import finished_weights, run_trial

DIGITS = dataset("digits")
NAMES = (
    "RKNet-BC-k2-m2_1-1x3s_2x2s@gauss2+tie+hlearn",
    "RKNet-Res-4x2s@rk4+train_2x1",
    "RKCNN-I-k4-2x1_2x1-up2-att-ms",
    "CliqueNet-k2-T6",
    "PreActResNet-B-11",
)


def network(name):
    torch.manual_seed(3)
    return build(parse(name), DIGITS).eval()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_loaded_is_what_was_exported(name, tmp_path):
    model = network(name)
    with torch.no_grad():
        model.train()(torch.randn(8, 1, 8, 8))  # moves the running statistics
    exporting.export(model, parse(name), DIGITS, tmp_path, origin="a test")
    loaded = rksearch.load(tmp_path)
    x = torch.randn(3, 1, 8, 8)
    assert not loaded.training
    assert torch.equal(loaded(x), model.eval()(x))
    stored = load_file(tmp_path / exporting.WEIGHTS)
    numbers = sum(stored[key].numel() for key, _ in model.named_parameters())
    assert numbers == count_params(model), "shared weights are stored once"
    assert name in (tmp_path / exporting.CARD).read_text()


def test_a_network_with_another_classifier_is_exported_for_its_own_classes_alone(tmp_path):
    """As weights of another shape than the architecture's, they could never be loaded."""
    model = network("PreActResNet-B-11")
    model.reset_classifier(3)
    rule = r"for 10 classes have head\.linear\.weight \(10, 256\), but the network has it \(3, 256\); change"
    with pytest.raises(ExportError, match=rule):
        exporting.export(model, model.spec, DIGITS, tmp_path / "net", origin="a test")
    assert not (tmp_path / "net").exists()
    own = replace(DIGITS, name="mine", classes=3, class_names=())
    exporting.export(model, model.spec, own, tmp_path / "net", origin="a test")
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(rksearch.load(tmp_path / "net")(x), model(x))


def test_an_export_that_finds_no_room_leaves_the_earlier_one(tmp_path, monkeypatch):
    forced = []

    def full(handle):
        forced.append(handle)
        if len(forced) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    exporting.export(network(NAMES[0]), parse(NAMES[0]), DIGITS, tmp_path, origin="a test")
    programs = [tmp_path / name for name in (exporting.PROGRAM, exporting.ONNX)]
    for program in programs:
        program.write_bytes(b"a program")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ExportError, match="No space left on device"):
            exporting.export(network(NAMES[1]), parse(NAMES[1]), DIGITS, tmp_path, origin="a test")
    assert str(rksearch.load(tmp_path).spec) == NAMES[0]
    assert all(program.read_bytes() == b"a program" for program in programs)
    exporting.export(network(NAMES[1]), parse(NAMES[1]), DIGITS, tmp_path, origin="a test")
    assert str(rksearch.load(tmp_path).spec) == NAMES[1]
    assert not any(program.exists() for program in programs)


@pytest.mark.slow
def test_a_torch_program_agrees(tmp_path):
    assert exporting.export_program(network(NAMES[0]), DIGITS, tmp_path / "model.pt2") <= 1e-4


@pytest.mark.slow
def test_onnx_agrees(tmp_path):
    pytest.importorskip("onnxruntime")
    assert exporting.export_onnx(network(NAMES[2]), DIGITS, tmp_path / "model.onnx") <= 1e-4


def test_a_program_that_disagrees_is_refused(tmp_path):
    with pytest.raises(ExportError, match="differ by"):
        exporting._agreement(tmp_path, torch.zeros(2), torch.tensor([0.0, 0.01]))
    with pytest.raises(ExportError, match="differ by nan"):
        exporting._agreement(tmp_path, torch.tensor([float("nan")]), torch.zeros(1))


def test_damaged_exports_are_refused_in_one_line(tmp_path):
    with pytest.raises(ExportError, match=r"spec\.json"):
        rksearch.load(tmp_path)
    name = "RKNet-k2-m1-1x1"
    exporting.export(network(name), parse(name), DIGITS, tmp_path, origin="a test")
    weights = tmp_path / exporting.WEIGHTS
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ExportError, match="checksum"):
        rksearch.load(tmp_path)
    weights.write_bytes(good)
    record = json.loads((tmp_path / exporting.SPEC).read_text())
    (tmp_path / exporting.SPEC).write_text(json.dumps({**record, "name": "RKNet-k1-m1-1x1"}))
    with pytest.raises(ExportError, match="names or shapes differ"):
        rksearch.load(tmp_path)
    damaged: list[dict[str, Any]] = [
        {"name": 1},
        {"name": []},
        {"data": []},
        {"data": {"name": "digits"}},
        {"name": "ResNet-"},
    ]
    for wrong in damaged:
        (tmp_path / exporting.SPEC).write_text(json.dumps({**record, **wrong}))
        with pytest.raises(RksearchError) as error:
            rksearch.load(tmp_path)
        assert "\n" not in str(error.value)
    (tmp_path / exporting.SPEC).write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(ExportError, match="of format 1"):
        rksearch.load(tmp_path)


@pytest.mark.parametrize("name", ["RKNet-k1-m10000-1x1", "ResNet-20000"])
def test_a_network_is_counted_before_it_is_built(tmp_path, monkeypatch, name):
    """A damaged name may stand for one of many gigabytes."""
    exporting.export(network("ResNet-8"), parse("ResNet-8"), DIGITS, tmp_path, origin="a test")
    record = json.loads((tmp_path / exporting.SPEC).read_text())
    (tmp_path / exporting.SPEC).write_text(json.dumps({**record, "name": name}))

    def build(*args):
        raise AssertionError("it was built")

    monkeypatch.setattr(exporting, "build", build)
    with pytest.raises(ExportError, match=f"parameters of {name}, but it holds"):
        rksearch.load(tmp_path)


def test_a_spec_that_is_no_ordinary_file_is_not_read(tmp_path):
    (tmp_path / exporting.SPEC).symlink_to("/dev/zero")
    with pytest.raises(ExportError, match="must be an ordinary file, but is a device"):
        rksearch.load(tmp_path)
    (tmp_path / exporting.SPEC).unlink()
    (tmp_path / exporting.SPEC).write_text(" " * 2_000_000)
    with pytest.raises(ExportError, match=r"has 2,000,000 bytes, and at most 1,000,000 are read"):
        rksearch.load(tmp_path)


def test_the_command_exports_fresh_weights(tmp_path):
    arguments = [
        "export",
        "RKNet-k2-m1_1-2x1_1x2s",
        "--dataset",
        "digits",
        "--to",
        str(tmp_path / "out"),
        "--seed",
        "3",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(rksearch.load(tmp_path / "out")(x), network("RKNet-k2-m1_1-2x1_1x2s")(x))


def test_tensors_in_other_formats_are_not_read(tmp_path):
    name = "RKNet-k2-m1-1x1"
    exporting.export(network(name), parse(name), DIGITS, tmp_path, origin="a test")
    torch.save({}, tmp_path / exporting.WEIGHTS)
    with pytest.raises(ExportError):
        rksearch.load(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / exporting.WEIGHTS)
    with pytest.raises(ExportError):
        rksearch.load(tmp_path)


def test_the_command_exports_a_finished_trial_with_its_weights(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    spec = TrialSpec(arch="RKNet-Res-1x2s", dataset="digits", recipe=recipe("short", epochs=1), train_images=40)
    execution = Execution(work_dir=str(RunDir(run).work), data_dir=str(tmp_path), device="cpu", precision="fp32")
    result = run_trial(spec, execution)
    Ledger(run).write_trial(spec, result, wall_time_s=1.0)
    done = CliRunner().invoke(cli, ["export", f"{run}:{spec.id}", "--to", str(out)])
    assert done.exit_code == 0, (done.output, done.exception)
    trained = finished_weights(spec, RunDir(run).work)
    loaded = rksearch.load(out).state_dict()
    assert all(torch.equal(loaded[key], trained[key]) for key in trained)
    assert spec.id in (out / exporting.CARD).read_text()
    lost = CliRunner().invoke(cli, ["export", f"{run}:{spec.id}x", "--to", str(out)])
    assert f"did you mean '{spec.id}'" in str(lost.exception)
