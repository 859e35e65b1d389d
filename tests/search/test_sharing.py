"""How many trials share a GPU."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rksearch.arch import parse
from rksearch.cli.live import ConsoleView
from rksearch.results.ledger import Ledger
from rksearch.search.ray import cluster
from rksearch.search.resources import Resources
from rksearch.search.sharing import Sharing, TypicalTraining, fewest_worthwhile, measure, typical
from rksearch.space import parse_space
from rksearch.training import throughput
from tests.helpers.command_line import TINY_SPACE


@pytest.mark.parametrize(
    ("images_per_s", "count"),
    [
        ({1: 100.0}, 1),
        ({1: 100.0, 2: 105.0}, 1),
        ({1: 100.0, 2: 150.0, 4: 240.0, 8: 250.0}, 4),
        ({1: 100.0, 2: 190.0, 4: 180.0}, 2),
        ({1: 100.0, 2: 105.0, 4: 112.0}, 2),
    ],
)
def test_more_at_a_time_must_be_worth_it(images_per_s: dict[int, float], count: int) -> None:
    assert fewest_worthwhile(images_per_s) == count


@pytest.mark.parametrize(
    ("images_per_s", "together", "seeds"),
    [
        ({1: 100.0, 2: 105.0}, {}, 1),
        ({1: 100.0, 2: 105.0}, {2: 108.0}, 1),
        ({1: 100.0, 2: 105.0}, {2: 140.0, 4: 200.0, 8: 210.0}, 4),
        ({1: 100.0, 2: 180.0, 4: 185.0}, {2: 150.0, 4: 190.0}, 1),
        ({1: 100.0, 2: 180.0, 4: 185.0}, {2: 150.0, 4: 199.0}, 4),
    ],
)
def test_seeds_go_together_where_that_beats_so_many_trials_at_a_time(
    images_per_s: dict[int, float], together: dict[int, float], seeds: int
) -> None:
    training = TypicalTraining(arch="ResNet-8", dataset="digits", batch_size=8)
    found = Sharing(training=training, images_per_s=images_per_s, together=together)
    assert found.seeds_together == seeds
    assert found.measured.together == {str(count): rate for count, rate in together.items()}


def test_a_run_is_measured_with_a_member_of_its_space() -> None:
    space = parse_space(TINY_SPACE, name="tiny")
    assert typical(space) == typical(space)
    assert parse(typical(space)) in space


@pytest.fixture
def one_training_at_a_time_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "WINDOW_S", 0.1)
    report = throughput._report

    def refuse(reports: Any, workers: Any, rounds: int) -> list[float]:
        if len(workers) > 1:
            workers[0].kill()  # as the kernel does when memory runs out
            workers[0].join()
        return report(reports, workers, rounds)

    monkeypatch.setattr(throughput, "_report", refuse)


@pytest.mark.slow
@pytest.mark.usefixtures("one_training_at_a_time_fits")
def test_what_does_not_fit_ends_the_measurement() -> None:
    found = measure(TypicalTraining(arch="ResNet-8", dataset="digits", batch_size=8, precision="fp32", seeds=3))
    assert list(found.images_per_s) == [1]
    assert found.images_per_s[1] > 0
    assert found.trials_per_gpu == 1
    assert list(found.together) == [2], "seeds of one program need no second process, and no more are wanted"
    assert found.together[2] > 0
    assert found.measured.trials_per_gpu == 1


@pytest.mark.slow
@pytest.mark.usefixtures("one_training_at_a_time_fits")
@pytest.mark.parametrize(("arch", "seeds"), [("ResNet-8", 1), ("RKCNN-E-k4-1x1_1x1-drop30", 4)])
def test_seeds_that_never_go_together_are_not_measured(arch: str, seeds: int) -> None:
    found = measure(TypicalTraining(arch=arch, dataset="digits", batch_size=8, precision="fp32", seeds=seeds))
    assert (found.together, found.seeds_together) == ({}, 1)


@pytest.mark.slow
def test_a_worker_with_a_gpu_measures_and_the_ledger_says_so(tmp_path: Path) -> None:
    import ray

    class State:
        ledger = Ledger(tmp_path)

    console = Console(record=True, width=300)
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        training = TypicalTraining(arch="ResNet-8", dataset="digits", batch_size=8, precision="fp32", seeds=2)
        shared = cluster._measured_shares(Resources(), training, State(), ConsoleView(console))  # type: ignore[arg-type]
    finally:
        ray.shutdown()
    said = console.export_text()
    assert shared.gpus_per_trial
    count = round(1 / shared.gpus_per_trial)
    assert f"Trials that share a GPU: {count} (images/s of all by trials at a time: 1: " in said
    seeds = shared.seeds_together
    assert f"Seeds that are trained together: {seeds} (images/s of all by seeds in one program: 2: " in said
    assert f'"trials_per_gpu":{count},"seeds_together":{seeds}' in (tmp_path / "ledger.jsonl").read_text()
