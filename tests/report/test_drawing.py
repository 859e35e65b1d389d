import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner

from rksearch.arch import parse
from rksearch.arch.families import FAMILIES
from rksearch.cli.main import cli
from rksearch.data.facts import dataset
from rksearch.report.drawing import MOST_SHOWN, draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name, data="cifar10"):
    root = ElementTree.fromstring(draw(parse(name), dataset(data), data))
    texts = [t.text for t in root.iter(f"{SVG}text")]
    rects = [r.get("class", "") for r in root.iter(f"{SVG}rect")]
    return texts, rects


@pytest.mark.parametrize("name", [f.sample for f in FAMILIES])
def test_every_family_can_be_drawn(name):
    texts, rects = drawn(name, "imagenet" if name == "DenseNet-121" else "cifar10")
    assert any(text.startswith(name) for text in texts)
    assert {"stem", "head"} <= set(texts)
    assert rects.count("part") >= 5


def test_time_steps_stages_channels_and_sharing_are_shown():
    texts, rects = drawn("RKNet-BC-k12-m2_9-3x2s_1x4")
    assert "24 channels, 32 x 32" in texts
    assert "108 channels, 16 x 16" in texts
    assert rects.count("unit shared") == 1
    assert rects.count("stage") == 3 * 2 + 1 * 4
    assert [t for t in texts if t.startswith("step")] == [f"step {n}" for n in (1, 2, 1, 2, 3, 4)]


def test_long_periods_are_shortened():
    texts, rects = drawn("RKNet-Res-1x20")
    assert "... 20 in all" in texts
    assert "step 20" in texts
    assert rects.count("stage") == MOST_SHOWN - 1


def test_tableaux_are_printed_exactly():
    texts, _ = drawn("RKNet-Res-4x1@rk4+train_2x2s@gauss2+tie+h0.5")
    assert "1/2 | 0  1/2  0  0" in texts
    assert "b | 1/6  1/3  1/3  1/6" in texts
    assert "1/2 - √3/6 | 1/4  1/4 - √3/6" in texts
    assert {"rk4, order 4, explicit", "gauss2, order 4, implicit, 2 sweeps", "h = 0.5"} <= set(texts)
    assert {"a and b learn from there", "stages share convolutions", "dashed steps share convolutions"} <= set(texts)


def test_describe_writes_the_picture(tmp_path):
    path = tmp_path / "net.svg"
    done = CliRunner().invoke(cli, ["describe", "RKNet-Res-2x1@heun2", "--dataset", "digits", "--draw", str(path)])
    assert done.exit_code == 0, done.output
    assert path.read_text(encoding="utf-8") == draw(parse("RKNet-Res-2x1@heun2"), dataset("digits"), "digits")
    assert "heun2, order 2" in done.output
    lost = CliRunner().invoke(cli, ["describe", "ResNet-8", "--draw", str(tmp_path / "no" / "net.svg")])
    assert "the drawing must be written to" in str(lost.exception)
