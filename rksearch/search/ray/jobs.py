"""A run as Ray's job: what its workers know of the driver."""

from __future__ import annotations

import os
import sys
from typing import Any

from ray.job_config import JobConfig


class RunJob(JobConfig):
    """A job whose workers look for modules where its driver does.

    Ray puts the driver's working directory first on the path of every worker. That may be somebody else's run, and the
    `rksearch` command takes no modules from it: its workers must not either. A notebook's driver does.
    """

    _py_driver_sys_path: list[str]

    def _get_proto_job_config(self) -> Any:
        known = {os.path.abspath(place) for place in sys.path}  # an empty one is the working directory
        self._py_driver_sys_path = [place for place in self._py_driver_sys_path if os.path.abspath(place) in known]
        return super()._get_proto_job_config()


def job(name: str, address: str | None) -> JobConfig:
    """Settings of the job of a run.

    Args:
        name: of the job.
        address: of the Ray that is joined; None for one that is started. The server of a Ray client, which reads the
            settings in the client's place, may know no classes of ours.
    """
    kind = JobConfig if address is not None and address.startswith("ray://") else RunJob
    return kind(metadata={"job_name": name})
