"""Runs whose command is given again, or that are extended: what may change, and what an error names."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.api.launch import plan_run
from rksearch.errors import DataError, RunError, SpaceError
from rksearch.recipes.shipped import recipe
from rksearch.report.facts import facts
from rksearch.results.data_record import DataRecord
from rksearch.results.history import History, RunRecord
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan, RacingRule
from rksearch.results.tables import tables
from rksearch.search import driver
from rksearch.search.continuing import Extension, continued, is_planned, require_extension, require_same_images
from rksearch.search.planning import Asked, plan_of
from rksearch.space import Space, parse_space
from tests.helpers.command_line import TINY_SPACE, Answer, rksearch

RUN = Path("run")
RULE = RacingRule(rungs=(1,), keep=0.5, bands=2, rank="val_error")


def space_of(text: str = TINY_SPACE) -> Space:
    return parse_space(text, name="tiny")


def planned(space: Space, **asked: object) -> Plan:
    return plan_of(space.definition, Asked(**asked), members=len(space))  # type: ignore[arg-type]


def begun(space: Space, plan: Plan, *started: str) -> History:
    """A run of the space that has begun some trainings."""
    record = RunRecord(
        time="2026-01-01T00:00:00Z",
        name="run",
        space=space.summary(),
        plan=plan,
        data=DataRecord.of(space.definition.dataset),
    )
    return History(run=record, plans=(record,), started=started or ("ResNet-8@0",))


def again(text: str, history: History, **asked: object) -> Plan:
    """The plan with which the run continues after its command is given again, with another text of its space."""
    space, wishes = space_of(text), Asked(**asked)  # type: ignore[arg-type]
    plan = plan_of(space.definition, wishes, members=len(space))
    return continued(history, space, plan, wishes.stated, RUN)


def test_the_same_command_continues_with_the_same_plan() -> None:
    space = space_of()
    plan = planned(space, trials=3)
    history = begun(space, plan)
    assert again(TINY_SPACE, history, trials=3) == plan
    assert is_planned(history, space, plan)


def test_a_comment_or_another_description_is_no_other_space() -> None:
    plan = planned(space_of())
    history = begun(space_of(), plan)
    text = "# A comment.\n" + TINY_SPACE.replace("tiny networks for tests", "the same ones")
    assert again(text, history) == plan
    assert is_planned(history, space_of(text), plan)


@pytest.mark.parametrize(
    ("old", "new", "field", "before", "now"),
    [
        ("growth_rate: [4]", "growth_rate: [4, 6]", "growth_rate", "4", "4, 6"),
        ("m: [1, 2], s: [1], r: [1, 2]", "m: [1, 3], s: [1], r: [1, 2]", "periods[1].m", "1, 2", "1, 3"),
        ("dataset: digits", "dataset: digits\nbudgets: {params: [null, 9000]}", "budgets.params.high", "none", "9000"),
        ("dataset: digits", "dataset: digits\nconstraints: [m1 <= m2]", "constraints", "none", "m1 <= m2"),
        ("epochs: 2", "epochs: 3", "recipe.epochs", "2", "3"),
        ("train_images: 100", "train_images: 120", "train_images", "100", "120"),
        ("racing: false", "racing: true", "racing", "none", "rungs 1"),
    ],
)
def test_a_mismatch_names_the_field_and_both_values(old: str, new: str, field: str, before: str, now: str) -> None:
    assert old in TINY_SPACE
    history = begun(space_of(), planned(space_of()))
    with pytest.raises(RunError) as raised:
        again(TINY_SPACE.replace(old, new), history)
    message = str(raised.value)
    assert re.match(rf"a run keeps the {re.escape(field)} it began with, but run has {re.escape(before)} and ", message)
    assert f"and {now}" in message
    assert "{" not in message, "two dictionaries tell nobody anything"


def test_a_run_of_a_version_that_raced_by_default_continues_to_race() -> None:
    space = space_of(TINY_SPACE.replace("search: {racing: false, replicates: 0}\n", ""))
    text = space.definition.yaml
    raced = replace(planned(space), racing=RULE)
    history = begun(space, raced)
    assert again(text, history).racing == RULE
    assert again(f"# A comment.\n{text}", history).racing == RULE
    with pytest.raises(RunError, match="a run keeps the racing it began with"):
        again(text, history, racing=False)


def test_a_sampler_that_was_the_default_stays_and_another_one_is_refused() -> None:
    history = begun(space_of(), replace(planned(space_of()), sampler="tpe"))
    assert again(TINY_SPACE, history).sampler == "tpe"
    with pytest.raises(RunError, match="a run keeps the sampler it began with, but run has tpe and random was asked"):
        again(TINY_SPACE, history, sampler="random")


def test_seeds_rise_by_command_or_file_and_never_fall() -> None:
    space = space_of()
    plan = planned(space, final_seeds=3)
    history = begun(space, plan)
    assert again(TINY_SPACE, history).final_seeds == 3, "what a resumed run was given is not taken back"
    assert again(TINY_SPACE, history, final_seeds=5).final_seeds == 5
    assert again(TINY_SPACE.replace("final: 2", "final: 6"), history).final_seeds == 6
    with pytest.raises(RunError, match="the seeds of a run may be raised, but run has 3 and 2 was asked for; give 3"):
        again(TINY_SPACE, history, final_seeds=2)
    with pytest.raises(RunError, match="the seeds of a run may be raised"):
        again(TINY_SPACE.replace("final: 2", "final: 1"), history)


def test_baselines_are_added_by_file_or_resume_and_stay() -> None:
    space = space_of()
    plan = planned(space)
    history = begun(space, plan)
    more = again(TINY_SPACE.replace("ResNet-8]", "ResNet-8, ResNet-14]"), history)
    assert more.baselines == (*plan.baselines, "ResNet-14")
    extended = begun(space, Extension(baselines=("ResNet-14",)).of(plan))
    assert again(TINY_SPACE, extended).baselines == (*plan.baselines, "ResNet-14")
    with pytest.raises(RunError, match=r"a run keeps its baselines, but run has ResNet-8 and the space file no longer"):
        again(TINY_SPACE.replace(", ResNet-8]", "]"), history)


def test_a_candidate_is_no_new_baseline() -> None:
    space = space_of()
    plan = planned(space)
    candidate = str(space.at(0))
    history = begun(space, plan, f"{candidate}@0")
    with pytest.raises(
        RunError, match=f"a new baseline is a network that the run does not train yet, but run has {candidate}"
    ):
        require_extension(history, Extension(baselines=(candidate,)).of(plan), space.definition.dataset, RUN)


def test_a_run_of_a_space_that_earlier_rules_allowed_goes_on(tmp_path: Path) -> None:
    """Its text stands in the ledger, where no remedy can reach it."""
    member = next(str(spec) for spec in space_of() if "2_" not in str(spec))
    text = TINY_SPACE + f"known: [{member}@euler]\nconstraints: [m1 <= 9, m1 <= 9]\n"
    with pytest.raises(SpaceError, match=r"tiny\.yaml:"):
        space_of(text)
    space = parse_space(text, name="tiny", recipe=recipe("fast"))
    assert [str(spec) for spec in space.definition.known] == [f"{member}@euler"]
    plan = planned(space)
    assert continued(begun(space, plan), space, plan, frozenset(), RUN) == plan


def test_a_space_that_means_other_networks_than_it_did_is_not_resumed(
    tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    space = space_of()
    summary = replace(space.summary(), canonical_size=len(space) + 5)
    ledger = Ledger(tmp_path / "run")
    ledger.write_run(name="run", space=summary, plan=planned(space), data=DataRecord.of(space.definition.dataset))
    before = ledger.path.read_bytes()
    for command in ("resume", "final"):
        code, _, error = answer(command, tmp_path / "run")
        assert (code, error.count("\n")) == (2, 1)
        assert "different networks, of which this version of rksearch reads" in error
    assert ledger.path.read_bytes() == before
    history = begun(space, planned(space))
    assert history.run is not None
    recorded = replace(history.run, space=summary)
    with pytest.raises(RunError, match="must mean what it meant when the run began"):
        again(TINY_SPACE, replace(history, run=recorded, plans=(recorded,)))


def test_images_that_are_padded_otherwise_are_other_images() -> None:
    space = space_of()
    history = begun(space, planned(space))
    assert history.run is not None
    assert history.run.data is not None
    own = replace(space.definition.dataset, fingerprint="aa", crop_padding=2)
    for padding, refuses in ((2, False), (0, False), (7, True)):
        data = replace(history.run.data, fingerprint="aa", crop_padding=padding)
        with pytest.raises(DataError, match="crop padding of 7, but this") if refuses else nullcontext():
            require_same_images(replace(history.run, data=data), own)


def test_an_extension_changes_what_it_names_alone() -> None:
    plan = planned(space_of())
    assert Extension().of(plan) == plan
    assert Extension(trials=9, final_seeds=5, replicates=2).of(plan) == replace(
        plan, trials=9, final_seeds=5, replicates=2
    )
    assert Extension(baselines=("ResNet-8", "ResNet-14", "ResNet-14")).of(plan).baselines[2:] == ("ResNet-14",)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory whose run has begun a training; nothing is trained by commands."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    monkeypatch.chdir(tmp_path)
    run = plan_run("tiny.yaml", out="run")
    ledger = Ledger(Path("run"))
    ledger.write_run(
        name="run", space=run.space.summary(), plan=run.plan, data=DataRecord.of(run.space.definition.dataset)
    )
    ledger.write_start("ResNet-8@0")

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "begin_session", stop)
    return tmp_path / "run"


def test_resume_extends_a_run_and_the_ledger_has_the_new_plan(held: Path, answer: Callable[..., Answer]) -> None:
    code, _, _ = answer("resume", held, "--seeds", 5, "--replicates", 2, "--trials", 4, "--baseline", "ResNet-14")
    assert code == 130
    plan = Ledger(held).read().plan
    assert plan is not None
    assert (plan.final_seeds, plan.replicates, plan.trials) == (5, 2, 4)
    assert plan.baselines == ("DenseNet-10-k2", "ResNet-8", "ResNet-14")
    history = Ledger(held).read()
    extended = dict(facts(history, tables(history)))["Extended"]
    assert "candidates from 3 to 4, seeds of front and baselines from 2 to 5" in extended
    assert "baselines from DenseNet-10-k2, ResNet-8 to DenseNet-10-k2, ResNet-8, ResNet-14" in extended
    # The first command, given again, takes nothing of that back.
    code, _, errors = answer("run", "--space", "tiny.yaml", "--out", held, "--trials", 4, "--replicates", 2)
    assert code == 130, errors
    assert Ledger(held).read().plan == plan


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--seeds", "1"), "the seeds of a run may be raised, but"),
        (("--baseline", "ResNet-9"), "ResNet-9"),
        (("--seeds", "0"), "--seeds"),
    ],
)
def test_what_extends_nothing_is_one_line(
    held: Path, answer: Callable[..., Answer], options: tuple[str, ...], says: str
) -> None:
    ledger = (held / "ledger.jsonl").read_bytes()
    code, _, errors = answer("resume", held, *options)
    assert code == 2
    assert says in errors
    assert len(errors.strip().splitlines()) == 1
    assert (held / "ledger.jsonl").read_bytes() == ledger


@pytest.mark.slow
def test_an_extended_run_trains_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("epochs: 2", "epochs: 1"))
    done = rksearch("run", "--space", "tiny.yaml", "--out", "run", "--trials", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = Ledger(tmp_path / "run").read()
    done = rksearch("resume", "run", "--seeds", "3", "--baseline", "ResNet-14", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = Ledger(tmp_path / "run").read()
    assert after.repeated == 0
    assert after.state == "finished"
    new = set(after.trials) - set(before.trials)
    assert {f"ResNet-14@{i}" for i in range(3)} < new
    assert {"ResNet-8@2", "DenseNet-10-k2@2"} < new
    assert not any(trial.endswith("@0") for trial in new - {"ResNet-14@0"})
