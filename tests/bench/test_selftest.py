"""The self-test: its drawing, its judgement, its records; and itself, on real runs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rksearch.bench import reliability
from rksearch.bench.fair_clock import LONGEST_LOOK_S, FairClock, waited_s
from rksearch.bench.faults import kinds, small_run
from rksearch.bench.faults.disturbing import Disturbed, Numbers, differences, numbers_in, placeless
from rksearch.bench.faults.kinds import KINDS, Fault, draw, drawn
from rksearch.bench.faults.small_run import SmallRun
from rksearch.errors import RunError, TakenError
from rksearch.results.environment import Environment
from rksearch.results.history import History
from rksearch.results.ledger import FILE_NAME, Ledger
from tests.helpers.command_line import Answer, rksearch
from tests.helpers.ledgers import complete, full_run, trial


def test_faults_are_drawn_by_seed_alone_and_each_kind_comes_before_one_comes_again() -> None:
    many = draw(3 * len(KINDS), 5, 30.0)
    assert draw(7, 5, 30.0) == many[:7]
    assert draw(7, 6, 30.0) != many[:7]
    for first in range(0, len(many), len(KINDS)):
        assert {fault.kind for fault in many[first : first + len(KINDS)]} == set(KINDS)
    moments = [fault.moment_s for fault in many if fault.moment_s is not None]
    assert len(moments) == len(many)
    assert 0 <= min(moments) < 10 < 20 < max(moments) <= 30
    assert {fault.kind for fault in draw(9, 0, 1.0, ["GCS killed"])} == {"GCS killed"}
    with pytest.raises(RunError, match=r"a fault must be one of driver killed, .* but got 'flood'"):
        draw(1, 0, 1.0, ["flood"])


def test_a_session_that_was_killed_did_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else collects its exit code leaves Popen to report 0."""
    monkeypatch.setattr(small_run, "own_python", lambda *words: [sys.executable, "-c", "import time; time.sleep(60)"])
    small = SmallRun.of_a_space(tmp_path / "run", tmp_path)
    for _ in range(5):
        session = small.start()
        session.end_all()
        assert session.process.returncode == -signal.SIGKILL


def test_of_a_session_that_is_over_nothing_is_killed_by_its_process_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_run, "own_python", lambda *words: [sys.executable, "-c", "pass"])
    session = SmallRun.of_a_space(tmp_path / "run", tmp_path).start()
    assert session.ends(20)
    killed: list[int] = []
    monkeypatch.setattr(small_run, "end_processes", killed.extend)
    monkeypatch.setattr(small_run, "descendants", lambda pid: [1])
    session.end_all()
    assert killed == []


def test_a_run_that_lost_doubled_or_changed_something_differs(tmp_path: Path) -> None:
    ledger = full_run(tmp_path / "run", 6)
    history = ledger.read()
    undisturbed = numbers_in(history)
    assert differences(undisturbed, history) is None
    some = next(iter(undisturbed))
    assert differences({**undisturbed, "RKNet@7": ()}, history) == "1 trainings are lost: RKNet@7"
    without = {key: numbers for key, numbers in undisturbed.items() if key != some}
    assert differences(without, history) == f"1 trainings are not in the undisturbed run: {some}"
    loss, *others = undisturbed[some][0]
    changed = {**undisturbed, some: ((loss + 1e-12, *others), *undisturbed[some][1:])}
    assert differences(changed, history) == f"1 trainings are changed: {some}"
    spec, result = history.trials[some]
    ledger.write_trial(spec, result, wall_time_s=1.0)
    assert differences(undisturbed, ledger.read()) == "1 trainings were recorded twice"


@pytest.fixture
def small(tmp_path: Path) -> SmallRun:
    """A run with a ledger of some lines and a checkpoint of some bytes."""
    found = SmallRun.of_a_space(tmp_path / "run", tmp_path)
    ledger = Ledger(found.directory)
    ledger.write_session(environment=Environment(), options={})
    for i in range(6):
        ledger.write_trial(trial("ResNet-8", i, "baseline"), complete(20.0), wall_time_s=1.0)
    directory = found.directory / "work" / "trials" / "ResNet-8@0"
    directory.mkdir(parents=True)
    for name in ("checkpoint.pt", "previous.pt"):
        (directory / name).write_bytes(bytes(range(256)))
    return found


def test_the_space_of_the_runs_is_one_whose_members_are_all_trained(small: SmallRun) -> None:
    from rksearch.space import load_space

    space = load_space(str(small.space))
    assert len(space) == space.definition.trials


def test_files_are_damaged_as_their_kind_says(small: SmallRun) -> None:
    rng = random.Random(1)
    checkpoint = small.checkpoints()[0]
    before, ledger = checkpoint.read_bytes(), small.directory / FILE_NAME
    assert kinds._flip_checkpoint(small, rng)
    flipped = checkpoint.read_bytes()
    assert sum(bin(a ^ b).count("1") for a, b in zip(before, flipped, strict=True)) == 1
    assert kinds._cut_checkpoint(small, rng)
    assert flipped.startswith(checkpoint.read_bytes())
    assert checkpoint.stat().st_size < 256
    lines = ledger.read_bytes().split(b"\n")
    assert kinds._cut_ledger(small, rng)
    assert ledger.read_bytes().split(b"\n")[:-1] == lines[:-2]
    assert len(ledger.read_bytes().split(b"\n")[-1]) <= len(lines[-2])
    history = small.history()
    assert len(history.trials) == 5
    whole = ledger.read_bytes()
    assert kinds._flip_ledger(small, rng)
    assert ledger.read_bytes() != whole
    assert ledger.read_bytes().split(b"\n")[:3] == whole.split(b"\n")[:3]
    assert kinds._remove_checkpoints(small, rng)
    assert small.checkpoints() == []
    for damage in (kinds._flip_checkpoint, kinds._cut_checkpoint, kinds._remove_checkpoints):
        assert not damage(small, rng)


def one(kind: str, problem: str | None = None, *, met: bool = True) -> Disturbed:
    return Disturbed(
        fault=Fault(kind=kind, moment_s=1.5),
        met=met,
        went_on=kind.startswith("worker"),
        line="",
        ended_s=2.0,
        session_s=3.5,
        sessions=1,
        problem=problem,
    )


@dataclass
class Machine:
    """A machine on which no run takes place: its processor, and what an undisturbed run gives there."""

    cpu: str = "first"
    loss: float = 1.0

    def conditions(self, *args: object) -> reliability.FaultConditions:
        return reliability.FaultConditions(
            seed=3,
            kinds=(),
            span_s=20.0,
            undisturbed={"ResNet-8@0": ((self.loss, 2.0, 3.0, 4.0),)},
            environment=Environment(cpu=self.cpu),
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def injected(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """Faults that were injected, where no run takes place."""
    found: list[Fault] = []
    monkeypatch.setattr(reliability, "_conditions", machine.conditions)

    def disturb(small: SmallRun, fault: Fault, undisturbed: Mapping[str, Numbers]) -> Disturbed:
        assert undisturbed == machine.conditions().undisturbed
        assert fault.moment_s is not None
        small.directory.mkdir()
        found.append(fault)
        return replace(one(fault.kind, "a training is lost" if len(found) == 2 else None), fault=fault)

    monkeypatch.setattr(reliability, "disturb", disturb)
    return found


def test_injections_go_on_where_they_were_interrupted(tmp_path: Path, injected: list[Fault]) -> None:
    def inject(count: int, seed: int = 3) -> list[Disturbed]:
        return reliability.inject_faults(
            tmp_path / "out", count=count, seed=seed, kinds=(), data_dir=tmp_path, show=lambda line: None
        )

    first = inject(3)
    assert [found.problem is None for found in first] == [True, False, True]
    kept = sorted(path.name for path in (tmp_path / "out" / "work").iterdir() if path.is_dir())
    assert kept == ["run-1"], "the run that differs stays to be looked at"
    records = tmp_path / "out" / reliability.FILE
    records.write_bytes(records.read_bytes()[:-5])  # killed while it wrote the third
    assert inject(5)[:2] == first[:2]
    kinds = [fault.kind for fault in draw(5, 3, 20.0)]
    assert [fault.kind for fault in injected[3:]] == kinds[2:]
    report = (tmp_path / "out" / reliability.REPORT).read_text()
    assert "5 faults were drawn with seed 3; 5 met something to disturb. 4 of the 5 runs" in report
    assert "a training is lost" in report
    with pytest.raises(RunError, match="has seed 3 and all kinds; give these"):
        inject(5, seed=4)


def test_an_injection_whose_line_is_damaged_is_made_again_alone(tmp_path: Path, injected: list[Fault]) -> None:
    said: list[str] = []

    def inject(count: int) -> list[Disturbed]:
        return reliability.inject_faults(tmp_path, count=count, seed=3, kinds=(), data_dir=tmp_path, show=said.append)

    first = inject(4)
    records = tmp_path / reliability.FILE
    lines = records.read_bytes().splitlines(keepends=True)
    for damaged, number in ((2, 1), (0, None)):  # an injection; the conditions
        before = len(injected)
        content = records.read_bytes().splitlines(keepends=True)
        content[damaged] = content[damaged].replace(b":", b";", 1)
        records.write_bytes(b"".join(content))
        assert [one.fault.seed for one in inject(4)] == [one.fault.seed for one in first]
        again = [] if number is None else [first[number].fault.seed]
        assert [fault.seed for fault in injected[before:]] == again
        assert any(f"damaged lines of {records}" in line and str(damaged + 1) in line for line in said)
    assert set(lines[3:]) <= set(records.read_bytes().splitlines(keepends=True)), "intact lines stay"


@pytest.mark.parametrize("name", [reliability.REPORT, reliability.FILE, "work/undisturbed/notes", "work/run-0/notes"])
def test_injections_leave_files_of_the_users(tmp_path: Path, injected: list[Fault], name: str) -> None:
    def inject() -> None:
        reliability.inject_faults(tmp_path, count=1, seed=3, kinds=(), data_dir=tmp_path, show=lambda line: None)

    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(TakenError, match="rksearch replaces only what it wrote itself"):
        inject()
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]
    (tmp_path / name).unlink()
    SmallRun.of_a_space(tmp_path / "work" / reliability.UNDISTURBED, tmp_path)  # interrupted before the first record
    inject()
    assert len(injected) == 1


def test_injections_go_on_elsewhere_with_the_numbers_of_that_machine(
    tmp_path: Path, machine: Machine, injected: list[Fault]
) -> None:
    def inject(count: int) -> list[Disturbed]:
        return reliability.inject_faults(
            tmp_path / "out", count=count, seed=3, kinds=(), data_dir=tmp_path, show=lambda line: None
        )

    inject(2)
    machine.cpu = "same numbers"
    inject(3)
    machine.cpu, machine.loss = "other numbers", 1.5
    assert [found.fault.kind for found in inject(5)] == [fault.kind for fault in injected]
    inject(5)
    assert len(injected) == 5, "nothing is injected twice"
    lines = (tmp_path / "out" / reliability.FILE).read_bytes().splitlines()
    assert [i for i, line in enumerate(lines) if b'"undisturbed":{' in line] == [0, 4]
    report = (tmp_path / "out" / reliability.REPORT).read_text()
    assert "(first)" in report
    assert "(other numbers)" in report


def test_moments_lie_in_the_time_that_the_last_whole_session_took() -> None:
    """The machine is slower or faster than it was at first."""
    conditions = reliability.FaultConditions(seed=3, kinds=(), span_s=20.0, undisturbed={}, environment=Environment())
    assert reliability.span_s(conditions, []) == 20.0
    ended, whole = one("driver killed"), one("worker killed")
    assert reliability.span_s(conditions, [ended]) == 20.0
    assert reliability.span_s(conditions, [ended, replace(whole, session_s=90.0), ended]) == 90.0
    early, late = drawn(7, 3, 20.0).moment_s, drawn(7, 3, 90.0).moment_s
    assert early is not None
    assert late == pytest.approx(4.5 * early, abs=0.05)


def test_waiting_for_a_cpu_does_not_count() -> None:
    now_s, waited = [0.0], {"1/1": 5.0, "1/2": 0.0}
    clock = FairClock(lambda: [1], clock=lambda: now_s[0], waited=lambda pid: dict(waited))
    now_s[0] = 2.0
    assert clock.spent_s() == pytest.approx(2.0)
    now_s[0], waited["1/1"] = 4.0, 6.5
    assert clock.spent_s() == pytest.approx(2.5)
    now_s[0], waited["1/2"], waited["1/3"] = 6.0, 100.0, 100.0
    assert clock.spent_s() == pytest.approx(2.7), "a limit is reached at last"
    now_s[0] = 100.0
    assert clock.spent_s() == pytest.approx(2.7 + LONGEST_LOOK_S), "this process was suspended"


def test_a_process_that_works_alone_waits_less_than_it_lives() -> None:
    clock = FairClock(lambda: [os.getpid()])
    time.sleep(0.05)
    assert 0 < clock.spent_s() < 5
    assert waited_s(os.getpid()).keys()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_runs_of_a_background_job_answer_signals(number: signal.Signals) -> None:
    code = "import signal, sys; print(signal.getsignal(int(sys.argv[1])) is signal.SIG_IGN)"
    words = [sys.executable, "-c", code, str(int(number))]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert subprocess.check_output(words, text=True).strip() == "True"
        with small_run._answered():
            assert subprocess.check_output(words, text=True).strip() == "False"
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_the_table_has_a_row_for_each_kind_that_was_drawn() -> None:
    conditions = reliability.FaultConditions(
        seed=0, kinds=("worker killed",), span_s=20.0, undisturbed={}, environment=Environment()
    )
    text = reliability.report_text(
        [conditions], [one("worker killed"), one("GCS killed"), one("GCS killed", met=False), one("GCS killed", "lost")]
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == ["| worker killed | 1 | 1 | 1 |  | 1 | 0 |", "| GCS killed | 3 | 2 | 0 | 2 s | 1 | 1 |"]
    assert "--seed 0 --kind 'worker killed' --out DIRECTORY" in text


def test_the_report_says_which_injections_met_code_with_uncommitted_changes() -> None:
    conditions = reliability.FaultConditions(
        seed=0, kinds=(), span_s=20.0, undisturbed={}, environment=Environment(commit="1" * 40, rksearch="9")
    )
    later = Environment(commit="2" * 40, dirty=True).code
    text = reliability.report_text([conditions], [one("GCS killed"), replace(one("GCS killed"), commit=later)])
    assert f"rksearch 9, commits {'1' * 40}, {'2' * 40}, with uncommitted changes; " in text
    changed = replace(conditions, environment=replace(conditions.environment, dirty=True))
    same = replace(one("GCS killed"), commit="1" * 40)
    assert f"commits {'1' * 40}, with uncommitted changes; " in reliability.report_text([changed], [same])


def test_options_of_faults_belong_to_faults(answer: Callable[..., Answer], tmp_path: Path) -> None:
    for option in (["--kind", "GCS killed"], ["--out", tmp_path / "out"], ["--seed", "0"]):
        code, _, errors = answer("selftest", *option)
        assert (code, len(errors.strip().splitlines())) == (2, 1)
        assert "belong to --faults" in errors
    code, _, errors = answer("selftest", "--faults", "1", "--kind", "flood", "--out", tmp_path / "out")
    assert (code, len(errors.strip().splitlines())) == (2, 1)
    assert "'flood'" in errors


def test_an_empty_history_lacks_everything() -> None:
    assert differences({"ResNet-8@0": ()}, History()) == "1 trainings are lost: ResNet-8@0"


# -- on real runs


@pytest.mark.slow
@pytest.mark.ci
def test_the_quick_test_passes_here(tmp_path: Path) -> None:
    done = rksearch("selftest", cwd=tmp_path, timeout_s=400)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 5


@pytest.mark.slow
def test_some_random_faults_change_nothing(tmp_path: Path) -> None:
    done = rksearch("selftest", "--faults", "2", "--seed", "1", "--kind", "worker killed", "--kind", "ledger cut",
                    "--out", "out", cwd=tmp_path, timeout_s=800)  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "2 faults, 0 not as it should be" in done.stdout


def test_what_is_published_of_a_run_does_not_say_where_it_lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands say the resolved directory, whatever was typed."""
    monkeypatch.chdir(tmp_path)
    said = f"resume it with `rksearch resume {tmp_path.resolve()}/work/run-12`; its logs are in /tmp/ray/session_1/logs"
    kept = "resume it with `rksearch resume run-12`; its logs are in /tmp/ray/session_1/logs"
    assert placeless(said, Path("work/run-12")) == placeless(said, tmp_path / "work" / "run-12") == kept
