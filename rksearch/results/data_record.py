"""The data set of a run as its ledger keeps it, so that reports and exports need neither images nor plugins."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rksearch.data.facts import Dataset, datasets


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """Facts about the data set of a run; see `rksearch.data.dataset.Dataset` for each."""

    name: str
    channels: int
    height: int
    width: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str = ""
    crop_padding: int = 0
    flip: bool = False
    val_fraction: float = 0.1
    source: str = ""
    licence: str = ""
    citation: str = ""
    class_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    notes: tuple[str, ...] = ()
    streamed: bool = False

    @classmethod
    def of(cls, dataset: Dataset) -> DataRecord:
        """The record of a data set."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in dataset.facts().items() if key in known})

    @property
    def dataset(self) -> Dataset:
        """The data set, without its loader.

        Raises:
            DataError: a fact breaks a rule.
        """
        return Dataset.from_facts({f.name: getattr(self, f.name) for f in fields(self)})


def registered_data(name: str) -> DataRecord | None:
    """The record of the registered data set of this name; None where there is none."""
    known = datasets.items().get(name)
    return None if known is None else DataRecord.of(known)
