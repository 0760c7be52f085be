"""Empty Arrow tables, created without loading pandas.

`pa.Schema.empty_table` imports pandas if it is installed, which takes a third of the start-up time of a process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table with this schema and no rows."""
    arrow: Any = import_module("pyarrow")  # already loaded, since the caller has a schema; `core` loads nothing heavy
    table: pa.Table = arrow.Table.from_arrays([arrow.nulls(0, field.type) for field in schema], schema=schema)
    return table
