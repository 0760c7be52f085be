"""Table changes: the rows that differ between two versions, read from the files that they do not share."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.lake.snapshot import LakeSnapshot

#: Column: 1 for a row of the later version, -1 for a row of the earlier one.
_SIDE = "_side"


def changed_keys(before: LakeSnapshot, after: LakeSnapshot, table: str, key: str, columns: Sequence[str]) -> pa.Table:
    """The distinct values of `key` in rows that only one of two snapshots has, as a table with that column.

    Rows are compared by `columns` (which includes `key`), as multisets. Only files that are not in both versions are
    read; a row that was only moved to another file does not count as a change.
    """
    old, new = set(before.files(table)), set(after.files(table))
    gone = before.arrow(table, columns, among=old - new)
    come = after.arrow(table, columns, among=new - old)
    both = pa.concat_tables([_on(gone, -1), _on(come, 1).cast(_on(gone, -1).schema)])
    found = both.group_by(list(columns), use_threads=False).aggregate([(_SIDE, "sum")])
    differ = found.filter(pc.not_equal(found[f"{_SIDE}_sum"], 0))
    return differ.select([key]).group_by([key], use_threads=False).aggregate([])


def _on(rows: pa.Table, side: int) -> pa.Table:
    return rows.append_column(_SIDE, pa.array([side] * rows.num_rows, pa.int64()))
