"""Contract validation of a stream's rows: valid rows are accepted, others are refused with the reason."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import ROW, Contract, ContractColumn
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import SchemaChanged, nearest

#: Columns of refused rows. Reasons say what is wrong and never the value, which may be personal.
REFUSED = pa.schema([(ROW, pa.int64()), ("column", pa.string()), ("reason", pa.string())])


def split_refused(contract: Contract, rows: pa.Table, *, not_after: int | None = None) -> tuple[pa.Table, pa.Table]:
    """`(good, refused)`: the rows that fit, and of each other row its `_row`, its first wrong column and the reason.

    Refused are missing values of columns that are not optional, empty identifiers, NaN and infinities, values outside
    `ge..le`, and, where `not_after` (microseconds) is given, events from the future. Good rows keep their order and
    columns; a missing value of an optional column takes the contract's default.

    Raises `SchemaChanged` where a column of the contract is missing from `rows`.
    """
    for column in contract.columns:
        if column.name not in rows.column_names:
            raise SchemaChanged(
                f"{contract.name}: the column {column.name!r} is missing", tip=nearest(column.name, rows.column_names)
            )
    rows = _with_defaults(contract, rows)
    reasons = [(column, _wrong(column, rows[column.name], not_after)) for column in contract.columns]
    bad = [(column, reason) for column, found in reasons for reason in found]
    if not bad:
        return rows, empty_table(REFUSED)
    # null where nothing is wrong, so that the first wrong column wins and the good rows are those still null
    column = pc.coalesce(*(_where(mask, name.name) for name, (mask, _) in bad))
    reason = pc.coalesce(*(_where(mask, why) for _, (mask, why) in bad))
    good = pc.is_null(column)
    refused = pa.Table.from_arrays([rows[ROW], column, reason], schema=REFUSED).filter(pc.invert(good))
    return rows.filter(good), refused.combine_chunks()


def _wrong(column: ContractColumn, values: pa.ChunkedArray, not_after: int | None) -> list[tuple[pa.ChunkedArray, str]]:
    """Masks of wrong values with their reason; masks that are nowhere true are left out."""
    found: list[tuple[pa.ChunkedArray, str]] = []
    if not column.optional and values.null_count:
        found.append((pc.is_null(values), "missing"))
    if column.role in ("subject", "item"):
        found.append((pc.equal(values, ""), "empty"))
    if pa.types.is_floating(values.type):
        found.append((pc.invert(pc.is_finite(values)), "not a finite number"))
    if column.ge is not None:
        found.append((pc.less(values, pa.scalar(column.ge, pa.float64())), f"below {column.ge:g}"))
    if column.le is not None:
        found.append((pc.greater(values, pa.scalar(column.le, pa.float64())), f"above {column.le:g}"))
    if column.role == "event_time" and not_after is not None:
        late = pa.scalar(not_after, pa.int64()).cast(pa.timestamp("us", "UTC"))
        found.append((pc.greater(values, late), "in the future"))
    return [(mask, why) for mask, why in found if pc.any(mask).as_py()]


def _where(mask: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    return pc.if_else(pc.fill_null(mask, False), pa.scalar(text), pa.scalar(None, pa.string()))


def _with_defaults(contract: Contract, rows: pa.Table) -> pa.Table:
    for column in contract.columns:
        if column.optional and column.default is not None and rows[column.name].null_count:
            filled = pc.fill_null(rows[column.name], pa.scalar(column.default, rows[column.name].type))
            rows = rows.set_column(rows.column_names.index(column.name), column.name, filled)
    return rows
