"""Columns of all tables: the one list of field, label and kind behind the page, the CSV files, hovers and axes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rksearch.space.plan import TOP1, ErrorMetric

if TYPE_CHECKING:
    from rksearch.results.history import History
    from rksearch.results.records import TrialResult, TrialSpec

ColumnKind = Literal["text", "flag", "whole", "size", "pct", "share", "seconds", "ms", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One column.

    Attributes:
        field: attribute of the row, and heading in CSV files.
        label: heading for people.
        kind: how a value is formatted; also how it is aligned and sorted.
        sd: attribute that holds the standard deviation, shown with the value.
        column: whether it stands in the page's tables.
        hover: whether it stands in the charts' hovers.
        note: explanation in a line.
        optional: whether the column is left out where no row has a value, as in the tables of runs without it.
    """

    field: str
    label: str
    kind: ColumnKind
    sd: str | None = None
    column: bool = False
    hover: bool = False
    note: str = ""
    optional: bool = False

    @property
    def is_number(self) -> bool:
        """Whether values are aligned and sorted as numbers."""
        return self.kind not in ("text", "list")

    def raw(self, row: Any) -> str:
        """The value for programs: empty where there is none, lists joined by `_` as in names."""
        value = getattr(row, self.field)
        if isinstance(value, bool):
            return _yes_no(value)
        if isinstance(value, tuple):
            return joined(value)
        return _plain(value) if isinstance(value, float) else "" if value is None else str(value)


def joined(values: Iterable[object]) -> str:
    """A list as text, joined as in names: `2_9_12`."""
    return "_".join(str(value) for value in values)


def _yes_no(value: object) -> str:
    return "yes" if value else "no"


FRESH_NOTE = "read with trainings made for it, which saw the validation images too: not compared with the others"


def fresh(field: str) -> str:
    """The field of a test error by trainings made for the test set, in a run that has test errors of both kinds."""
    return f"fresh_{field}"


ARCH_METRICS: tuple[Metric, ...] = (
    Metric(field="arch", label="Architecture", kind="text", column=True),
    Metric(field="family", label="Family", kind="text"),
    Metric(
        field="role",
        label="Role",
        kind="text",
        column=True,
        note="baseline, known (of the paper), candidate or control",
    ),
    Metric(field="on_front", label="Front", kind="flag", column=True, note="parameters and validation error"),
    Metric(field="on_macs_front", label="MACs front", kind="flag", column=True, note="MACs and validation error"),
    Metric(
        field="p_front",
        label="P(front)",
        kind="share",
        column=True,
        hover=True,
        note="probability, among the networks trained and given these seeds, of being on the front of parameters and "
        "true error",
    ),
    Metric(field="p_macs_front", label="P(MACs front)", kind="share", note="the same for the front of MACs"),
    Metric(field="smallest", label="Smallest", kind="flag", note="on the front by its size alone"),
    Metric(field="fewest_macs", label="Fewest MACs", kind="flag", note="on the front of MACs by them alone"),
    Metric(field="growth_rate", label="Growth rate k", kind="whole", hover=True),
    Metric(field="m", label="Multiples m", kind="list", hover=True, note="state width in growths, per period"),
    Metric(field="s", label="Stages s", kind="list", hover=True, note="of the Runge-Kutta method, per period"),
    Metric(field="r", label="Time-steps r", kind="list", hover=True, note="per period"),
    Metric(field="share", label="Shared", kind="list", hover=True, note="convolutions across time-steps, per period"),
    Metric(
        field="method",
        label="Methods",
        kind="list",
        hover=True,
        optional=True,
        note="Runge-Kutta method per period; none where all are learned",
    ),
    Metric(field="params", label="Parameters", kind="size", column=True, hover=True, note="all, with batch norm"),
    Metric(field="params_paper", label="Parameters (paper)", kind="size", note="without batch norm"),
    Metric(
        field="macs",
        label="MACs",
        kind="size",
        column=True,
        hover=True,
        note="multiply-adds of convolutions and linear layers for one image, in the order of the definition",
    ),
    Metric(
        field="executed_macs",
        label="MACs executed",
        kind="size",
        hover=True,
        optional=True,
        note="as training computes them: transitions pool before they convolve",
    ),
    Metric(
        field="latency_ms",
        label="Latency",
        kind="ms",
        column=True,
        hover=True,
        optional=True,
        note="median time of one image",
    ),
    Metric(field="fvcore_flops", label="fvcore flops", kind="size", note="multiply-adds in fvcore's convention"),
    Metric(field="seeds", label="Seeds", kind="whole", column=True, hover=True, note="complete trainings"),
    Metric(
        field="val_error_pct",
        label="Validation error",
        kind="pct",
        sd="val_error_sd_pct",
        column=True,
        hover=True,
        note="last epoch; mean ± sample standard deviation over seeds",
    ),
    Metric(field="val_error_sd_pct", label="Validation error, sd", kind="pct"),
    Metric(
        field="expected_error_pct",
        label="Expected error",
        kind="pct",
        column=True,
        hover=True,
        note="of a further training: the validation error, drawn towards the trend as luck demands",
    ),
    Metric(
        field="test_error_pct",
        label="Test error",
        kind="pct",
        sd="test_error_sd_pct",
        column=True,
        hover=True,
        note="read after the search, for the front and the baselines",
    ),
    Metric(field="test_error_sd_pct", label="Test error, sd", kind="pct"),
    Metric(
        field=fresh("test_error_pct"),
        label="Test error, fresh trainings",
        kind="pct",
        sd=fresh("test_error_sd_pct"),
        column=True,
        hover=True,
        note=FRESH_NOTE,
        optional=True,
    ),
    Metric(field=fresh("test_error_sd_pct"), label="Test error, fresh trainings, sd", kind="pct", optional=True),
    Metric(field="test_seeds", label="Test seeds", kind="whole"),
    Metric(field="train_time_s", label="Training time", kind="seconds", column=True, note="mean of one training"),
    Metric(field="beaten_by", label="Dominated by", kind="list", note="baselines no larger and no worse"),
    Metric(
        field="balanced_val_error_pct",
        label="Balanced validation error",
        kind="pct",
        sd="balanced_val_error_sd_pct",
        note="mean of the classes' errors; last epoch; mean ± sample standard deviation over seeds",
        optional=True,
    ),
    Metric(field="balanced_val_error_sd_pct", label="Balanced validation error, sd", kind="pct", optional=True),
    Metric(
        field="top5_val_error_pct",
        label="Top-5 validation error",
        kind="pct",
        sd="top5_val_error_sd_pct",
        column=True,
        hover=True,
        note="last epoch; mean ± sample standard deviation over seeds",
        optional=True,
    ),
    Metric(field="top5_val_error_sd_pct", label="Top-5 validation error, sd", kind="pct", optional=True),
    Metric(
        field="balanced_test_error_pct",
        label="Balanced test error",
        kind="pct",
        sd="balanced_test_error_sd_pct",
        note="mean of the classes' errors; read after the search, for the front and the baselines",
        optional=True,
    ),
    Metric(field="balanced_test_error_sd_pct", label="Balanced test error, sd", kind="pct", optional=True),
    Metric(
        field=fresh("balanced_test_error_pct"),
        label="Balanced test error, fresh trainings",
        kind="pct",
        sd=fresh("balanced_test_error_sd_pct"),
        note=FRESH_NOTE,
        optional=True,
    ),
    Metric(
        field=fresh("balanced_test_error_sd_pct"),
        label="Balanced test error, fresh trainings, sd",
        kind="pct",
        optional=True,
    ),
    Metric(
        field="top5_test_error_pct",
        label="Top-5 test error",
        kind="pct",
        sd="top5_test_error_sd_pct",
        column=True,
        hover=True,
        note="read after the search, for the front and the baselines",
        optional=True,
    ),
    Metric(field="top5_test_error_sd_pct", label="Top-5 test error, sd", kind="pct", optional=True),
    Metric(
        field=fresh("top5_test_error_pct"),
        label="Top-5 test error, fresh trainings",
        kind="pct",
        sd=fresh("top5_test_error_sd_pct"),
        column=True,
        hover=True,
        note=FRESH_NOTE,
        optional=True,
    ),
    Metric(
        field=fresh("top5_test_error_sd_pct"), label="Top-5 test error, fresh trainings, sd", kind="pct", optional=True
    ),
    Metric(
        field="activation_bytes",
        label="Activation memory, bytes",
        kind="size",
        column=True,
        hover=True,
        optional=True,
        note="bytes that a training step keeps for one image",
    ),
    Metric(
        field="on_latency_front",
        label="Latency front",
        kind="flag",
        note="latency and validation error",
        optional=True,
    ),
    Metric(
        field="on_activation_front",
        label="Memory front",
        kind="flag",
        note="activation memory and validation error",
        optional=True,
    ),
)
"""Columns of `front.csv`, and those of the page that are marked so."""

TRIAL_METRICS: tuple[Metric, ...] = (
    Metric(field="trial", label="Trial", kind="text"),
    Metric(field="arch", label="Architecture", kind="text", column=True),
    Metric(field="family", label="Family", kind="text"),
    Metric(field="role", label="Role", kind="text", column=True),
    Metric(field="replicate", label="Replicate", kind="whole", column=True),
    Metric(field="seed", label="Seed", kind="whole"),
    Metric(field="status", label="Status", kind="text"),
    Metric(field="failure", label="Failure", kind="text", column=True),
    Metric(field="message", label="Reason", kind="text", column=True),
    Metric(field="epochs", label="Epochs", kind="whole", column=True),
    Metric(field="val_error_pct", label="Validation error", kind="pct"),
    Metric(field="val_loss", label="Validation loss", kind="text"),
    Metric(field="train_error_pct", label="Training error", kind="pct"),
    Metric(field="train_loss", label="Training loss", kind="text"),
    Metric(field="test_error_pct", label="Test error", kind="pct"),
    Metric(field="test_loss", label="Test loss", kind="text"),
    Metric(field="params", label="Parameters", kind="size"),
    Metric(field="params_paper", label="Parameters (paper)", kind="size"),
    Metric(field="macs", label="MACs", kind="size"),
    Metric(field="fvcore_flops", label="fvcore flops", kind="size"),
    Metric(field="witness_agrees", label="Witness agrees", kind="flag"),
    Metric(field="train_time_s", label="Training time", kind="seconds"),
    Metric(field="wall_time_s", label="Wall time", kind="seconds"),
    Metric(field="device", label="Device", kind="text"),
    Metric(field="precision", label="Precision", kind="text"),
    Metric(field="threads", label="Threads", kind="whole"),
    Metric(field="train_images", label="Training images", kind="whole"),
    Metric(field="val_images", label="Validation images", kind="whole"),
    Metric(field="split", label="Split", kind="text"),
    Metric(field="balanced_val_error_pct", label="Balanced validation error", kind="pct", optional=True),
    Metric(field="top5_val_error_pct", label="Top-5 validation error", kind="pct", optional=True),
    Metric(field="balanced_test_error_pct", label="Balanced test error", kind="pct", optional=True),
    Metric(field="top5_test_error_pct", label="Top-5 test error", kind="pct", optional=True),
    Metric(field="latency_ms", label="Latency", kind="ms", optional=True),
    Metric(field="activation_bytes", label="Activation memory, bytes", kind="size", optional=True),
)
"""Columns of `trials.csv`, and those of the page's table of failures that are marked so."""


ADJUSTED = "for the number of contrasts, by Bonferroni"

EFFECT_METRICS: tuple[Metric, ...] = (
    Metric(field="factor", label="Factor", kind="text"),
    Metric(field="period", label="Period", kind="whole", note="empty for the whole network"),
    Metric(field="before", label="From", kind="text"),
    Metric(field="after", label="To", kind="text"),
    Metric(field="design", label="Matched by", kind="text"),
    Metric(field="pairs", label="Pairs", kind="whole"),
    Metric(field="archs_before", label="Architectures before", kind="whole"),
    Metric(field="archs_after", label="Architectures after", kind="whole"),
    Metric(field="odds_ratio", label="Odds of an error, ratio", kind="text"),
    Metric(field="low", label="95 % interval, low", kind="text", note="by itself"),
    Metric(field="high", label="95 % interval, high", kind="text", note="by itself"),
    Metric(field="params_ratio", label="Parameters, ratio", kind="text"),
    Metric(field="macs_ratio", label="MACs, ratio", kind="text"),
    Metric(field="answer", label="Answer", kind="text", note="by the adjusted interval"),
    Metric(field="p_value", label="P", kind="text", note="if the choice did nothing"),
    Metric(field="low_adjusted", label="95 % interval, low, adjusted", kind="text", note=ADJUSTED),
    Metric(field="high_adjusted", label="95 % interval, high, adjusted", kind="text", note=ADJUSTED),
    Metric(field="p_adjusted", label="P, adjusted", kind="text", note=ADJUSTED),
)
"""Columns of `effects.csv`. Where an adaptive search has no control arm they are descriptive: results chose the
networks (`rksearch.results.choice_sample`)."""


def present(metrics: Iterable[Metric], rows: Sequence[Any]) -> tuple[Metric, ...]:
    """The metrics without the optional ones that no row has a value of."""
    return tuple(m for m in metrics if not m.optional or any(getattr(row, m.field) is not None for row in rows))


def arch_metrics(metric: ErrorMetric, rows: Sequence[Any]) -> tuple[Metric, ...]:
    """The columns of the architectures of a run.

    Args:
        metric: the error by which the run compares networks: its columns stand before those of the other errors, on the
            page too, and notes name it.
        rows: the architectures.
    """
    found = present(ARCH_METRICS, rows)
    if metric == TOP1:
        return found
    before = {TOP1.field: metric.field}
    before |= {name(TOP1.test_field): name(metric.test_field) for name in (str, fresh)}
    named = [replace(m, note=m.note.replace(TOP1.title, metric.title)) for m in found]
    shown = {m.field: replace(m, column=True, hover=True) for m in named if m.field in before.values()}
    placed = []
    for m in named:
        first = before.get(m.field)
        if first in shown:
            placed.append(shown[first])
        if m.field not in shown:
            placed.append(m)
    return tuple(placed)


def arch_metric(field: str) -> Metric:
    """The metric of an architecture that is stored in this field."""
    return next(m for m in ARCH_METRICS if m.field == field)


def columns(metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics that are columns of the page's tables."""
    return [m for m in metrics if m.column]


class _LineFeeds(io.StringIO):
    """Text whose rows end in line feeds.

    The writer quotes the characters of its line ending alone; with a bare line feed it would leave a carriage return in
    a value unquoted.
    """

    def write(self, line: str, /) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")


def csv_text(metrics: Sequence[Metric], rows: Sequence[Any]) -> str:
    """The rows as CSV with a heading line, raw numbers, and line feeds on every system; empty columns are left out
    where they are optional."""
    metrics = present(metrics, rows)
    text = _LineFeeds()
    writer = csv.writer(text)
    writer.writerow([metric.field for metric in metrics])
    writer.writerows([metric.raw(row) for metric in metrics] for row in rows)
    return text.getvalue()


CURVE_FIELDS = (
    "epoch",
    "lr",
    "train_loss",
    "train_error_pct",
    "val_loss",
    "val_error_pct",
    "balanced_val_error_pct",
    "top5_val_error_pct",
    "train_time_s",
)
"""Fields of an epoch that are columns of `curves.csv`."""

CURVE_COLUMNS = ("trial", "arch", "role", "replicate", *CURVE_FIELDS)
"""Columns of `curves.csv`."""


def curves_csv(history: History) -> str:
    """Every epoch of every training that has ended or is paused, one per row, raw numbers.

    A training on the validation images too has no validation error. What is not finite is `nan`, what was not measured
    is empty.
    """
    lines = [_csv_line(CURVE_COLUMNS)]
    trainings = (*history.trials.values(), *history.paused.values())
    for first in range(0, len(trainings), _CURVES_AT_A_TIME):
        lines.extend(_curve_lines(trainings[first : first + _CURVES_AT_A_TIME]))
    return "\n".join(lines) + "\n"


_CURVES_AT_A_TIME = 500


def _curve_lines(trainings: Sequence[tuple[TrialSpec, TrialResult]]) -> Iterator[str]:
    """The lines of these trainings' epochs, made column by column, since a large run has millions of numbers."""
    heads: list[str] = []
    hidden: list[int] = []
    for spec, result in trainings:
        if spec.role == "final":
            hidden.extend(range(len(heads), len(heads) + len(result.epochs)))
        heads.extend([_csv_line((spec.id, spec.arch, spec.role, spec.replicate))] * len(result.epochs))
    epochs = [epoch for _, result in trainings for epoch in result.epochs]
    columns = [plain_column([getattr(epoch, field) for epoch in epochs]) for field in CURVE_FIELDS]
    for field, column in zip(CURVE_FIELDS, columns, strict=True):
        if "val_" in field:
            for place in hidden:
                column[place] = ""
    return map(",".join, zip(heads, *columns, strict=True))


def _csv_line(values: Sequence[Any]) -> str:
    """The values as a line of CSV, without its end."""
    text = _LineFeeds()
    csv.writer(text).writerow(values)
    return text.getvalue().removesuffix("\n")


def plain_column(values: Sequence[float | None]) -> list[str]:
    """The numbers as text, to six decimals."""
    import numpy as np  # not at the top: a ledger is read without it

    if {float} == set(map(type, values)):
        numbers = np.array(values, dtype=np.float64)
        # Above 2^53 millionths the product would not be exact, and what is not finite has names.
        if np.all(np.abs(numbers) < 1e9):
            millionths = numbers * 1e6
            text = list(map(repr, (np.rint(millionths) / 1e6).tolist()))
            # Halfway between two millionths the product decides by its own rounding, `round` by the number's digits.
            for place in np.flatnonzero(np.abs(millionths % 1 - 0.5) <= 1e-15 * np.abs(millionths)).tolist():
                text[place] = _plain(values[place])
            return text
    return list(map(_plain, values))


def _plain(value: float | None) -> str:
    if value.__class__ is float and value - value == 0:  # finite
        return repr(round(value, 6))
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else "nan"
