"""Table changes: the rows that differ between two versions, read from the files that they do not share."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.lake.snapshot import LakeSnapshot

#: Of a row: in the later version (1), in the earlier one (-1).
_SIDE = "_side"


def changed_keys(before: LakeSnapshot, after: LakeSnapshot, table: str, key: str, columns: Sequence[str]) -> pa.Table:
    """The values of `key`, each once, of the rows that one view has and the other has not; a table of that one column.

    Rows are the same where they agree in `columns` (`key` among them), as often as they occur. Only files that one
    version has and the other has not are read; a row that was merely moved to another file is no change.
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
