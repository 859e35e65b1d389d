"""A disk that fills up under a run, which then ends in one line and goes on when there is room."""

import errno
import json
import subprocess
from pathlib import Path

import pytest

from rksearch.errors import RunError, unwritable
from tests.helpers.command_line import TINY_SPACE, command, environment, python
from tests.helpers.mounts import MOUNTS, can_mount

QUICKSTART = Path(__file__).parents[2] / "reports" / "quickstart"

FILLED = """
mount -t tmpfs -o size=8m full small || exit 99
( until grep -q '"event":"trial"' small/run/ledger.jsonl 2> /dev/null; do sleep 0.1; done
  head -c 100000000 /dev/zero > small/fill 2> /dev/null ) &
"$@" run --space tiny.yaml --out small/run > shown 2> errors
echo $? > code
wait
cp small/run/ledger.jsonl interrupted.jsonl
rm small/fill
"$@" resume small/run > shown_later 2> errors_later
echo $? > code_later
cp small/run/ledger.jsonl finished.jsonl
"""


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_a_run_in_one_line_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    if not can_mount(tmp_path / "small"):
        pytest.skip("nothing can be mounted here")
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("trials: 3", "trials: 8"))
    subprocess.run([*MOUNTS, FILLED, "sh", *command()], cwd=tmp_path, env=environment(), check=True, timeout=300)
    errors = (tmp_path / "errors").read_text()
    assert (tmp_path / "code").read_text() == "1\n", errors
    assert len(errors.splitlines()) == 1
    assert "No space left on device" in errors
    assert "make room" in errors
    interrupted, finished = records(tmp_path / "interrupted.jsonl"), records(tmp_path / "finished.jsonl")
    assert (tmp_path / "code_later").read_text() == "0\n", (tmp_path / "errors_later").read_text()
    assert finished[: len(interrupted)] == interrupted
    assert [record["state"] for record in finished if record["event"] == "end"] == ["failed", "finished"]
    trials = [record["trial"] for record in finished if record["event"] == "trial"]
    assert len(trials) == len(set(trials)) >= 10


@pytest.mark.parametrize(
    ("args", "file"),
    [
        (("report", str(QUICKSTART), "--to", "report"), "report/run.yaml"),
        (("space", "export", "quickstart", "--to", "space.parquet"), "space.parquet"),
        (("describe", "DenseNet-10-k2", "--draw", "net.svg"), "net.svg"),
        (("run", "--space", "quickstart", "--out", "run"), "run"),
        (("export", "DenseNet-10-k2", "--to", "exported"), "exported"),
    ],
)
def test_a_limit_of_file_sizes_is_no_bad_input(tmp_path: Path, args: tuple[str, ...], file: str) -> None:
    limit = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); sys.argv[1:] = {args!r}"
    done = python("-c", f"{limit}; from rksearch.cli.main import main; main()", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("rksearch: "))
    assert file in line
    assert "File too large" in line
    assert line.endswith("or raise the limit of file sizes (`ulimit -f`)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "file", "library"), [("--program", "model.pt2", "torch"), ("--onnx", "model.onnx", "onnxruntime")]
)
def test_a_program_for_which_there_is_no_room_leaves_no_part_of_it(
    tmp_path: Path, option: str, file: str, library: str
) -> None:
    pytest.importorskip(library)
    args = ("export", "DenseNet-10-k2", "--dataset", "digits", "--to", "exported", option)
    limit = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000,) * 2); sys.argv[1:] = {args!r}"
    # Python takes a file of bytecode that was cut by the limit for a whole one, in every later process.
    done = python("-B", "-c", f"{limit}; from rksearch.cli.main import main; main()", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert "an export must be written to exported, but that failed (File too large)" in line
    assert (tmp_path / "exported" / "spec.json").is_file()
    assert not (tmp_path / "exported" / file).exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG])
def test_where_another_path_would_help_the_path_is_bad_input(number: int) -> None:
    assert unwritable(RunError("no; choose another"), OSError(number, "no")).exit_code == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_where_no_path_would_help_the_world_is_at_fault(number: int) -> None:
    assert unwritable(RunError("no; choose another"), OSError(number, "no")).exit_code == 1
