"""Row equality: rows cast to a table's schema, and integer codes that are equal exactly if the rows are equal."""

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
    """Cast `rows` to the table's schema and column order. Raises `SchemaChanged` with the column that does not fit.

    With `fill`, missing columns are null. Casts stay within a type family (`large_string` to `string`, `int32` to
    `int64`): text that looks like a number never becomes a number.
    """
    for field in schema if fill else ():
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    _refuse_other_names(rows.schema, schema, table)
    columns = [_fitting(rows[field.name], field, table) for field in schema]
    return pa.table(columns, schema=schema)


def with_new_columns(schema: pa.Schema, rows: pa.Schema) -> pa.Schema:
    """The table's schema, extended by the columns that only the rows have."""
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
    """The type family of a type, regardless of its width."""
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
    """One integer per row, equal for two rows exactly if they are equal in all `columns`; shape (n_rows,).

    Missing values are equal to each other, and NaN equals NaN.
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
    # `dictionary_encode` gives one dictionary for all chunks; unifying existing ones costs chunks times values.
    encoded = column.unify_dictionaries() if types.is_dictionary(column.type) else column.dictionary_encode()
    if not encoded.num_chunks:
        return np.zeros(0, np.int64), 1
    indices = np.concatenate([chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks])
    return indices.astype(np.int64) + 1, len(encoded.chunk(0).dictionary) + 1


def occurrence_ranks(values: Codes) -> Codes:
    """For each row, the number of equal rows before it; shape (n_rows,).

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
    """Multiset intersection: masks of the rows of each side that have an equal, not yet matched row on the other."""
    if not old.num_rows or not new.num_rows:
        return np.zeros(old.num_rows, np.bool_), np.zeros(new.num_rows, np.bool_)
    both = row_codes(pa.concat_tables([old.select(columns), new.select(columns)]), columns)
    _, both = np.unique(both, return_inverse=True)
    left, right = both[: old.num_rows], both[old.num_rows :]
    n_left, n_right = (np.bincount(side, minlength=int(both.max()) + 1) for side in (left, right))
    return occurrence_ranks(left) < n_right[left], occurrence_ranks(right) < n_left[right]
