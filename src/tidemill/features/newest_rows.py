"""The newest row of each key of a table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.errors import GraphError, UnknownName, nearest


def newest_by_key(rows: pa.Table, entity: str, *, order_by: tuple[str, ...] | list[str] = ()) -> pa.Table:
    """The newest row of each `entity`, sorted by entity: the last in `order_by`, a missing value being the oldest.

    Ties are broken by all other columns in the order of their names, so that the result does not depend on the order
    of `rows`. Rows without an entity are dropped. Without `order_by`, `rows` must have one row per entity already;
    `GraphError` where it does not.

    >>> rows = pa.table({"item": ["a", "b", "a"], "at": [1, 1, 2], "price": [5, 6, 7]})
    >>> newest_by_key(rows, "item", order_by=["at"]).to_pydict()
    {'item': ['a', 'b'], 'at': [2, 1], 'price': [7, 6]}
    """
    for column in (entity, *order_by):
        if column not in rows.column_names:
            raise UnknownName(f"newest by {column!r}: there is no such column", tip=nearest(column, rows.column_names))
    rows = rows.filter(pc.is_valid(rows[entity]))
    ties = [name for name in sorted(rows.column_names) if _sortable(rows.schema.field(name).type)]
    rows = rows.take(_order(rows, list(dict.fromkeys([entity, *order_by, *ties]))))
    codes = rows[entity].combine_chunks().dictionary_encode().indices.to_numpy()
    last = np.r_[codes[1:] != codes[:-1], True] if len(codes) else np.zeros(0, np.bool_)
    if not order_by and not last.all():
        raise GraphError(
            f"{len(last) - int(last.sum())} rows have the same {entity} as another row; a view has one row of each",
            tip="keep a time column in the view, so that the newest row is known",
        )
    return rows.filter(pa.array(last))


def _order(rows: pa.Table, names: list[str]) -> pa.Array:
    """Row indices sorted by `names`, missing values first (Arrow by default puts them last)."""
    columns: dict[str, pa.ChunkedArray] = {}
    for number, name in enumerate(names):
        if rows[name].null_count:
            columns[f"there_{number}"] = pc.is_valid(rows[name])
        columns[f"value_{number}"] = rows[name]
    return pc.sort_indices(pa.table(columns), sort_keys=[(name, "ascending") for name in columns])


def _sortable(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(kind))
