"""Several seeds of one architecture, trained as one program: each must be the training that it is alone."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rksearch.arch import ArchSpec, parse
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.results.codec import to_plain
from rksearch.results.ledger import Ledger
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.training import lifecycle
from rksearch.training.engine.device import has_native_bf16, is_out_of_memory
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.programs import Branches
from rksearch.training.execution import Execution
from rksearch.training.memory import plan_memory
from rksearch.training.seed_groups import SeedGroup
from rksearch.training.trainer import Trainer
from rksearch.training.trial import run_trial, run_trials, test_trial, trial_dir
from tests.helpers.command_line import TINY_SPACE, rksearch
from tests.helpers.recorded import Recorder
from tests.helpers.trainings import COMPILED, CPU, NETWORKS, assert_same_training, needs_compiler, trainer

pytestmark = pytest.mark.usefixtures("one_thread")

test_trial.__test__ = False  # type: ignore[attr-defined]
SEEDS = (3, 4, 5)


def finish(runs: list[Trainer]) -> list[Trainer]:
    for run in runs:
        while not run.done:
            run.run_epoch()
    return runs


# -- programs


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_together_each_is_the_training_that_it_is_alone_bit_for_bit(
    name: str, precision: Precision, recorded: bool
) -> None:
    if precision == "bf16" and not has_native_bf16(CPU):
        pytest.skip("this CPU has no bf16")
    alone = finish([trainer(name, precision=precision, seed=seed) for seed in SEEDS])
    runs = [trainer(name, precision=precision, seed=seed) for seed in SEEDS]
    recorder = Recorder()
    together = SeedGroup(runs, recorder if recorded else None)
    while not runs[0].done:
        found = together.run_epoch()
        assert found == [run.epochs[-1] for run in runs]
    assert len(recorder.recordings) == (2 if recorded else 0)  # batches of 16 and of 8, of all seeds at once
    for run, expected in zip(runs, alone, strict=True):
        assert_same_training(run, expected)
    assert len({tuple(run.step_losses) for run in runs}) == len(SEEDS), "the seeds are different trainings"


def test_each_may_be_in_an_epoch_of_its_own() -> None:
    alone = finish([trainer(NETWORKS[0], seed=seed) for seed in SEEDS[:2]])
    ahead, behind = (trainer(NETWORKS[0], seed=seed) for seed in SEEDS[:2])
    ahead.run_epoch()
    together = SeedGroup([ahead, behind])
    together.run_epoch()
    together.run_epoch()
    assert (len(ahead.epochs), len(behind.epochs)) == (3, 2)
    finish([behind])
    for run, expected in zip([ahead, behind], alone, strict=True):
        assert_same_training(run, expected)


def test_one_that_diverges_fails_alone() -> None:
    expected, _ = finish([trainer(NETWORKS[2], seed=seed) for seed in SEEDS[:2]])
    good, bad = (trainer(NETWORKS[2], seed=seed) for seed in SEEDS[:2])
    with torch.no_grad():
        next(bad.model.parameters()).fill_(torch.nan)
    together = SeedGroup([good, bad])
    for _ in range(3):
        epoch, failure = together.run_epoch()
        assert isinstance(epoch, Epoch)
        assert isinstance(failure, TrialFailed)
        assert failure.kind == "non_finite_loss"
        assert "at step 1 of 5 of epoch 1" in str(failure)
    assert bad.epochs == []
    assert_same_training(good, expected)


def test_what_befalls_the_program_fails_all() -> None:
    runs = [trainer(NETWORKS[2], seed=seed) for seed in SEEDS[:2]]

    def full(module: nn.Module, arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    runs[1].model.register_forward_pre_hook(full)
    found = SeedGroup(runs).run_epoch()
    assert [getattr(failure, "kind", None) for failure in found] == ["out_of_memory"] * 2
    assert all("fewer trials at a time" in str(failure) for failure in found)


def test_trainings_of_different_batches_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="batches of the same sizes"):
        SeedGroup([trainer(NETWORKS[2]), trainer(NETWORKS[2], count=80)])
    with pytest.raises(ValueError, match="and the same choice"):
        SeedGroup([trainer(NETWORKS[2]), trainer(NETWORKS[2], choice=COMPILED)])


@needs_compiler
@pytest.mark.slow
def test_compiled_together_each_is_what_it_is_compiled_alone() -> None:
    alone = finish([trainer(NETWORKS[0], seed=seed, choice=COMPILED) for seed in SEEDS])
    runs = [trainer(NETWORKS[0], seed=seed, choice=COMPILED) for seed in SEEDS]
    together = SeedGroup(runs)
    while not runs[0].done:
        together.run_epoch()
    for run, expected in zip(runs, alone, strict=True):
        assert run.choice == COMPILED
        assert_same_training(run, expected)


def test_where_compiling_fails_all_go_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(*args: Any, **kwargs: Any) -> Any:
        asked.append(1)
        raise RuntimeError("no compiler\ntoday")

    expected = finish([trainer(NETWORKS[2], seed=seed) for seed in SEEDS[:2]])
    runs = [trainer(NETWORKS[2], seed=seed, choice=COMPILED) for seed in SEEDS[:2]]
    monkeypatch.setattr(torch, "compile", refuse)
    SeedGroup(runs).run_epoch()
    finish(runs)  # each by itself, as those do whose companions have ended
    assert len(asked) == 1
    for run, other in zip(runs, expected, strict=True):
        assert run.choice.reason == "not compiled, because that failed (no compiler today)"
        assert_same_training(run, other)


class FakeStreams:
    """Notes what streams do: `(stream, waits for)` and `(stream, does)`."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.current = "main"
        self._made = 0

    def new(self, device: torch.device) -> "FakeStream":
        self._made += 1
        return FakeStream(f"side{self._made}", self)

    @contextmanager
    def use(self, stream: "FakeStream") -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before


class FakeStream:
    def __init__(self, name: str, streams: FakeStreams) -> None:
        self.name, self._streams = name, streams

    def wait_stream(self, other: "FakeStream") -> None:
        self._streams.events.append((self.name, f"waits for {other.name}"))


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> FakeStreams:
    fake = FakeStreams()
    monkeypatch.setattr(torch.cuda, "Stream", fake.new)
    monkeypatch.setattr(torch.cuda, "stream", fake.use)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream(fake.current, fake))
    return fake


def test_branches_begin_after_what_was_before_and_end_before_what_comes_after(streams: FakeStreams) -> None:
    branches = Branches(torch.device("cuda"), 2)
    first, second = ([lambda w=w: streams.events.append((streams.current, w)) for w in words] for words in ("ab", "cd"))
    branches(first)()
    branches(second)()
    assert streams.events == [
        *[("side1", "waits for main"), ("side1", "a"), ("side2", "waits for main"), ("side2", "b")],
        *[("main", "waits for side1"), ("main", "waits for side2")],
        *[("side1", "waits for main"), ("side1", "c"), ("side2", "waits for main"), ("side2", "d")],
        *[("main", "waits for side1"), ("main", "waits for side2")],
    ]


def test_branches_that_have_begun_end_after_an_exception_too(streams: FakeStreams) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Branches(torch.device("cuda"), 3)([lambda: None, full, lambda: None])()
    assert streams.events == [
        *[("side1", "waits for main"), ("side2", "waits for main")],
        *[("main", "waits for side1"), ("main", "waits for side2")],
    ]


def test_memory_that_ran_out_is_seen_behind_what_followed_from_it() -> None:
    def record() -> None:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("capture ended with unjoined work")

    with pytest.raises(RuntimeError, match="unjoined work") as raised:
        record()
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("capture ended with unjoined work"))


# -- trials

SHORT = Recipe(name="short", epochs=3, batch_size=32, lr=0.05, schedule="cosine", warmup=0.1)
SPECS = [
    TrialSpec(arch="RKNet-BC-k2-m2_2-1x2s_1x1", dataset="digits", recipe=SHORT, train_images=100, replicate=replicate)
    for replicate in range(3)
]


def execution(work_dir: Path, **changes: Any) -> Execution:
    return replace(Execution(work_dir=str(work_dir), data_dir=str(work_dir / "data"), precision="fp32"), **changes)


def numbers(result: TrialResult) -> dict[str, Any]:
    """Everything but the times, and how many seeds were trained together."""
    plain = to_plain(result)
    del plain["seeds_together"], plain["work_times"]
    for epoch in plain["epochs"]:
        del epoch["train_time_s"]
    return plain


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrialResult]]:
    """The trials alone."""
    before = torch.get_num_threads()
    work_dir = tmp_path_factory.mktemp("apart")
    results = [run_trial(spec, execution(work_dir)) for spec in SPECS]
    torch.set_num_threads(before)
    return work_dir, results


def assert_same_results(found: list[TrialResult], apart: tuple[Path, list[TrialResult]]) -> None:
    assert [numbers(result) for result in found] == [numbers(result) for result in apart[1]]


def test_trials_together_have_the_results_weights_and_test_errors_of_trials_apart(
    tmp_path: Path, apart: tuple[Path, list[TrialResult]]
) -> None:
    told: list[tuple[str, int]] = []
    found = run_trials(SPECS, execution(tmp_path), lambda spec, epoch: told.append((spec.id, epoch.epoch)))
    assert_same_results(found, apart)
    assert [result.seeds_together for result in found] == [3, 3, 3]
    assert told == [(spec.id, epoch) for epoch in (1, 2, 3) for spec in SPECS]
    for spec in SPECS:
        assert test_trial(spec, execution(tmp_path)) == test_trial(spec, execution(apart[0]))
    assert run_trials(SPECS, execution(tmp_path), lambda spec, epoch: pytest.fail("trained again")) == found


def test_an_interrupted_company_goes_on_together_or_apart(
    tmp_path: Path, apart: tuple[Path, list[TrialResult]]
) -> None:
    def interrupt(spec: TrialSpec, epoch: Epoch) -> None:
        if spec is SPECS[1] and epoch.epoch == 2:
            raise KeyboardInterrupt

    for name in ("together", "apart"):
        with pytest.raises(KeyboardInterrupt):
            run_trials(SPECS, execution(tmp_path / name), interrupt)
    again: list[tuple[int, int]] = []
    found = run_trials(
        SPECS, execution(tmp_path / "together"), lambda spec, epoch: again.append((spec.replicate, epoch.epoch))
    )
    assert again == [(0, 3), (1, 3), (2, 2), (2, 3)], "the third has lost one epoch, the others none"
    assert_same_results(found, apart)
    assert_same_results([run_trial(spec, execution(tmp_path / "apart")) for spec in SPECS], apart)


def test_a_finished_seed_leaves_the_others_together(tmp_path: Path, apart: tuple[Path, list[TrialResult]]) -> None:
    first = run_trial(SPECS[0], execution(tmp_path))
    found = run_trials(SPECS, execution(tmp_path))
    assert found[0] == first
    assert [result.seeds_together for result in found] == [1, 2, 2]
    assert_same_results(found, apart)


def test_a_company_pauses_together(tmp_path: Path, apart: tuple[Path, list[TrialResult]]) -> None:
    paused = run_trials(SPECS, execution(tmp_path), until=2)
    assert [(result.status, len(result.epochs)) for result in paused] == [("paused", 2)] * 3
    assert_same_results(run_trials(SPECS, execution(tmp_path)), apart)


def test_where_memory_is_for_fewer_they_take_turns(tmp_path: Path, apart: tuple[Path, list[TrialResult]]) -> None:
    plan = plan_memory(
        parse(SPECS[0].arch), dataset("digits"), SHORT, "fp32", 2**40, eval_batch_size=256, images=1797 - 360
    )
    for room, sizes in ((2.0, [1, 1, 1]), (2.5, [2, 2, 1])):  # 15 % of each are in reserve
        little = int(room * plan.predicted_peak_bytes)
        found = run_trials(SPECS, execution(tmp_path / str(room), memory_bytes=little))
        assert [result.seeds_together for result in found] == sizes
        assert_same_results(found, apart)


def test_what_ran_out_of_memory_holds_nothing_when_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[nn.Module]] = []

    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            assert all(model() is None for model in held)
            held.append(weakref.ref(self))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(lifecycle, "build", lambda arch, facts: Greedy())
    monkeypatch.setattr(lifecycle, "witness", lambda *args: {})
    monkeypatch.setattr(lifecycle, "largest_group", lambda *args: 1)
    found = run_trials(SPECS, execution(tmp_path))
    assert [result.failure for result in found] == ["out_of_memory"] * 3
    assert len(held) == 3, "one network of each trial"


def test_networks_with_dropout_take_turns(tmp_path: Path) -> None:
    specs = [replace(spec, arch="RKCNN-E-k4-1x1_1x1-drop30") for spec in SPECS[:2]]
    expected = [run_trial(spec, execution(tmp_path / "apart")) for spec in specs]
    found = run_trials(specs, execution(tmp_path / "together"))
    assert [result.seeds_together for result in found] == [1, 1]
    assert [numbers(result) for result in found] == [numbers(result) for result in expected]


def test_a_seed_whose_network_cannot_be_built_fails_alone(
    tmp_path: Path, apart: tuple[Path, list[TrialResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    build = lifecycle.build

    def moody(arch: ArchSpec, facts: Dataset) -> nn.Module:
        calls.append(1)
        if len(calls) == 2:
            raise TypeError("not today")
        return build(arch, facts)

    monkeypatch.setattr(lifecycle, "build", moody)
    found = run_trials(SPECS, execution(tmp_path))
    assert [result.status for result in found] == ["complete", "failed", "complete"]
    assert (found[1].failure, found[1].epochs) == ("error", ())
    assert "not today" in (trial_dir(tmp_path, SPECS[1].id) / "error.txt").read_text()
    assert numbers(found[0]) == numbers(apart[1][0])
    assert numbers(found[2]) == numbers(apart[1][2])


def test_only_seeds_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ in their seeds alone"):
        run_trials([SPECS[0], replace(SPECS[1], arch="ResNet-8")], execution(tmp_path))


# -- runs


@pytest.mark.slow
def test_a_run_with_seeds_together_finds_what_one_without_finds(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    for name, more in (("apart", ()), ("together", ("--seeds-together", "2"))):
        done = rksearch(
            *("run", "--space", str(tmp_path / "tiny.yaml"), "--seeds", "3", "--device", "cpu", "--out", name),
            *more,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
    apart, together = (Ledger(tmp_path / name).read().trials for name in ("apart", "together"))
    # Which networks get more seeds also depends on what had finished when a slot became free, so some may differ.
    assert {key for key, (spec, _) in apart.items() if spec.replicate == 0} == {
        key for key, (spec, _) in together.items() if spec.replicate == 0
    }
    both = apart.keys() & together.keys()
    assert {apart[key][0].replicate for key in both} == {0, 1, 2}
    for key in both:
        assert numbers(together[key][1]) == numbers(apart[key][1])
    assert {result.seeds_together for _, result in apart.values()} == {1}
    for spec, result in together.values():
        assert result.seeds_together == (2 if spec.replicate else 1)
