"""Deaths of workers that Ray Tune would take for the end of everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deaths_are_of_workers() -> Iterator[None]:
    """Let Tune take every error of Ray's about a task for the death of its worker, in the `with` block.

    Of a worker that Ray's memory monitor kills while it works, Tune 2.60 hears an `OutOfMemoryError`, which it does not
    know, and ends the whole session by it: one training that needs too much would end all. `RayActorManager` has no
    door for that, so its method is replaced.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import RayActorError, RayError, RayTaskError

    usual = RayActorManager._actor_task_failed

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        usual(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = usual
