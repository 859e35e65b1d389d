"""Commands on a run whose plugin is not installed: what is known here is shown, and the rest named by its line.

What would continue such a run is refused in one line where its plan needs the plugin, and nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.arch.families import FAMILIES
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.run_dir import read_run
from rksearch.search import driver
from rksearch.search.run_state import RunState
from rksearch.space import parse_space
from rksearch.space.summary import SpaceSummary
from tests.helpers.command_line import TINY_SPACE, Answer, rksearch
from tests.helpers.extending import example, installed, register_smooth, registrations_forgotten
from tests.helpers.ledgers import complete, environment_record, plan_record, trial

NAMES = ("SmoothRK-1x2_4x1@rk4", "SmoothRK-1x1_1x1")
LISTED = "dataset: digits\narchitectures: [{}]\nrecipe: {{name: short, epochs: 2}}\n"
CHOSEN = """
dataset: digits
families: [smooth]
periods: [{s: [1, 2], r: [1]}, {s: [1], r: [1]}]
recipe: {name: short, epochs: 2}
"""
CONTINUING = (("resume",), ("final",))


def tiny_summary(text: str = TINY_SPACE) -> SpaceSummary:
    return parse_space(text, name="tiny").summary()


def begun(
    run_dir: Path, *, space: SpaceSummary, sampler: str = "random", dataset: str = "digits", archs: tuple[str, ...] = ()
) -> Path:
    """A run whose plan and first trainings are recorded."""
    ledger = Ledger(run_dir)
    plan = plan_record(dataset=dataset, baselines=("ResNet-8",), known=(), sampler=sampler, trials=3, train_images=100)
    ledger.write_run(name="tiny", space=space, plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    for arch in ("ResNet-8", *archs):
        spec = replace(trial(arch), dataset=dataset, train_images=100)
        ledger.write_start(spec.id)
        ledger.write_trial(spec, complete(20.0), wall_time_s=1.0)
    return run_dir


@pytest.fixture
def smooth(tmp_path: Path) -> Path:
    """A run of listed networks, some of them of a family that is registered while it is written alone."""
    with registrations_forgotten(FAMILIES):
        register_smooth()
        space = tiny_summary(LISTED.format(", ".join(f'"{name}"' for name in NAMES)))
        return begun(tmp_path / "run", space=space, archs=NAMES)


@pytest.mark.parametrize("command", CONTINUING)
def test_what_continues_the_run_names_the_family_in_one_line(
    smooth: Path, answer: Callable[..., Answer], command: tuple[str, ...]
) -> None:
    before = (smooth / FILE_NAME).read_bytes()
    code, shown, errors = answer(command[0], smooth, *command[1:])
    assert (code, shown) == (2, "")
    assert errors == (
        f"rksearch: the families and data sets of a run must be registered to continue it, but {smooth / FILE_NAME} "
        f"names the family 'SmoothRK' ({NAMES[1]}); install the plugin that brings it, or import the "
        "module that registers it before this call\n"
    )
    assert (smooth / FILE_NAME).read_bytes() == before
    assert sorted(path.name for path in smooth.iterdir() if path.name != "work") == [FILE_NAME]


def test_status_shows_what_is_known_and_names_the_other_lines(smooth: Path, answer: Callable[..., Answer]) -> None:
    code, shown, errors = answer("status", smooth)
    assert (code, errors) == (0, "")
    assert "trainings 1 done" in shown
    lines = [number for number, line in enumerate((smooth / FILE_NAME).read_text().splitlines(), 1) if is_smooth(line)]
    assert len(lines) == 4
    assert "ledger: 4 unknown lines skipped" in shown
    for number in lines:
        [described] = [text for text in shown.splitlines() if f"line {number} (" in text]
        assert "the family 'SmoothRK' (SmoothRK-1x" in described
        assert described.endswith("must be registered; install the plugin that brings it")
    assert "to resume, the family 'SmoothRK'" in shown
    assert "damaged" not in shown
    found = json.loads(answer("status", smooth, "--json")[1])
    assert [item["line"] for item in found["unknown"]] == lines
    assert {item["name"] for item in found["missing"]} == {"SmoothRK"}
    assert found["damage"] == []


def is_smooth(line: str) -> bool:
    """Whether a line holds a start or a result of a network of the plugin."""
    record = json.loads(line)
    return record["event"] in ("start", "trial") and "SmoothRK" in line


def test_a_report_names_the_lines_it_leaves_out(smooth: Path, answer: Callable[..., Answer]) -> None:
    before = (smooth / FILE_NAME).read_bytes()
    code, _, errors = answer("report", smooth)
    assert (code, errors) == (0, "")
    readme = (smooth / "README.md").read_text()
    assert "4 unknown lines skipped (line 5 (start SmoothRK-" in readme
    assert "ResNet-8" in (smooth / "trials.csv").read_text()
    assert "SmoothRK" not in (smooth / "trials.csv").read_text()
    assert (smooth / FILE_NAME).read_bytes() == before


def test_a_run_whose_plan_needs_no_plugin_continues_without_the_unknown_line(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with registrations_forgotten(FAMILIES):
        register_smooth()
        run_dir = begun(tmp_path / "run", space=tiny_summary(), archs=NAMES[:1])
    asked: list[RunState] = []

    def ask_only(state: RunState, *args: object, **kwargs: object) -> None:
        asked.append(state)

    monkeypatch.setattr(driver, "run_tasks", ask_only)
    code, shown, errors = answer("resume", run_dir)
    assert (code, errors) == (130, "")
    assert len(asked) == 1
    assert "ResNet-8@0" in asked[0].history.trials
    assert "2 unknown lines skipped" in shown


def test_the_command_that_started_the_run_changes_nothing(
    smooth: Path, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    before = (smooth / FILE_NAME).read_bytes()
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", smooth)
    assert code == 2
    assert "the family 'SmoothRK'" in errors
    assert (smooth / FILE_NAME).read_bytes() == before


def test_with_the_plugin_installed_the_run_is_read(smooth: Path, tmp_path: Path) -> None:
    environment = installed(tmp_path / "site", "smooth", "smooth_rk", example("A family"))
    done = rksearch("status", str(smooth), env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "damaged" not in done.stdout
    assert "trainings 3 done" in done.stdout


def test_a_program_that_registers_the_family_later_reads_the_whole_run(smooth: Path) -> None:
    assert len(read_run(smooth).trials) == 1
    with registrations_forgotten(FAMILIES):
        register_smooth()
        assert len(read_run(smooth).trials) == 3


def test_a_plan_names_the_families_of_its_space(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    with registrations_forgotten(FAMILIES):
        register_smooth()
        run_dir = begun(tmp_path / "run", space=tiny_summary(CHOSEN))
    code, shown, errors = answer("status", run_dir)
    assert (code, errors) == (0, "")
    assert "to resume, the family 'smooth' must be registered; install the plugin" in shown
    code, _, errors = answer("resume", run_dir)
    assert code == 2
    assert "names the family 'smooth'; install the plugin" in errors
    assert len(errors.splitlines()) == 1


def test_results_on_a_data_set_that_is_not_registered_are_shown(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    run_dir = begun(tmp_path / "run", space=tiny_summary(), dataset="rings")
    code, shown, errors = answer("status", run_dir)
    assert (code, errors) == (0, "")
    assert "trainings 1 done" in shown
    assert "skipped" not in shown
    assert "to resume, the data set 'rings' must be registered; install the plugin" in shown
    assert answer("report", run_dir)[0] == 0
    assert "ResNet-8" in (run_dir / "trials.csv").read_text()


@pytest.mark.parametrize("command", CONTINUING)
def test_a_data_set_that_is_not_registered_is_named(
    tmp_path: Path, answer: Callable[..., Answer], command: tuple[str, ...]
) -> None:
    run_dir = begun(tmp_path / "run", space=tiny_summary(), dataset="rings")
    code, shown, errors = answer(command[0], run_dir, *command[1:])
    assert (code, shown) == (2, "")
    assert "names the data set 'rings'; install the plugin that brings it" in errors
    assert len(errors.splitlines()) == 1


def test_a_sampler_that_is_not_registered_is_named_where_it_is_needed(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = begun(tmp_path / "run", space=tiny_summary(), sampler="local")
    before = (run_dir / FILE_NAME).read_bytes()
    monkeypatch.setattr(driver, "run_tasks", None)
    code, shown, errors = answer("resume", run_dir)
    assert (code, shown) == (2, "")
    assert errors == (
        f"rksearch: the sampler of a run must be registered, but {run_dir} names 'local'; install the plugin that "
        "brings it, or import the module that registers it before this call\n"
    )
    assert (run_dir / FILE_NAME).read_bytes() == before
    code, shown, errors = answer("status", run_dir)
    assert (code, errors) == (0, "")
    assert "proposed by local with seed 0" in shown


def test_a_flipped_bit_in_a_family_is_damage(smooth: Path, answer: Callable[..., Answer]) -> None:
    ledger = smooth / FILE_NAME
    lines = ledger.read_bytes().splitlines(keepends=True)[:4]
    assert b"ResNet-8@0" in lines[3]
    lines[3] = lines[3].replace(b"ResNet", b"SesNet", 1)
    ledger.write_bytes(b"".join(lines))
    with registrations_forgotten(FAMILIES):
        register_smooth()
        code, shown, errors = answer("status", smooth)
    assert (code, errors) == (0, "")
    assert "line 4 (trial SesNet-8@0): crc: the checksum differs" in shown
