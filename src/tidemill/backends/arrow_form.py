"""Canonical Arrow types: every engine returns the same types, so that a table does not depend on its engine."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import types

_TIME = pa.timestamp("us", "UTC")


def plain(kind: pa.DataType) -> pa.DataType:
    """The canonical type for an Arrow type: text, integer, float, timestamp, or lists and structs of these.

    >>> plain(pa.large_string()), plain(pa.uint32()), plain(pa.list_(pa.float32()))
    (DataType(string), DataType(int64), ListType(list<item: double>))
    """
    if types.is_dictionary(kind):
        return plain(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_integer(kind):
        return pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if types.is_timestamp(kind) and kind.tz is not None:
        return _TIME
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(plain(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(field.name, plain(field.type)) for field in kind])
    return kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with canonical types, without metadata, and with all columns nullable."""
    return pa.schema([(field.name, plain(field.type)) for field in schema])


def plain_rows(rows: pa.Table) -> pa.Table:
    """The rows cast to canonical types. A value that does not fit raises an error; it is never changed."""
    schema = plain_schema(rows.schema)
    return rows if rows.schema.equals(schema, check_metadata=True) else rows.replace_schema_metadata().cast(schema)


def plain_decimals(rows: pa.Table) -> pa.Table:
    """The rows with int64 for decimals without a fraction, which are DuckDB's sums of integers, and float64 for others.

    Raises `ArrowInvalid` for an integer that int64 cannot hold.
    """
    for place, field in enumerate(rows.schema):
        if types.is_decimal(field.type):
            kind = pa.int64() if field.type.scale == 0 else pa.float64()
            rows = rows.set_column(place, field.name, rows.column(place).cast(kind))
    return rows
