import csv
import io
import json
from dataclasses import replace
from itertools import permutations

import pytest
from click.testing import CliRunner

from rksearch.arch import parse
from rksearch.arch.catalogue import list_models
from rksearch.arch.families import FAMILIES
from rksearch.arch.paper import paper_rows
from rksearch.cli.main import cli
from rksearch.errors import SpecError
from rksearch.results.paper_comparison import compare
from rksearch.results.records import ImageCounts, TestResult
from tests.helpers import ledgers


def test_all_eighty_rows_are_names():
    rows = paper_rows()
    assert len(rows) == 80
    assert [sum(r.table == t for r in rows) for t in (1, 2, 3, 4)] == [31, 12, 13, 24]
    for row in rows:
        spec = parse(row.arch)
        assert str(spec) == row.arch
        if row.printed_name.startswith("RKNet"):
            methods = "_".join(f"{p.s}x{p.r}" for p in spec.periods)  # type: ignore[attr-defined]
            assert row.printed_name == f"RKNet-{methods}"
            assert all(p.share == (row.share and p.r > 1) for p in spec.periods)  # type: ignore[attr-defined]
        else:
            assert row.printed_name == row.arch


@pytest.mark.parametrize("compared", compare(paper_rows(), []), ids=lambda c: f"{c.row.table}:{c.row.arch}")
def test_every_row_that_prints_a_count_prints_ours(compared):
    row = compared.row
    assert (compared.counts_agree is None) == (row.params_m is None)
    if row.params_m is not None:
        digits = len(row.params_m.partition(".")[2])
        assert round(compared.params_paper / 1e6, digits) == float(row.params_m)


def test_the_command_prints_every_row_and_says_that_they_agree():
    shown = CliRunner().invoke(cli, ["paper"])
    assert shown.exit_code == 0, shown.output
    for row in paper_rows():
        assert row.arch in shown.output
    assert "DIFFER" not in shown.output
    printed = sum(r.params_m is not None for r in paper_rows())
    assert f"{printed} of {printed} printed parameter counts equal ours" in shown.output


def test_csv_of_one_table_holds_raw_numbers():
    shown = CliRunner().invoke(cli, ["paper", "--table", "2", "--csv"])
    records = list(csv.DictReader(io.StringIO(shown.output)))
    assert [r["arch"] for r in records] == [r.arch for r in paper_rows(2)]
    assert records[0]["paper_params_m"] == "0.8"
    assert float(records[0]["paper_error_pct"]) == 22.27
    assert records[0]["params"].isdigit()
    assert {r["counts_agree"] for r in records} == {"True"}
    assert records[0]["our_error_pct"] == ""


def test_families_are_those_of_their_samples():
    for family in FAMILIES:
        for name in (family.sample, *family.relatives):
            assert parse(name).family == family.key
    shown = CliRunner().invoke(cli, ["families", "--json"])
    assert [f["key"] for f in json.loads(shown.output)] == [f.key for f in FAMILIES]
    lines = CliRunner().invoke(cli, ["families"]).output.splitlines()
    assert len(lines) == len(FAMILIES.items())
    assert all(f.sample in line and f.source in line for f, line in zip(FAMILIES, lines, strict=True))


def test_list_models_holds_the_paper_and_filters():
    names = list_models()
    assert len(names) == len(set(names))
    assert {row.arch for row in paper_rows()} <= set(names)
    assert all(str(parse(name)) == name for name in names)
    assert list_models(family="cliquenet") == [n for n in names if n.startswith("CliqueNet")]
    assert list_models("*@rk4*", family="residual") == ["RKNet-Res-4x1@rk4_2x1@heun2_2x1@heun2"]
    with pytest.raises(SpecError, match="did you mean 'resnet'"):
        list_models(family="resnets")


def test_our_errors_stand_beside_the_papers(tmp_path):
    ledger = ledgers.begin(tmp_path)
    arch = paper_rows(1)[15].arch
    ledger.write_trial(ledgers.trial(arch), ledgers.complete(7.5), wall_time_s=1.0)
    ledger.write_trial(ledgers.trial(arch, replicate=1), ledgers.complete(8.5), wall_time_s=1.0)
    shown = CliRunner().invoke(cli, ["paper", "--table", "1", "--ledger", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.output.splitlines() if line.startswith(arch)]
    assert line.split()[-8:] == ["4.75", "8.00", "(val,", "2", "seeds)", "8", "10,000", "short"]
    assert "1 of 31 rows have trainings of ours." in shown.output
    # The same architecture on another data set has not been trained.
    other = CliRunner().invoke(cli, ["paper", "--table", "2", "--ledger", str(tmp_path)])
    assert "seeds" not in other.output
    assert "0 of 12 rows have trainings of ours." in other.output


def test_columns_of_trainings_stand_where_there_are_ledgers(tmp_path):
    ledgers.begin(tmp_path)
    for arguments, has in (([], False), (["--ledger", str(tmp_path)], True)):
        shown = CliRunner().invoke(cli, ["paper", "--table", "4", *arguments]).output
        assert all((word in shown) == has for word in ("our error %", "epochs", "recipe", "trainings of ours"))
        assert max(len(line) for line in shown.splitlines() if line.startswith(("architecture", "R"))) <= 110


def trained_run(run_dir, errors_pct, *, epochs=8, images=10_000, tested=None):
    """A run of ResNet-20, one seed for each error; a training on all images reads the test set where asked."""
    ledger = ledgers.begin(run_dir, epochs=epochs)
    counts = ImageCounts(train=images, val=5_000)
    for i, error in enumerate(errors_pct):
        result = replace(ledgers.complete(error, epochs=epochs), images=counts)
        ledger.write_trial(ledgers.trial("ResNet-20", i, epochs=epochs), result, wall_time_s=1.0)
    if tested is not None:
        final = ledgers.trial("ResNet-20", 0, "final", epochs)
        result = replace(ledgers.complete(50.0, epochs=epochs), images=ImageCounts(train=images + 5_000, val=0))
        ledger.write_trial(final, result, wall_time_s=1.0)
        ledger.write_test(final, TestResult(test_error_pct=tested, test_loss=1.0, test_images=10_000))
    return run_dir


def ours(*run_dirs):
    """What is printed of ours beside ResNet-20, as JSON; the CSV has the same."""
    options = [word for run_dir in run_dirs for word in ("--ledger", str(run_dir))]
    found = json.loads(CliRunner().invoke(cli, ["paper", "--table", "4", "--json", *options]).output)
    text = CliRunner().invoke(cli, ["paper", "--table", "4", "--csv", *options]).output
    (row,) = [row for row in found if row["arch"] == "ResNet-20"]
    (same,) = [row for row in csv.DictReader(io.StringIO(text)) if row["arch"] == "ResNet-20"]
    names = ("our_error_pct", "our_error_kind", "seeds", "our_epochs", "our_recipe", "our_train_images")
    assert [same[name] for name in names] == ["" if row[name] is None else str(row[name]) for name in names]
    return tuple(row[name] for name in names)


def test_of_several_ledgers_a_row_takes_the_most_epochs_then_the_most_images(tmp_path):
    short = trained_run(tmp_path / "short", [30.0, 32.0])
    long = trained_run(tmp_path / "long", [12.0], epochs=30, images=8_000)
    large = trained_run(tmp_path / "large", [10.0], epochs=30, images=45_000)
    tested = trained_run(tmp_path / "tested", [11.0], epochs=30, images=45_000, tested=9.0)
    assert ours() == (None, None, None, None, None, None)
    assert ours(short) == (31.0, "val", 2, 8, "short", 10_000)
    for order in ((short, long), (long, short)):
        assert ours(*order) == (12.0, "val", 1, 30, "short", 8_000)
    for order in permutations((short, long, large)):
        assert ours(*order) == (10.0, "val", 1, 30, "short", 45_000)
    # The error of the test set is of trainings that saw the validation images too.
    for order in ((large, tested), (tested, large)):
        assert ours(*order) == (9.0, "test", 1, 30, "short", 50_000)
