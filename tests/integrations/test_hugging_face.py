"""Networks as repositories of the Hugging Face Hub, in local directories."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rksearch.arch import parse
from rksearch.data.facts import dataset
from rksearch.errors import ExportError, RunError, SpecError
from rksearch.models import build
from rksearch.models.card import TrainingFacts
from rksearch.models.export import export
from tests.helpers.command_line import python

huggingface_hub = pytest.importorskip("huggingface_hub")

from rksearch.integrations.hugging_face import HubNetwork  # noqa: E402  # it needs huggingface_hub

DIGITS = dataset("digits")
CIFAR_IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAMES = ("RKNet-BC-k4-m2_3-1x2s_2x3s", "RKCNN-I-k4-2x1_2x1-up2-att-ms", "ResNet-8")


def images() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_loaded_is_what_was_saved(tmp_path, name):
    """Shared weights too, which safetensors stores once."""
    torch.manual_seed(0)
    net = HubNetwork(name, DIGITS.facts())
    net(torch.randn(8, 1, 8, 8))  # moves the running statistics
    net.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    loaded = HubNetwork.from_pretrained(tmp_path / "saved")
    assert not loaded.training
    assert torch.equal(loaded(images()), net.eval()(images()))
    loaded.save_pretrained(tmp_path / "again")
    for file in ("README.md", "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "saved" / file).read_bytes()
    first, again = (load_file(tmp_path / place / "model.safetensors") for place in ("saved", "again"))
    assert sum(value.numel() for value in first.values()) == sum(
        value.numel() for value in {*net.parameters(), *net.buffers()}
    ), "each tensor is stored once"
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_a_repository_without_all_weights_is_refused(tmp_path):
    HubNetwork("ResNet-8", DIGITS.facts()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "name": "ResNet-14"}))
    with pytest.raises(RuntimeError, match="Missing key"):
        HubNetwork.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "name": "ResNet-9"}))
    with pytest.raises(SpecError, match="6n"):
        HubNetwork.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "data": {"name": "digits"}}))
    with pytest.raises(ExportError, match="must hold the facts of a data set"):
        HubNetwork.from_pretrained(tmp_path)


def test_an_export_becomes_a_repository_whose_card_the_hub_reads(tmp_path):
    spec = parse(NAMES[0])
    torch.manual_seed(0)
    model = build(spec, DIGITS).eval()
    export(model, spec, DIGITS, tmp_path / "export", origin="a test")
    net = HubNetwork.of(tmp_path / "export")
    assert torch.equal(net(images()), model(images()))
    net.save_pretrained(tmp_path / "saved")
    card = huggingface_hub.ModelCard.load(tmp_path / "saved" / "README.md")
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "apache-2.0",
        "rksearch",
        "image-classification",
    )
    assert {"pytorch_model_hub_mixin", "model_hub_mixin", "runge-kutta", "dense-bc"} <= set(card.data.tags)
    assert card.data.metrics is None, "nothing was trained"
    assert f"# {NAMES[0]}" in card.text
    assert "Weights: a test." in card.text
    assert "HubNetwork.from_pretrained" in card.text
    front = (tmp_path / "export" / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(front)["library_name"] == "rksearch", "an export is a repository too"
    with pytest.raises(RunError, match=r"is neither; give the one that was used"):
        HubNetwork.of(f"{tmp_path}:ResNet-8@0")


@pytest.fixture
def trained(tmp_path) -> HubNetwork:
    """A network of CIFAR-10 with an error, saved and loaded in `old`."""
    spec, cifar = parse("ResNet-8"), dataset("cifar10")
    facts = TrainingFacts(
        trial="ResNet-8@0",
        replicate=0,
        seed=0,
        epochs=1,
        recipe={"epochs": 1},
        train_images=45_000,
        val_images=5_000,
        split="0" * 16,
        errors_pct={"val_error_pct": 12.25},
        device="cpu",
        precision="float32",
    )
    export(build(spec, cifar), spec, cifar, tmp_path / "export", origin="a test", training=facts)
    HubNetwork.of(tmp_path / "export").save_pretrained(tmp_path / "old")
    return HubNetwork.from_pretrained(tmp_path / "old")


def texts(directory: Path) -> str:
    return "".join((directory / name).read_text() for name in ("config.json", "README.md"))


@pytest.mark.parametrize("classes", [5, 10])
def test_a_network_with_another_classifier_is_saved_as_what_it_is(tmp_path, trained, classes):
    """With as many classes as before, too: the old errors are not its own."""
    old = texts(tmp_path / "old")
    assert all(claim in old for claim in ("12.25", "airplane", "cifar10", "ResNet-8@0"))
    trained.reset_classifier(3)
    trained.reset_classifier(classes)
    for place in ("new", "old"):
        trained.save_pretrained(tmp_path / place)
        new = texts(tmp_path / place)
        assert not any(claim in new for claim in ("12.25", "airplane", "cifar10", "ResNet-8@0", "a test"))
        assert f"logits (N, {classes})" in new
        loaded = HubNetwork.from_pretrained(tmp_path / place)
        assert (loaded.num_classes, loaded.description["training"]) == (classes, None)
        assert torch.equal(loaded(CIFAR_IMAGES), trained.eval()(CIFAR_IMAGES))
        params = sum(parameter.numel() for parameter in loaded.parameters())
        assert loaded.description["params"] == params
        assert f"Parameters: {params:,} " in new
        loaded.save_pretrained(tmp_path / "again")
        assert texts(tmp_path / "again") == new


def test_a_card_that_was_changed_by_hand_stays(tmp_path, trained):
    card = tmp_path / "old" / "README.md"
    mine = card.read_text().replace("## Use", "My own words.\n\n## Use")
    card.write_text(mine)
    trained.reset_classifier(5)
    trained.save_pretrained(tmp_path / "old")
    assert card.read_text() == mine


@pytest.mark.parametrize("classes", [0, 1])
def test_a_network_that_could_not_be_loaded_again_is_not_saved(tmp_path, trained, classes):
    before = texts(tmp_path / "old")
    trained.reset_classifier(classes)
    for save in (
        lambda: trained.save_pretrained(tmp_path / "old"),
        lambda: trained.push_to_hub("nobody/nothing"),
        trained.generate_model_card,
    ):
        with pytest.raises(ExportError, match=f"at least two classes to be saved, but this one has {classes}; "):
            save()
    trained.reset_classifier(4)
    trained.get_submodule("head").add_module("linear", torch.nn.Linear(64, 6))
    with pytest.raises(ExportError, match=r"for 4 classes have head\.linear\.weight \(4, 64\).* has it \(6, 64\); "):
        trained.save_pretrained(tmp_path / "old")
    assert texts(tmp_path / "old") == before


def test_without_the_library_the_reason_is_one_line(tmp_path):
    code = "import sys; sys.modules['huggingface_hub'] = None\nimport rksearch.integrations.hugging_face"
    last = python("-c", code, cwd=tmp_path).stderr.strip().splitlines()[-1]
    assert "needs huggingface_hub, which is not installed; pip install 'rksearch[hub]'" in last
