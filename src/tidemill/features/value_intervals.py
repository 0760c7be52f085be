"""Value intervals: the history of aggregates as one row per entity and run of boundaries with equal values.

A user with three events in a year has a handful of intervals, not 365 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

AT, UNTIL = "_at", "_until"
_EVERY, _LAST = b"tidemill.every_us", b"tidemill.last_at"


def merge_intervals(rows: pa.Table, entity: str, every_us: int) -> pa.Table:
    """Merge adjacent intervals with equal values, sorted by entity and time; `_at`, `_until` are int64 microseconds.

    Two intervals merge where the second begins at the next boundary and all values are equal (missing equals missing,
    NaN equals NaN).

    >>> rows = pa.table({"u": ["a", "a", "a"], "n": [1, 1, 2], "_at": [0, 10, 20], "_until": [0, 10, 20]})
    >>> merge_intervals(rows, "u", 10).to_pylist()
    [{'u': 'a', 'n': 1, '_at': 0, '_until': 10}, {'u': 'a', 'n': 2, '_at': 20, '_until': 20}]
    """
    columns = [name for name in rows.column_names if name not in (AT, UNTIL)]
    rows = rows.select([*columns, AT, UNTIL])
    rows = rows.take(pc.sort_indices(rows, sort_keys=[(entity, "ascending"), (AT, "ascending")]))
    if rows.num_rows < 2:
        return rows
    joins = rows[AT].to_numpy()[1:] == rows[UNTIL].to_numpy()[:-1] + every_us
    for name in columns:
        joins &= _as_before(rows[name])
    begins = np.r_[True, ~joins]
    merged = rows.filter(pa.array(begins))
    ends = rows[UNTIL].filter(pa.array(np.r_[begins[1:], True]))
    return merged.set_column(merged.column_names.index(UNTIL), UNTIL, ends)


@dataclass(frozen=True)
class BoundaryMetadata:
    """Puts the distance of boundaries and the last evaluated one (microseconds) into the metadata of intervals."""

    every_us: int
    last_at: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        return rows.replace_schema_metadata({_EVERY: str(self.every_us), _LAST: str(self.last_at)})


def boundary_metadata(rows: pa.Table) -> tuple[int, int] | None:
    """`every_us` and the last boundary from `BoundaryMetadata`; `None` where a table has no such metadata."""
    metadata_ = rows.schema.metadata or {}
    return (int(metadata_[_EVERY]), int(metadata_[_LAST])) if _EVERY in metadata_ and _LAST in metadata_ else None


def _as_before(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether each value except the first equals the previous one, bool (n - 1,)."""
    if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
        values = column.to_pylist()
        return np.array([one == other for one, other in zip(values[1:], values[:-1], strict=True)], np.bool_)
    codes = column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    return np.asarray(codes[1:] == codes[:-1])
