"""Point-in-time join: the feature values known at each example's time, and nothing later.

A fact is visible from `max(event, known)`: using event time for a fact that became known later would leak the future.
A fact that becomes visible exactly at the time of an example is used. For ties, see `feature_facts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.contract.contract import KNOWN_AT
from tidemill.core.errors import GraphError, RowsLost, UnknownName, nearest
from tidemill.features.epoch_micros import plain_micros
from tidemill.features.feature_facts import FeatureFacts
from tidemill.features.value_intervals import AT, UNTIL, boundary_metadata
from tidemill.features.view_spec import ViewSpec

Ints = NDArray[np.int64]
Status = Literal["present", "expired", "missing"]


@dataclass(frozen=True, eq=False)
class PointInTimeJoin:
    """One view to join: rows of `view_history`, the entity column of the examples, and the columns to take."""

    rows: pa.Table
    #: The entity column of `rows`, and that of the examples.
    entity: str
    by: str
    #: New column -> the view's column.
    columns: Mapping[str, str]
    #: How long a value is valid after its event or boundary, microseconds; `None`: no expiry.
    ttl_us: int | None = None
    #: The name used in the column `<view>.status`.
    view: str = "view"
    known: Literal["known", "event"] = "known"
    #: For aggregates whose schema lost its metadata: the distance of boundaries, and the last evaluated one.
    every_us: int | None = None
    last_at: int | None = None

    @classmethod
    def from_view(cls, spec: ViewSpec, rows: pa.Table, by: str, columns: Mapping[str, str]) -> PointInTimeJoin:
        """The join of a declared view, with its entity, ttl and known time."""
        return cls(rows, spec.entity, by, columns, ttl_us=spec.ttl_us, view=spec.name, known=spec.known)

    def __post_init__(self) -> None:
        needed = [self.entity, AT, *self.columns.values()]
        for column in needed:
            if column not in self.rows.column_names:
                known = nearest(column, self.rows.column_names)
                raise UnknownName(f"the view {self.view!r} has no column {column!r}", tip=known)
        if self.known == "known" and not self.aggregated and KNOWN_AT not in self.rows.column_names:
            raise GraphError(
                f"the rows of view {self.view!r} have no known time: there is no column {KNOWN_AT}",
                tip=f'keep {KNOWN_AT} in its function, or declare known="event" on the view',
            )

    @property
    def aggregated(self) -> bool:
        """Whether the rows are value intervals."""
        return UNTIL in self.rows.column_names

    @property
    def boundaries(self) -> tuple[int, int]:
        """The distance of boundaries and the last one, microseconds; `GraphError` where they are not recorded."""
        found = boundary_metadata(self.rows)
        every_us, last_at = found or (self.every_us, self.last_at)
        if every_us is None or last_at is None:
            raise GraphError(
                f"the value intervals of view {self.view!r} do not record the distance of their boundaries",
                tip="pass every_us= and last_at= to the join, or keep the schema's metadata of view_history",
            )
        return every_us, last_at


def point_in_time(
    examples: pa.Table, *, time: str, joins: Sequence[PointInTimeJoin], statuses: bool = False
) -> pa.Table:
    """The examples with the column values at each example's `time`, null where missing or past the ttl.

    The same rows in the same order; with `statuses` also `<view>.status`: present, expired or missing. An example
    without an entity or a time gets no values. A value is expired where the example is more than `ttl_us` after the
    value's event or boundary. Aggregates use the value at the last boundary at or before the example, as online: an
    entity without rows in that window has none. After the last boundary of a history, the last one applies.

    `UnknownName` for missing columns, `GraphError` where rows have no known time.

    >>> rows = pa.table({"u": ["a", "a"], "n": [1, 2], "_at": [10, 20], "_known_at": [10, 35]})
    >>> examples = pa.table({"who": ["a", "a", "b"], "at": [30, 40, 40]})
    >>> joined = point_in_time(examples, time="at", joins=[PointInTimeJoin(rows, "u", "who", {"n": "n"})])
    >>> joined["n"].to_pylist()
    [1, 2, None]
    """
    for column in (time, *(join.by for join in joins)):
        if column not in examples.column_names:
            raise UnknownName(f"the examples have no column {column!r}", tip=nearest(column, examples.column_names))
    at, has_time = plain_micros(examples[time], time)
    joined = examples
    for join in joins:
        row = FeatureFacts(join.rows, join.entity, by_event=join.aggregated or join.known == "event").rows_at(
            examples[join.by], at, has_time
        )
        row, expired = _in_force(join, row, at)
        taken = join.rows.select(list(dict.fromkeys(join.columns.values()))).take(pa.array(row, mask=row < 0))
        for name, column in join.columns.items():
            joined = _with(joined, name, taken[column])
        if statuses:
            joined = _with(joined, f"{join.view}.status", _statuses(row, expired))
    return rows_kept(examples, joined)


def rows_kept(examples: pa.Table, made: pa.Table) -> pa.Table:
    """`made`, after a check that it has as many rows as the examples; `RowsLost` where it has not."""
    if made.num_rows != examples.num_rows:
        raise RowsLost(f"the join returned {made.num_rows} rows for {examples.num_rows} examples")
    return made


def _in_force(join: PointInTimeJoin, row: Ints, at: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The rows that are still valid (else -1), and a mask of those that have expired."""
    valid = row >= 0
    if not join.aggregated and join.ttl_us is None:
        return row, np.zeros(len(row), np.bool_)
    stamp = _taken(join.rows, AT, row)
    if join.aggregated:
        every_us, last_at = join.boundaries
        until = _taken(join.rows, UNTIL, row)
        boundary = np.minimum(at - at % every_us, last_at)
        valid &= boundary <= until  # else the window was empty at that boundary
        stamp = np.minimum(boundary, until)
    expired = valid & (at - stamp > join.ttl_us) if join.ttl_us is not None else np.zeros(len(row), np.bool_)
    return np.where(valid & ~expired, row, -1), expired


def _taken(rows: pa.Table, column: str, row: Ints) -> Ints:
    values, _ = plain_micros(rows[column], column)
    return values[row] if len(values) else np.zeros(len(row), np.int64)


def _statuses(row: Ints, expired: NDArray[np.bool_]) -> pa.Array:
    codes = np.where(expired, 1, np.where(row >= 0, 0, 2)).astype(np.int8)
    names = pa.array(["present", "expired", "missing"])
    return pa.DictionaryArray.from_arrays(pa.array(codes), names).cast(pa.string())


def _with(rows: pa.Table, name: str, column: pa.ChunkedArray | pa.Array) -> pa.Table:
    if name in rows.column_names:
        raise UnknownName(f"the examples already have a column {name!r}", tip="rename the joined column")
    return rows.append_column(name, column)
