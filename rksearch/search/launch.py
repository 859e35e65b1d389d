"""A session that is about to begin: its run's directory and ledger, and where its images lie."""

from __future__ import annotations

import os
from pathlib import Path

from rksearch.data.address import is_address, read_address
from rksearch.data.locations import data_home
from rksearch.errors import RunError
from rksearch.results.history import History
from rksearch.results.ledger import Follower, Ledger
from rksearch.results.run_dir import Places, RunDir
from rksearch.results.storage_address import absolute_address
from rksearch.search.resources import Resources, as_before, unusable
from rksearch.search.stopping import StopRequest
from rksearch.search.view import View


class Launch:
    """A session that is about to begin: the run's directory, its ledger and what may be used.

    The ledger is read from its beginning once; `refresh` reads what was appended since.

    Attributes:
        run_dir: the run's directory.
        resources: what the session may use.
        view: shows the progress.
        stop: whether the session is asked to end.
        images: training and validation images of the data set, once they are loaded.
        chosen: fields of `resources` that the user stated; None where the run begins, and all of them count.
        looked: where the data set was looked for.
        ledger: the run's ledger.
        follower: reads it.
    """

    def __init__(self, run_dir: RunDir, resources: Resources, view: View) -> None:
        self.run_dir = run_dir
        self.resources = resources
        self.view = view
        self.stop = StopRequest()
        self.images = 0
        self.chosen: frozenset[str] | None = None
        self.looked: tuple[Path, ...] = ()
        self.ledger = Ledger(run_dir.path)
        self.follower: Follower = self.ledger.follow()

    def refresh(self) -> History:
        """Everything that the ledger says now."""
        return self.follower.refresh()

    def as_before(self, history: History, chosen: frozenset[str]) -> None:
        """Take over the last session's resources, except for the `chosen` ones."""
        if history.sessions:
            options = history.sessions[-1].options
            self.resources = as_before(self.resources, chosen, options)
            if bad := unusable(chosen, options):
                self.view.message(f"Damaged options of the last session, which are not taken over: {bad}")
        self.chosen = chosen

    def places(self, directory: Path) -> Places:
        """Where images and copies of checkpoints lie; options of earlier sessions mean what they meant there.

        Data sets are looked for where the user says now, then where the last session had them, then relative to the
        run's directory, then where `data_home` says.
        """
        resources, chosen = self.resources, self.chosen
        now = "data_dir" in chosen if chosen is not None else resources.data_dir is not None
        looked = [data_home(resources.data_dir)] if now else self.run_dir.data_dirs(resources.data_dir)
        if not now:
            looked.append(data_home(None))
        storage = resources.storage and (
            absolute_address(resources.storage)
            if chosen is None or "storage" in chosen
            else self.run_dir.storage(resources.storage)
        )
        self.looked = tuple(looked)
        return Places(
            directory=directory,
            data_dir=next((place for place in looked if os.path.isdir(place)), looked[0]),
            storage=storage,
        )


def images_base(run_dir: RunDir, dataset_name: str) -> Path | None:
    """Directory beneath which the images of a run lie, where their path is relative; None where that is not noted.

    Raises:
        RunError: they lie beneath none of those that are likely.
    """
    noted = run_dir.places()
    if not is_address(dataset_name) or (address := read_address(dataset_name)).kind == "torchvision":
        return noted.directory if noted and os.path.isdir(noted.directory) else None
    looked = run_dir.directories()
    for base in looked:
        if os.path.exists(address.path(base)):
            return base
    raise RunError(
        f"the images of a run must be found again, but {dataset_name} is in none of "
        f"{', '.join(map(str, dict.fromkeys(address.path(base) for base in looked)))}; put them back"
    )
