"""What a notebook gets: runs and trainings as values, with frames, a report and a progress bar."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import rksearch
from rksearch import results
from rksearch.api import ProgressBar, Run, compare, final_run, launch, resume_run, train
from rksearch.api.progress import view_of
from rksearch.api.single import default_execution
from rksearch.errors import RksearchError, RunError, SpaceError
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import to_json_bytes
from rksearch.results.fronts import rk_front
from rksearch.results.summaries import summarise
from rksearch.search.continuing import Extension
from rksearch.search.samplers.registry import samplers
from rksearch.search.view import Silent
from rksearch.training.execution import Execution
from tests.helpers.ledgers import full_run
from tests.helpers.simulation import new_state, work

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
QUICKSTART = Path(__file__).parents[2] / "reports" / "quickstart"


def test_a_training_alone_takes_the_cpus_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("the system has no affinity")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert default_execution().threads == 1


def test_a_run_has_its_front_its_frame_and_its_report(tmp_path: Path) -> None:
    history = full_run(tmp_path).read()
    run = rksearch.Run(tmp_path)
    pandas.testing.assert_frame_equal(run.frame, results.architectures(tmp_path))
    assert list(run.front["arch"]) == [item.arch for item in rk_front(summarise(history))]
    assert run.front["params"].is_monotonic_increasing
    assert not (tmp_path / "report.html").exists()
    assert run.report.read_text().startswith("<!doctype html>")
    shown = run._repr_html_()
    assert "finished" in shown
    assert run.front["arch"][0] in shown
    assert repr(run) == f"Run({str(tmp_path)!r})"


def test_a_training_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    own = Execution(work_dir=str(tmp_path), data_dir="", device="cpu")
    seen: list[int] = []
    trained = train(
        "ResNet-8",
        own,
        dataset="digits",
        recipe="short",
        epochs=2,
        train_images=50,
        on_epoch=lambda epoch: seen.append(epoch.epoch),
    )
    assert list(trained.frame["epoch"]) == seen == [1, 2]
    assert trained.frame["val_error_pct"].iloc[-1] == trained.result.epochs[-1].val_error_pct
    assert "metrics" not in trained.frame


def test_a_progress_bar_counts_trainings_and_names_the_best(tmp_path: Path) -> None:
    shown = io.StringIO()
    bar = ProgressBar(shown)
    state, _ = new_state(tmp_path, trials=4, replicates=0)
    bar.message("a line")
    bar.start(state, 1)
    work(state, slots=1)
    bar.close()
    last = shown.getvalue().split("\r")[-1]
    done = len(state.history.trials)
    assert shown.getvalue().startswith("a line\n")
    assert f"{done}/{done}" in last
    assert "validation error" in last


def test_progress_is_a_bar_nothing_or_a_view_of_ones_own() -> None:
    own = Silent()
    assert isinstance(view_of(True), ProgressBar)
    assert isinstance(view_of(False), Silent)
    assert view_of(own) is own


def test_a_mistyped_space_or_wish_is_an_error() -> None:
    with pytest.raises(SpaceError, match="the shipped spaces are"):
        rksearch.run("quickstrat", progress=False)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'trails' \(did you mean 'trials'\?\)"):
        rksearch.run("quickstart", trails=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="trails"):
        rksearch.forecast("quickstart", trails=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"trials": -1}, "trials must be a whole number from 0 to 10,000,000, but got -1"),
        ({"trials": 1.5}, "trials must be a whole number .*but got 1.5"),
        ({"trials": True}, "trials must be a whole number .*but got True"),
        ({"epochs": 0}, "epochs must be a whole number from 1 to 1,000,000, but got 0"),
        ({"epochs": "2"}, "epochs must be a whole number .*but got '2'"),
        ({"seeds": 0}, "seeds must be a whole number from 1 to 1,000, but got 0"),
        ({"replicates": -1}, "replicates must be a whole number"),
        ({"sampler_seed": -1}, "sampler_seed must be a whole number"),
        ({"deterministic": 0}, "deterministic must be a whole number from 1"),
        ({"racing": "yes"}, "racing must be True or False, but got 'yes'"),
        ({"control": "no"}, "control must be True or False, but got 'no'"),
        ({"objectives": ()}, "there must be two or three objectives"),
        ({"objectives": "params"}, "objectives must be a list of names, but got 'params'; write it in brackets"),
        ({"start": "RKNet-k4-m2_4_6-1x1_1x1_1x1"}, "start must be a list of names"),
        ({"start": [None]}, "start must be a list of names, but holds None"),
        ({"imports": "reports/mine"}, "imports must be a list of paths, but got 'reports/mine'"),
        ({"sampler": ""}, "the sampler must be one of frontier, .*but got ''"),
        ({"sampler": 5}, "the sampler must be one of frontier, .*but got 5"),
        ({"recipe": ""}, "the recipe must be one of fast, .*but got ''"),
        ({"resources": {}}, "resources must be a value of rksearch.Resources, but got {}"),
        ({"out": ""}, "a run directory, --out, must have a path that is not empty, but got ''"),
        ({"out": "a\0b"}, "must have a path that is not empty, but got 'a\\\\x00b'"),
    ],
)
def test_a_wish_of_another_type_or_out_of_its_limits_is_an_error(
    wishes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RksearchError, match=message):
        rksearch.run("quickstart", progress=False, **wishes)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_and_names_from_any_iterable_are_as_python_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "start_run", lambda planned, resources, _: (planned.plan, resources))
    numbers = ("trials", "epochs", "seeds", "replicates", "sampler_seed", "deterministic")
    start = ["RKNet-k4-m2_4_6-1x1_1x1_1x1"]

    def planned(one: Any, yes: Any, several: Callable[[list[Any]], Any], **resources: Any) -> Any:
        wishes: dict[str, Any] = {**dict.fromkeys(numbers, one), "racing": yes, "start": several(start)}
        own = rksearch.Resources(cpus_per_trial=one, max_concurrent=one, download=yes, **resources)
        return rksearch.run("quickstart", out=tmp_path, imports=several([QUICKSTART]), resources=own, **wishes)

    plan, used = planned(np.int64(1), np.bool_(True), iter, log=["csv"])
    assert (plan, used) == planned(1, True, list, log=("csv",))
    assert plan.start[0] == start[0]
    assert len(plan.start) > 1, "the imported runs are left out"
    milestones: Any = [np.float64(0.5)]
    changed = replace(plan.recipe, lr=np.float64(0.1), milestones=milestones)
    assert all(to_json_bytes(record) for record in (plan, used.options(), changed))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cpus_per_trial": 0}, "cpus_per_trial must be a number of CPUs from 0.01 to 100,000, but got 0"),
        ({"cpus_per_trial": float("nan")}, "cpus_per_trial must be .*but got nan"),
        ({"cpus_per_trial": 10**400}, "cpus_per_trial must be .*but got 1000"),
        ({"cpus_per_trial": "1"}, "cpus_per_trial must be .*but got '1'"),
        ({"gpus_per_trial": -1}, "gpus_per_trial must be None, 0 or a share of a GPU from 0.01 to 1, but got -1"),
        ({"gpus_per_trial": float("inf")}, "a trial trains on one GPU"),
        ({"max_concurrent": 0}, "max_concurrent must be None or a whole number of at least 1"),
        ({"seeds_together": 1.5}, "seeds_together must be None or a whole number"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps, but got 'gpu'"),
        ({"precision": None}, "precision must be one of"),
        ({"compile": True}, "compile must be one of auto, on, off, but got True"),
        ({"download": "no"}, "download must be True or False, but got 'no'"),
        ({"log": "csv"}, "log must be a tuple of names of loggers"),
        ({"callbacks": 5}, "callbacks must be a tuple of objects"),
        ({"until_s": "18:30"}, "until_s must be None or a number of seconds"),
        ({"address": 5}, "address must be None or a text"),
        ({"data_dir": ""}, "data_dir must be None or the path of a directory"),
        ({"data_dir": "a\0b"}, "data_dir must be None or the path of a directory"),
    ],
)
def test_a_resource_of_another_type_or_out_of_its_limits_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        rksearch.Resources(**values)


def test_what_is_asked_of_a_run_that_exists_is_checked_too(tmp_path: Path) -> None:
    full_run(tmp_path)
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: resume_run(tmp_path, extension=Extension(final_seeds=0)), "final_seeds must be a whole number"),
        (lambda: resume_run(tmp_path, extension=Extension(baselines="ResNet-8")), "baselines must be a list of names"),  # type: ignore[arg-type]
        (lambda: final_run(tmp_path, "ResNet-8"), "archs must be a list of names, but got 'ResNet-8'"),
        (lambda: final_run(tmp_path, fresh=-1), "fresh must be a whole number"),
        (lambda: rksearch.retrain(tmp_path, seeds=0), "seeds must be a whole number"),
        (lambda: rksearch.retrain(tmp_path, epochs=0), "epochs must be a whole number"),
        (lambda: rksearch.train("ResNet-8", epochs=0), "epochs must be a whole number"),
        (lambda: rksearch.train("ResNet-8", replicate=-1), "replicate must be a whole number"),
        (lambda: rksearch.train("ResNet-8", recipe=5), "the recipe must be one of .*but got '5'"),  # type: ignore[arg-type]
        (lambda: rksearch.train("ResNet-8", dataset=None), "the data set must be one of .*but got None"),  # type: ignore[arg-type]
        (lambda: replace(recipe("fast"), lr="0.1"), "recipe: lr must be a number, but got '0.1'"),  # type: ignore[arg-type]
        (lambda: replace(recipe("fast"), epochs=1.5), "recipe: epochs must be a whole number, but got 1.5"),  # type: ignore[arg-type]
        (lambda: resume_run(tmp_path, {"device": "cpu"}), "resources must be a value of rksearch.Resources"),  # type: ignore[arg-type]
        (lambda: compare(str(tmp_path)), "directories must be a list of paths, but got"),
        (lambda: samplers.get([]), "the sampler must be one of .*but got"),  # type: ignore[arg-type]
        (lambda: rksearch.train("ResNet-8", train_images=50.0), "train_images must be a whole number"),  # type: ignore[arg-type]
        (lambda: rksearch.Run(""), "a run directory must have a path that is not empty, but got ''"),
        (lambda: rksearch.Run(None), "a run directory must have a path that is not empty, but got None"),  # type: ignore[arg-type]
        (lambda: results.trials("a\0b"), "a run directory must have a path"),
        (lambda: rksearch.Run(tmp_path).write_report(to=""), "the directory for a report must have a path"),
        (lambda: rksearch.Run(tmp_path).weights(None), "a finished trial of .* must be named, but got None"),  # type: ignore[arg-type]
        (lambda: rksearch.Run(tmp_path).figure(None), "the cost across must be one of"),  # type: ignore[arg-type]
        (lambda: rksearch.parse(None), "an architecture is given by its name, but got NoneType"),  # type: ignore[arg-type]
        (lambda: rksearch.list_models(5), "a pattern of names must be text, but got 5"),  # type: ignore[arg-type]
    )
    for call, message in calls:
        with pytest.raises(RksearchError, match=message):
            call()


def test_the_notebook_is_as_it_was_written() -> None:
    """Outputs would be those of one machine."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_the_notebook_goes_from_a_space_to_a_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert Run(tmp_path / "reports" / "notebook").history.state == "finished"
    shown = "".join(
        str(output.get("data", {}).get("text/html", "")) + str(output.get("text", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    (figure,) = (
        output["data"]["application/vnd.plotly.v1+json"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    )
    marks = sum(len(trace["x"]) for trace in figure["data"] if trace["mode"] == "markers")
    assert marks == len(Run(tmp_path / "reports" / "notebook").frame)
    assert "The run: about" in shown
    assert "RKNet-" in shown
