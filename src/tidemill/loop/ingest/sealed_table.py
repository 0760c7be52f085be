"""Sealed tables: encryption by person; rows that name the same people are one value, encrypted under their keys.

Rows under a destroyed key are omitted and counted when the table is opened; all other rows keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tidemill.core.errors import NoSuchSubject
from tidemill.core.identity.surrogates import Vault

_SCHEMA = b"tidemill.sealed_table"


def sealed_table(vault: Vault, rows: pa.Table, people: Sequence[str]) -> pa.Table:
    """A table of sealed values, one per group of people; `people` are the columns with their surrogates."""
    plain = rows.cast(pa.schema([field.with_type(_plain(field.type)) for field in rows.schema]))
    values = list(zip(*[column.to_pylist() for column in plain.columns], strict=True))
    named = [plain[column].to_pylist() for column in people]
    groups: dict[tuple[str, ...], list[tuple[int, Any]]] = {}
    for place, row in enumerate(values):
        group = tuple(sorted({column[place] for column in named if column[place]}))
        groups.setdefault(group, []).append((place, row))
    keys = vault.keys_of({surrogate for group in groups for surrogate in group})
    encode = msgspec.msgpack.Encoder().encode
    made = {
        "rows": pa.array([len(group) for group in groups.values()], pa.int64()),
        "sealed": pa.array(
            [vault.seal_with(keys, encode(group), surrogates) for surrogates, group in groups.items()], pa.binary()
        ),
    }
    return pa.table(made).replace_schema_metadata({_SCHEMA: rows.schema.serialize().to_pybytes()})


def opened_table(vault: Vault, kept: pa.Table) -> tuple[pa.Table, int]:
    """The rows, and the number of rows that can no longer be read. Unsealed tables are returned unchanged."""
    encoded = (kept.schema.metadata or {}).get(_SCHEMA)
    if encoded is None:
        return kept, 0
    schema = pa.ipc.read_schema(pa.BufferReader(encoded))
    found: list[tuple[int, list[Any]]] = []
    gone = 0
    for count, sealed in zip(kept["rows"].to_pylist(), kept["sealed"].to_pylist(), strict=True):
        try:
            found += msgspec.msgpack.decode(vault.unseal(sealed))
        except NoSuchSubject:
            gone += count
    found.sort(key=lambda one: one[0])
    columns = zip(*[row for _, row in found], strict=True) if found else [[]] * len(schema)
    arrays = [
        pa.array(column, _plain(field.type)).cast(field.type) for field, column in zip(schema, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema), gone


def _plain(kind: pa.DataType) -> pa.DataType:
    """The MessagePack-compatible type: times and days as numbers."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.int32() if pa.types.is_date32(kind) else kind
