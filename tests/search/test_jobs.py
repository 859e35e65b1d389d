"""What Ray's workers know of the driver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ray.job_config import JobConfig

from rksearch.search.ray.jobs import RunJob, job

WORKING = "/somebody/elses/run"


@pytest.mark.parametrize(("path", "seen"), [(["/usr/lib/python"], []), (["", "/usr/lib/python"], [WORKING])])
def test_workers_look_in_the_working_directory_where_the_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: list[str], seen: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", path)
    own = job("run", None)
    own._py_driver_sys_path.append(str(tmp_path))  # as `ray.init` does
    shown = [WORKING if place == str(tmp_path) else place for place in own._get_proto_job_config().py_driver_sys_path]
    assert shown == seen
    assert own.metadata == {"job_name": "run"}


def test_the_server_of_a_ray_client_is_given_no_class_of_ours() -> None:
    assert type(job("run", "ray://127.0.0.1:10001")) is JobConfig
    assert type(job("run", "127.0.0.1:6379")) is RunJob
