import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.arch import parse
from rksearch.bench import noise, rival, whole_run
from rksearch.bench.whole_run import NETWORKS, WholeRun, slot_seconds
from rksearch.data.dataset import Dataset
from rksearch.data.facts import dataset
from rksearch.data.images import load_images
from rksearch.results.records import WorkTimes
from rksearch.search.reservations import cpus_here
from rksearch.space import load_space, parse_space
from tests.helpers.command_line import Answer, rksearch

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_networks_are_members_of_the_space_they_stand_for() -> None:
    space = load_space("cifar10_small")
    assert all(parse(name) in space for name in NETWORKS)
    assert len(set(NETWORKS)) == 6


def test_the_run_trains_these_networks_and_nothing_else(tmp_path: Path) -> None:
    space = parse_space(WholeRun(data_dir=str(tmp_path), epochs=3).space(), name="networks")
    assert {str(member) for member in space} == set(NETWORKS)
    definition = space.definition
    assert (definition.recipe.epochs, definition.train_images, definition.trials) == (3, 8_000, 6)
    assert (definition.search_seeds, definition.final_seeds, definition.baselines) == (1, 1, ())
    assert definition.search.racing is None
    assert definition.search.replicates == 0


def test_the_networks_are_divided_among_the_loops_by_their_cost() -> None:
    asked = WholeRun(slots=2, threads=4)
    (alone,) = asked.jobs(1)
    assert (set(alone.networks), alone.threads) == (set(NETWORKS), 4)
    one, other = asked.jobs(2)
    assert sorted((*one.networks, *other.networks)) == sorted(NETWORKS)
    assert one.threads == other.threads == 2
    macs = [sum(whole_run.cost(parse(n), dataset("cifar10")).macs for n in job.networks) for job in (one, other)]
    assert max(macs) / min(macs) < 1.2
    assert [job.networks for job in WholeRun(networks=("ResNet-8",)).jobs(3)] == [("ResNet-8",)]


def work(began_s: float, ended_s: float, **parts_s: float) -> WorkTimes:
    return WorkTimes(began_s=began_s, ended_s=ended_s, parts_s=parts_s)


def test_the_slots_seconds_are_all_accounted_for() -> None:
    # Ray is up at 110; slot 1: 115 to 130, 132 to 150; slot 2: 116 to 140; the command ends at 155.
    works = [
        work(132, 150, train=12, load=1),
        work(116, 140, train=20, validate=2),
        work(115, 130, train=10, witness=1.5),
    ]
    found = slot_seconds(100, 110, 155, works, 2)
    assert found == {
        "command to Ray": 20,
        "worker start": 5 + 6,
        "train": 42,
        "load": 1,
        "validate": 2,
        "witness": 1.5,
        "rest of trials": (15 - 11.5) + (24 - 22) + (18 - 13),
        "between trials": 2,
        "no trial left": 10,
        "report and end": 10,
    }
    assert sum(found.values()) == 2 * 55


def test_a_slot_that_never_works_is_a_slot_without_trials() -> None:
    found = slot_seconds(0, 1, 10, [work(3, 9, train=6)], 2)
    assert found["no trial left"] == 8
    assert sum(found.values()) == 20


def test_a_rival_trains_and_validates_every_epoch(tmp_path: Path) -> None:
    job = rival.Job(
        networks=("ResNet-8", "RKNet-k4-m1-1x1"),
        dataset="digits",
        data_dir=str(tmp_path),
        epochs=4,
        train_images=300,
        threads=1,
        device="cpu",
        precision="fp32",
    )
    errors = rival.work(rival.Job(**json.loads(job.to_json())))
    assert set(errors) == {"ResNet-8", "RKNet-k4-m1-1x1"}
    assert all(len(of_epochs) == 4 for of_epochs in errors.values())
    assert errors["ResNet-8"][-1] < 60  # of 90 by chance


def test_random_pixels_stand_for_cifar10(tmp_path: Path) -> None:
    cifar10: Dataset = dataset("cifar10")
    images = load_images(noise.NOISE, tmp_path, download=False)
    assert images.train_images.shape == (50_000, 3, 32, 32)
    differ = {name for name, value in noise.NOISE.facts().items() if cifar10.facts()[name] != value}
    assert differ == {"name", "source", "licence", "citation"}


def test_more_slots_than_cpus_are_refused(answer: Callable[..., Answer]) -> None:
    cpus = cpus_here()
    code, _, errors = answer("bench", "run", "--slots", str(cpus + 1))
    assert code == 2
    assert f"but got {cpus + 1} slots for {cpus} CPUs" in " ".join(errors.split())
    assert "Traceback" not in errors


@pytest.mark.slow
def test_bench_run_measures_a_run_beside_its_rivals(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = rksearch(
        *("bench", "run", "RKNet-k4-m1-1x1", "RKNet-k4-m2-1x1", "--epochs", "2", "--train-images", "200"),
        *("--rounds", "1", "--slots", "2", "--to", str(path)),
        timeout_s=900,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    found = json.loads(path.read_text())
    assert found["synthetic_images"] is True
    assert found["settings"]["precision"] in ("fp32", "bf16")
    assert "random pixels" in done.stdout
    assert set(found["seconds"]) == {"run", "one loop", "loops beside each other"}
    (spent,) = found["spent"]
    assert sum(spent["slot_s"].values()) == pytest.approx(2 * spent["wall_s"], rel=0.02)
    for part in ("command to Ray", "worker start", "load", "build", "witness", "train", "validate", "save", "report"):
        assert spent["slot_s"][part] > 0, part
