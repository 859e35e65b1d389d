"""What a script registers reaches the workers of Ray."""

from pathlib import Path

import cloudpickle
import pytest

from rksearch.data.facts import datasets, register_dataset
from rksearch.errors import MissingPluginError
from rksearch.results.ledger import Ledger
from rksearch.results.run_dir import require_registered
from rksearch.search.ray.extensions import Extensions
from tests.helpers.command_line import TINY_SPACE, python

SCRIPT = '''
import sys
from dataclasses import replace

import rksearch
from rksearch.api import plan_run, start_run
from rksearch.data.digits import DIGITS
from rksearch.search.planning import Asked
from rksearch.search.resources import Resources


def load(data_dir, download):
    """The digits in negative."""
    images = DIGITS.load(data_dir, download)
    return replace(images, train_images=255 - images.train_images, test_images=255 - images.test_images)


rksearch.register_dataset(replace(DIGITS, name="negatives", load=load))
run = start_run(plan_run(sys.argv[1], out=sys.argv[2], asked=Asked(trials=1)), Resources(device="cpu"))
assert run.history.state == "finished", run.history.message
assert not run.history.failed, run.history.failed
assert run.trials
assert all((spec.dataset, result.status) == ("negatives", "complete") for spec, result in run.trials.values())
'''


def test_an_extension_is_registered_where_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(datasets, "_items", dict(datasets.items()))
    monkeypatch.setattr(datasets, "_added", {})
    item = register_dataset(replace(datasets.get("digits"), name="sent"))
    sent = cloudpickle.dumps(Extensions.here())
    monkeypatch.setattr(datasets, "_items", {k: v for k, v in datasets.items().items() if k != "sent"})
    assert "sent" not in datasets
    for _ in range(2):  # a worker that is used again registers again
        cloudpickle.loads(sent).register()
        assert datasets.get("sent") == item


@pytest.mark.slow
@pytest.mark.ci
def test_a_data_set_of_a_script_is_trained_on_by_workers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    space = tmp_path / "tiny.yaml"
    space.write_text(TINY_SPACE.replace("dataset: digits", "dataset: negatives").replace("epochs: 2", "epochs: 1"))
    done = python("program.py", str(space), str(tmp_path / "run"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    history = Ledger(tmp_path / "run").read()  # by whoever lacks the data set too
    with pytest.raises(MissingPluginError, match=r"must be registered to continue it, but .* names .*'negatives'"):
        require_registered(history, tmp_path / "run")
