"""Slice table: the slices of a test set by one metric, significantly worse ones first."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.core.record_format import Record
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import FEWEST_USERS, Evaluation, Metric, SliceResult, Standing

_ORDER: tuple[Standing, ...] = ("worse", "even", "better")


class SliceRow(Record, frozen=True):
    """One slice: its metric and its difference from what it is compared with."""

    #: Its family (`history`, `group`) or column, its name, and its number of users or rows.
    family: str
    name: str
    n_users: int
    #: `None` if the slice is too small to be shown.
    model: Metric | None
    difference: Metric | None
    #: p after Holm over all slices and metrics.
    p: float | None
    standing: Standing


class SliceTable(Record, frozen=True):
    """The slices by one metric, worst first; those that are too small come last."""

    metric: str
    #: What is counted (`users`, `rows`), and what the difference is from.
    of: str
    against: str
    parts: tuple[SliceRow, ...]


def user_slice_table(evaluation: Evaluation) -> SliceTable:
    """The finer slices of an evaluation by the metric that defines the worst one."""
    metric = f"ndcg@{evaluation.k}"
    return SliceTable(metric=metric, of="users", against="popularity", parts=_rows(evaluation.parts, metric, 1.0))


def row_slice_table(found: Assessment) -> SliceTable:
    """The slices of an assessment by its main metric."""
    way = 1.0 if found.scores and found.main.higher_is_better else -1.0
    rows = _rows(found.all_slices, found.measure, way)
    return SliceTable(metric=found.measure, of="rows", against="all other rows", parts=rows)


def _rows(slices: Sequence[SliceResult], metric: str, way: float) -> tuple[SliceRow, ...]:
    rows = [_row(one, metric, way) for one in slices]
    shown = [row for row in rows if row.difference is not None]
    shown.sort(key=lambda row: (_ORDER.index(row.standing), way * row.difference.value if row.difference else 0.0))
    return (*shown, *(row for row in rows if row.difference is None))


def _row(one: SliceResult, metric: str, way: float) -> SliceRow:
    found = None if one.n_users < FEWEST_USERS else one.difference.get(metric)
    p = one.p_holm.get(metric) if found else None
    standing: Standing = "even"
    if found is not None and p is not None and p < 0.05:
        standing = "better" if way * found.value > 0 else "worse"
    return SliceRow(
        family=one.family, name=one.users, n_users=one.n_users, model=one.model.get(metric) if found else None,
        difference=found, p=p, standing=standing,
    )  # fmt: skip
