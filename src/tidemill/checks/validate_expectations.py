"""Validation of expectations against the columns of a table, before any row exists."""

from __future__ import annotations

import narwhals as nw
import pyarrow as pa

from tidemill.checks.expectations import AnyExpectation, Between, Freshness, LikeHistory, NotNull
from tidemill.core.errors import TypeMismatch, UnknownName, nearest


def validate(expectation: AnyExpectation, schema: pa.Schema | nw.Schema, *, event_time: str | None = None) -> None:
    """Raise `UnknownName` or `TypeMismatch` where `expectation` needs a column that is missing or of the wrong type."""
    columns = nw.Schema.from_arrow(schema) if isinstance(schema, pa.Schema) else schema
    match expectation:
        case Between(column=name) | LikeHistory(metric="mean", column=str(name)):
            _known(expectation, name, columns)
            if not columns[name].is_numeric():
                raise TypeMismatch(f"{expectation.words}: {name!r} is {columns[name]}, but a number is required")
        case NotNull(column=name) | LikeHistory(column=str(name)):
            _known(expectation, name, columns)
        case Freshness():
            time_column(expectation, columns, event_time)


def time_column(expectation: Freshness, columns: nw.Schema, event_time: str | None) -> str:
    """The time column of a check: the column in the check, else the event time, else the only time column."""
    name = expectation.column or event_time
    if name is None:
        times = [column for column, kind in columns.items() if kind == nw.Datetime and not column.startswith("_")]
        if len(times) != 1:
            raise TypeMismatch(
                f"{expectation.words}: {len(times)} columns are times ({', '.join(times) or 'none'}), not one",
                tip='name one of them: tm.freshness("10 days", "updated_at")',
            )
        return times[0]
    _known(expectation, name, columns)
    if columns[name] != nw.Datetime:
        raise TypeMismatch(f"{expectation.words}: {name!r} is {columns[name]}, but a time is required")
    return name


def _known(expectation: AnyExpectation, name: str, columns: nw.Schema) -> None:
    if name not in columns:
        raise UnknownName(f"{expectation.words}: there is no column {name!r}", tip=nearest(name, columns))
