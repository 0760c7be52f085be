"""Item ids as a file: row i names the item at position i of the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tidemill.core.errors import BundleCorrupt, IdsMismatch
from tidemill.models.formats.arrow_tables import read_arrow


def write_ids(file: Path, items: Sequence[str]) -> None:
    """Write item ids, in their order, as an Arrow file."""
    with pa.OSFile(str(file), "wb") as sink:
        table = pa.table({"item_id": pa.array(items, pa.string())})
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)


def read_ids(file: Path) -> list[str]:
    """Item ids in order; raises `BundleCorrupt` if they cannot be read, `IdsMismatch` if one occurs twice."""
    try:
        column = read_arrow(file).column("item_id").cast(pa.string())
    except (KeyError, pa.ArrowException) as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
    ids: list[str] = column.to_pylist()
    if column.null_count:
        raise BundleCorrupt(f"{file} has an item without an id")
    if len(set(ids)) != len(ids):
        raise IdsMismatch(f"{file} contains an item twice")
    return ids
