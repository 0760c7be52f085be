"""Arrow tables without rows, made without loading pandas.

`pa.Schema.empty_table` imports pandas where it is installed, which is a third of the start of a process.
"""

from __future__ import annotations

import pyarrow as pa


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table of these columns and no rows."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
