"""What a notebook gets: runs and trainings as values, with frames, a report and a progress bar."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pandas
import pytest

import rksearch
from rksearch import results
from rksearch.api import ProgressBar, Run, train
from rksearch.api.progress import view_of
from rksearch.api.single import default_execution
from rksearch.errors import SpaceError
from rksearch.results.fronts import rk_front
from rksearch.results.summaries import summarise
from rksearch.search.view import Silent
from rksearch.training.execution import Execution
from tests.helpers.ledgers import full_run
from tests.helpers.simulation import new_state, work

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


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
