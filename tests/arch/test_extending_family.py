"""The family of docs/extending.md, added from outside of the package: by a program, and by an installed plugin."""

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.command_line import python, rksearch
from tests.helpers.extending import beside, example, installed

MOST_LINES = 49
LIMIT_S = 600

SPACE = """\
dataset: digits
families: [smooth]
periods:
  - {s: [1, 2], r: [1, 2], share: [false, true], method: [learned, heun2, rk4+tie]}
  - {s: [1], r: [1, 2]}
budgets: {params: {at_most: 0.05M}}
recipe: {name: short, epochs: 1, batch_size: 32}
train_images: 200
trials: 2
baselines: [SmoothRK-1x1_1x1_1x1]
"""

PROGRAM = """\

import cloudpickle
import torch

import smooth_rk
import rksearch
from rksearch.arch import FAMILIES, canonical
from rksearch.arch.cost import cost, depth_of
from rksearch.arch.image import image_shape
from rksearch.arch.layout import layout
from rksearch.data.facts import dataset
from rksearch.models import build
from rksearch.models.witness import witness
from rksearch.results.contrasts import factors_of
from rksearch.space import parse_space
from rksearch.training.memory import footprint
from rksearch.errors import RunError
from rksearch.training.latency import measure_latency
from tests.helpers.measured import measure_step

smooth_rk.register()
smooth_rk.register()  # the same family twice is one
digits = dataset("digits")

# names and canonical forms
spec = rksearch.parse("SmoothRK-2x2s_4x1@rk4+train")
assert (str(spec), spec.family) == ("SmoothRK-2x2s_4x1@rk4+train", "smooth")
assert str(canonical(rksearch.parse("SmoothRK-1x1@euler"))) == "SmoothRK-1x1"
assert "SmoothRK-1x2_4x1@rk4" in rksearch.list_models("Smooth*")
assert factors_of(spec)["family", 0] == "smooth"

# what a worker process is sent
assert cloudpickle.loads(cloudpickle.dumps(FAMILIES.added())) == FAMILIES.added()
assert cloudpickle.loads(cloudpickle.dumps(spec)) == spec

# counts of the built network, and its memory
torch.manual_seed(0)
model = build(spec, digits)
assert witness(model, digits, cost(spec, digits)).agree
predicted, measured = footprint(spec, digits, 32, "fp32"), measure_step(model, digits, 32, "fp32")
assert abs(predicted.activations / measured.kept - 1) < 0.01, (predicted, measured)
assert abs(predicted.step_peak / measured.peak - 1) < 0.15, (predicted, measured)

# a space prices every member as its rows do
space = parse_space(open("smooth_space.yaml").read(), name="smooth_space")
members = list(space)
assert len(set(members)) == len(members) > 20
for member in members:
    counted = cost(member, digits)
    assert member in space
    assert counted.params <= 50_000
for priced in space.by_name():
    net = layout(rksearch.parse(priced.name), digits)
    counted = cost(net.spec, digits)
    assert (priced.params, priced.macs, priced.depth) == (counted.params, counted.macs, depth_of(net.rows))

# the process that measures latency cannot know it
try:
    measure_latency(str(spec), "digits", device="cpu")
except RunError as error:
    assert "the family 'smooth' came from a program; install a plugin" in str(error), error
else:
    raise AssertionError("a family of this program was measured in another process")
print("all hold")
"""

RUN = """\

if __name__ == "__main__":
    from rksearch.api import plan_run, start_run
    from rksearch.search.planning import Asked
    from rksearch.search.resources import Resources

    register()
    plan = plan_run("smooth_space.yaml", out="found", asked=Asked(trials=1))
    run = start_run(plan, Resources(device="cpu"))
    assert run.history.state == "finished", run.history.message
    assert not run.history.failed, run.history.failed
"""


def outside(tmp_path: Path, *, plugin: bool) -> dict[str, str]:
    """Write the example outside of the package; the environment of a process that finds it."""
    code = example("A family")
    assert len(code.splitlines()) <= MOST_LINES
    (tmp_path / "program.py").write_text(code + RUN, encoding="utf-8")
    (tmp_path / "smooth_space.yaml").write_text(SPACE, encoding="utf-8")
    if plugin:
        return installed(tmp_path, "smooth", "smooth_rk", code)
    (tmp_path / "smooth_rk.py").write_text(code, encoding="utf-8")
    return beside(tmp_path)


def rksearch_command(directory: Path, environment: dict[str, str], *words: str) -> str:
    done = rksearch(*words, cwd=directory, env=environment, timeout_s=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_program_registers_a_family(tmp_path):
    environment = outside(tmp_path, plugin=False)
    done = python("-c", PROGRAM, cwd=tmp_path, env=environment, timeout_s=LIMIT_S)
    assert done.stdout == "all hold\n", done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.ci
def test_a_plugin_brings_a_family_to_every_command(tmp_path):
    environment = outside(tmp_path, plugin=True)

    def run(*words: str) -> str:
        return rksearch_command(tmp_path, environment, *words)

    assert "Runge-Kutta networks with smooth stages" in run("families")
    described = json.loads(run("describe", "SmoothRK-1x2_4x1@rk4", "--dataset", "digits", "--json"))
    assert described["family"] == "smooth"
    assert described["witness"]["agree"]
    assert "smooth" in run("space", "show", "smooth_space.yaml")
    trained = run("train", "SmoothRK-1x1_1x1", "--dataset", "digits", "--epochs", "1", "--train-images", "100")
    assert "validation error" in trained


@pytest.mark.slow
def test_a_family_of_a_script_reaches_rays_workers(tmp_path):
    environment = outside(tmp_path, plugin=False)
    (tmp_path / "smooth_rk.py").unlink()  # the script alone defines the family
    done = python("program.py", cwd=tmp_path, env=environment, timeout_s=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "found" / "trials.csv").open(encoding="utf-8", newline="") as table:
        trials = [(row["arch"], row["status"]) for row in csv.DictReader(table)]
    assert trials
    assert all(name.startswith("SmoothRK-") and status == "complete" for name, status in trials), trials


@pytest.mark.slow
@pytest.mark.ci
def test_a_plugin_reaches_rays_workers_reports_and_exports(tmp_path):
    environment = outside(tmp_path, plugin=True)

    def run(*words: str) -> str:
        return rksearch_command(tmp_path, environment, *words)

    run("run", "--space", "smooth_space.yaml", "--out", "found", "--no-racing", "--replicates", "0")
    assert "SmoothRK-" in (tmp_path / "found" / "trials.csv").read_text(encoding="utf-8")
    assert "SmoothRK-" in (tmp_path / "found" / "README.md").read_text(encoding="utf-8")
    run("report", "found")
    run("export", "SmoothRK-1x1_1x1", "--dataset", "digits", "--to", "exported")
    loaded = python(
        "-c", "import rksearch; print(type(rksearch.load('exported')).__name__)", cwd=tmp_path, env=environment
    )
    assert loaded.stdout == "Network\n", loaded.stderr
