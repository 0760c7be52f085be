"""Row equality: rows cast to a table's columns, and integer codes that are equal exactly if the rows are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import types

from tidemill.core.errors import SchemaChanged, nearest

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def conform_schema(rows: pa.Table, schema: pa.Schema, table: str, *, fill: bool = False) -> pa.Table:
    """`rows` with the table's columns in the table's order; `SchemaChanged` names the column that does not fit.

    With `fill`, a column that the rows lack is null. Types differ only within a family (a `large_string` is a
    `string`, an `int32` an `int64`): text that happens to look like a number never becomes one.
    """
    for field in schema if fill else ():
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    _refuse_other_names(rows.schema, schema, table)
    columns = [_fitting(rows[field.name], field, table) for field in schema]
    return pa.table(columns, schema=schema)


def with_new_columns(schema: pa.Schema, rows: pa.Schema) -> pa.Schema:
    """The table's columns, and behind them those that only the rows have."""
    for field in rows:
        if field.name not in schema.names:
            schema = schema.append(field)
    return schema


def _refuse_other_names(found: pa.Schema, expected: pa.Schema, table: str) -> None:
    missing = [name for name in expected.names if name not in found.names]
    extra = [name for name in found.names if name not in expected.names]
    if missing:
        raise SchemaChanged(
            f"rows for table `{table}` lack the column `{missing[0]}`", tip=nearest(missing[0], extra or found.names)
        )
    if extra:
        raise SchemaChanged(
            f"rows for table `{table}` have a column `{extra[0]}` that the table does not have",
            tip=nearest(extra[0], expected.names),
        )


def _fitting(column: pa.ChunkedArray, field: pa.Field, table: str) -> pa.ChunkedArray:
    if column.type.equals(field.type):
        return column
    if family(column.type) not in ("nothing", family(field.type)):
        raise SchemaChanged(
            f"rows for table `{table}` have `{field.name}` as {column.type}, but the table has {field.type}",
            tip="cast it in the function that returns the rows",
        )
    return column.cast(field.type)


def family(kind: pa.DataType) -> str:
    """What a type's values are, whatever their width."""
    if types.is_dictionary(kind):
        return family(kind.value_type)
    for name, tests in _FAMILIES.items():
        if any(test(kind) for test in tests):
            return name
    if types.is_timestamp(kind):
        return "instant" if kind.tz is not None else "local time"
    if types.is_list(kind) or types.is_large_list(kind):
        return f"list of {family(kind.value_type)}"
    if types.is_struct(kind):
        return "{" + ", ".join(f"{field.name}: {family(field.type)}" for field in kind) + "}"
    return str(kind)


_FAMILIES = {
    "nothing": (types.is_null,),
    "text": (types.is_string, types.is_large_string, types.is_string_view),
    "bytes": (types.is_binary, types.is_large_binary, types.is_binary_view),
    "whole number": (types.is_integer,),
    "number": (types.is_floating,),
}


def row_codes(rows: pa.Table, columns: Sequence[str]) -> Codes:
    """One number per row, equal for two rows exactly where they are equal in all `columns`; shape (n_rows,).

    A missing value equals a missing one, and NaN equals NaN.
    """
    combined, span = np.zeros(rows.num_rows, np.int64), 1
    for column in columns:
        found, size = _column_codes(rows[column])
        if span * size >= 2**62:
            distinct, combined = np.unique(combined, return_inverse=True)
            span = len(distinct)
        combined, span = combined * size + found, span * size
    return combined


def _column_codes(column: pa.ChunkedArray) -> tuple[Codes, int]:
    if types.is_nested(column.type):  # Arrow has no dictionaries of lists
        column = pa.chunked_array([pa.array([repr(value) for value in column.to_pylist()], pa.string())])
    # What this encodes has one dictionary for all chunks; making one of those that came costs chunks times values.
    encoded = column.unify_dictionaries() if types.is_dictionary(column.type) else column.dictionary_encode()
    if not encoded.num_chunks:
        return np.zeros(0, np.int64), 1
    indices = np.concatenate([chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks])
    return indices.astype(np.int64) + 1, len(encoded.chunk(0).dictionary) + 1


def occurrence_ranks(values: Codes) -> Codes:
    """For each row, how many equal rows stand before it; shape (n_rows,).

    >>> occurrence_ranks(np.array([7, 5, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(values) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(values)])
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return found


def matching_rows(old: pa.Table, new: pa.Table, columns: Sequence[str]) -> tuple[Mask, Mask]:
    """Which rows of each side have a partner on the other, each partner counted once: what a change leaves alone."""
    both = row_codes(pa.concat_tables([old.select(columns), new.select(columns)]), columns)
    left, right = both[: old.num_rows], both[old.num_rows :]
    _, paired = np.unique(
        np.stack([both, np.r_[occurrence_ranks(left), occurrence_ranks(right)]]), axis=1, return_inverse=True
    )
    paired = paired.reshape(-1)
    left, right = paired[: old.num_rows], paired[old.num_rows :]
    return np.isin(left, right), np.isin(right, left)
