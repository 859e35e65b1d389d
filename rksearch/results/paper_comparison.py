"""The RKNet paper's tables beside our counts and the errors of our trainings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.arch.paper import PaperRow, counts_agree
from rksearch.data.facts import dataset
from rksearch.results.history import History
from rksearch.results.summaries import shared_value, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class OurError:
    """Mean error of an architecture's trainings in one run, and how they trained.

    Attributes:
        error_pct: the mean error.
        kind: `test`, or `val` where the test set was not read.
        seeds: count of trainings in that mean.
        epochs, recipe: their length and the name of their recipe; None where they differ.
        train_images: images that each trained on; None where they differ or do not say.
    """

    error_pct: float
    kind: str
    seeds: int
    epochs: int | None
    recipe: str | None
    train_images: int | None

    @property
    def closeness(self) -> tuple[int, int, bool]:
        """Closeness to the paper's setting, which has hundreds of epochs on all images and reads the test set."""
        return self.epochs or 0, self.train_images or 0, self.kind == "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A row of the paper beside ours.

    Attributes:
        row: the printed row.
        params, params_paper, macs: our counts, with and without batch norm; see `rksearch.arch.cost`.
        counts_agree: whether `params_paper` rounds to the printed count; None where none is printed.
        ours: our error, of the trainings that are closest to the paper's; None where there are none.
    """

    row: PaperRow
    params: int
    params_paper: int
    macs: int
    counts_agree: bool | None
    ours: OurError | None


def compare(rows: Iterable[PaperRow], histories: Iterable[History]) -> list[Compared]:
    """Every row beside our counts and the trainings of our runs.

    Of several runs that trained a row's network, the one of most epochs counts, then that of most images.
    """
    ours: dict[tuple[str, str], OurError] = {}
    for history in histories:
        for key, found in _errors(history):
            if key not in ours or found.closeness > ours[key].closeness:
                ours[key] = found
    return [_compare(row, ours.get((row.dataset, row.arch))) for row in rows]


def _errors(history: History) -> Iterator[tuple[tuple[str, str], OurError]]:
    """Our error by data set and architecture."""
    for item in summarise(history):
        trial_ids = item.test_trial_ids or item.trial_ids
        trials = [history.trials[trial_id] for trial_id in trial_ids]
        yield (
            (trials[0][0].dataset, item.arch),
            OurError(
                error_pct=item.val_error_pct if item.test_error_pct is None else item.test_error_pct,
                kind="val" if item.test_error_pct is None else "test",
                seeds=len(trials),
                epochs=shared_value(spec.recipe.epochs for spec, _ in trials),
                recipe=shared_value(spec.recipe.name for spec, _ in trials),
                train_images=shared_value(result.images.train or spec.train_images for spec, result in trials),
            ),
        )


def _compare(row: PaperRow, ours: OurError | None) -> Compared:
    counted = cost(parse(row.arch), dataset(row.dataset))
    return Compared(
        row=row,
        params=counted.params,
        params_paper=counted.params_paper,
        macs=counted.macs,
        counts_agree=counts_agree(row, counted),
        ours=ours,
    )
