"""Networks and trainings of a table for searches of others, which choose by decisions and may choose again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rksearch.bench.replay.table import NoFurtherTraining, Table
from rksearch.results.records import TrialResult


class Lookup:
    """Finds the network of a configuration, and gives each training of a network once.

    Args:
        table: what is searched.
        repetition: decides the order of a network's trainings.
    """

    def __init__(self, table: Table, *, repetition: int) -> None:
        self._table = table
        self._repetition = repetition
        self._given: dict[str, int] = {}

    def arch(self, decisions: Mapping[str, Any]) -> str | None:
        """Name of the member that these decisions make; None where they make none."""
        spec = self._table.space.from_choices(decisions)
        return str(spec) if spec in self._table.space else None

    def training(self, arch: str) -> TrialResult | None:
        """The next training of a network; None when the table has no further one to hand out."""
        replicate = self._given.get(arch, 0)
        try:
            training = self._table.training(arch, repetition=self._repetition, replicate=replicate)
        except NoFurtherTraining:
            return None
        self._given[arch] = replicate + 1
        return training
