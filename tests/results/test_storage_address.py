"""Addresses of storages: credentials in them are refused and shown nowhere; what lies beneath one has its own place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow.fs import FileSystem

from rksearch.errors import RunError
from rksearch.results.environment import current_environment
from rksearch.results.storage_address import absolute_address, beneath, require_no_credentials, without_credentials
from rksearch.search.resources import Resources
from tests.helpers.command_line import TINY_SPACE, Answer
from tests.helpers.ledgers import begin

SECRET = "wJalrX/UtnFEMI+bPxRf%2FiCY"  # noqa: S105 - of nobody
WITH_SECRETS = (
    f"s3://AKIAKEY:{SECRET}@bucket/runs",
    f"s3://AKIAKEY:{SECRET}@bucket/runs?region=eu-central-1",
    f"s3://bucket/runs?secret_key={SECRET}&region=eu-central-1",
    f"s3://bucket/runs?region=eu-central-1&session_token={SECRET}",
    f"abfs://:{SECRET}@account.blob.core.windows.net/container",
    f"abfs://container@account.dfs.core.windows.net/runs?sig={SECRET}",
    f"fsspec+https://user:{SECRET}@host/runs",
    f"hdfs://user:{SECRET}@host:8020/runs",
    f"s3://{SECRET}:@bucket",
)
WITHOUT = (
    "s3://bucket/runs",
    "s3://bucket/runs?region=eu-central-1&scheme=http&endpoint_override=localhost%3A9000",
    "abfs://container@account.dfs.core.windows.net/runs",
    "gs://anonymous@bucket/runs",
    "hdfs://host:8020/runs",
    "file:///data/runs",
    "/data/a:b@c/runs",
    "runs",
)


@pytest.mark.parametrize("address", WITH_SECRETS)
def test_secrets_are_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(RunError, match="must name no user, password, key or token") as error:
        require_no_credentials(address)
    assert SECRET not in str(error.value)
    assert SECRET not in without_credentials(address)
    assert SECRET not in without_credentials(f"--storage={address} and then {address}")
    assert without_credentials(address).partition("://")[0] == address.partition("://")[0]
    with pytest.raises(RunError):
        Resources(storage=address)


@pytest.mark.parametrize("address", WITHOUT)
def test_other_addresses_stay_as_they_are(address: str) -> None:
    require_no_credentials(address)
    assert without_credentials(address) == address
    assert Resources(storage=address).storage == address
    assert absolute_address(address).endswith(address)


@pytest.mark.parametrize("address", WITH_SECRETS)
def test_nothing_that_a_command_leaves_holds_the_secret(
    tmp_path: Path, answer: Callable[..., Answer], address: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    code, shown, errors = answer(
        "run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path / "run", "--storage", address
    )
    assert (code, shown) == (2, "")
    assert len(errors.splitlines()) == 1
    ledger = begin(tmp_path / "begun")
    before = ledger.path.read_bytes()
    code, shown, errors_of_resume = answer("resume", tmp_path / "begun", "--storage", address)
    assert (code, shown) == (2, "")
    assert ledger.path.read_bytes() == before
    left = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in errors + errors_of_resume + left


def test_the_recorded_command_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["rksearch", "run", "--storage", WITH_SECRETS[0], f"--storage={WITH_SECRETS[2]}"])
    command = current_environment().command
    assert SECRET not in " ".join(command)
    assert command == (
        "rksearch",
        "run",
        "--storage",
        "s3://***@bucket/runs",
        "--storage=s3://bucket/runs?secret_key=***&region=eu-central-1",
    )


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)
BASES = (
    "s3://bucket/runs?region=eu-central-1",
    "s3://bucket/runs/?scheme=http&endpoint_override=localhost%3A9000&region=eu-central-1",
    "s3://bucket?region=eu-central-1",
    "file:///data/my%20runs",
    "file:///data/runs?",
    "/data/runs",
    "/data/100%?/my runs#1/",
)


@example("my run", "ResNet-8@0")
@example("run#1", "läuf")
@example("100%", "what?region=us-east-1")
@given(NAMES, NAMES)
def test_what_lies_beneath_an_address_is_at_the_place_of_its_names(run: str, trial: str) -> None:
    for base in BASES:
        _, place = FileSystem.from_uri(base)
        filesystem, found = FileSystem.from_uri(beneath(base, run, "trials", trial))
        assert found == f"{place.rstrip('/')}/{run}/trials/{trial}"
        assert filesystem == FileSystem.from_uri(base)[0], "its parameters count"


def test_what_lies_beneath_an_address_of_fsspec_is_named_as_it_is() -> None:
    _, found = FileSystem.from_uri(beneath("fsspec+memory://data/runs/", "my run#1", "ResNet-8@0"))
    assert found == "/data/runs/my run#1/ResNet-8@0"


@pytest.mark.parametrize("base", ["s3://bucket/runs", "s3://bucket/runs/", "gs://bucket/runs", "runs", "/data/runs/"])
def test_usual_names_keep_their_place(base: str) -> None:
    names = ("cifar10_bc-1-20260131T120001Z", "trials", "RKNet-BC-k2-m2_2-1x2s_1x1@final0")
    assert beneath(base, *names) == "/".join((base.rstrip("/"), *names))


def test_an_address_with_a_fragment_is_refused(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    for words in (("run", "--space", "quickstart", "--out", tmp_path / "run"), ("resume", tmp_path)):
        code, _, errors = answer(*words, "--storage", "s3://bucket/run#1")
        [line] = errors.splitlines()
        assert code == 2
        assert "--storage must be a URI without #" in line
        assert "'s3://bucket/run#1'; write %23" in line
    assert not (tmp_path / "run").exists()
    for address in ("s3://bucket/run%231", "fsspec+memory://run#1", "run#1"):
        assert Resources(storage=address).storage == address


@pytest.mark.parametrize("option", ["address", "storage"])
def test_what_is_no_text_is_refused(option: Literal["address", "storage"]) -> None:
    with pytest.raises(RunError, match=rf"--{option} must be of UTF-8, but got 'h\\udcff:1'"):
        Resources(**{option: "h\udcff:1"})  # type: ignore[arg-type]
