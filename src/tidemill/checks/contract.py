"""Contract validation of a stream's rows: valid rows are accepted, invalid rows are refused with a reason."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import ROW, Contract, ContractColumn
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import SchemaChanged, nearest

#: Columns of refused rows. A reason states the error but never the value, which may be personal.
REFUSED = pa.schema([(ROW, pa.int64()), ("column", pa.string()), ("reason", pa.string())])


def split_refused(contract: Contract, rows: pa.Table, *, not_after: int | None = None) -> tuple[pa.Table, pa.Table]:
    """`(good, refused)`: the valid rows, and for each refused row its `_row`, first invalid column and reason.

    Refused are missing values of required columns, empty identifiers, NaN and infinities, values outside `ge..le`, and,
    where `not_after` (microseconds) is given, events from the future. Good rows keep their order and columns; a missing
    value of an optional column takes the contract's default.

    Raises `SchemaChanged` where a column of the contract is missing from `rows`.
    """
    for column in contract.columns:
        if column.name not in rows.column_names:
            raise SchemaChanged(
                f"{contract.name}: the column {column.name!r} is missing", tip=nearest(column.name, rows.column_names)
            )
    rows = _with_defaults(contract, rows)
    reasons = [(column, _wrong(column, rows[column.name], not_after)) for column in contract.columns]
    bad = [(column, reason) for column, wrong in reasons for reason in wrong]
    if not bad:
        return rows, empty_table(REFUSED)
    # null where a value is valid, so that the first invalid column wins and good rows stay null
    column = pc.coalesce(*(_where(mask, name.name) for name, (mask, _) in bad))
    reason = pc.coalesce(*(_where(mask, text) for _, (mask, text) in bad))
    good = pc.is_null(column)
    refused = pa.Table.from_arrays([rows[ROW], column, reason], schema=REFUSED).filter(pc.invert(good))
    return rows.filter(good), refused.combine_chunks()


def _wrong(column: ContractColumn, values: pa.ChunkedArray, not_after: int | None) -> list[tuple[pa.ChunkedArray, str]]:
    """Masks of invalid values with their reason; masks without a true value are left out."""
    masks: list[tuple[pa.ChunkedArray, str]] = []
    if not column.optional and values.null_count:
        masks.append((pc.is_null(values), "missing"))
    if column.role in ("subject", "item"):
        masks.append((pc.equal(values, ""), "empty"))
    if pa.types.is_floating(values.type):
        masks.append((pc.invert(pc.is_finite(values)), "not a finite number"))
    if column.ge is not None:
        masks.append((pc.less(values, pa.scalar(column.ge, pa.float64())), f"below {column.ge:g}"))
    if column.le is not None:
        masks.append((pc.greater(values, pa.scalar(column.le, pa.float64())), f"above {column.le:g}"))
    if column.role == "event_time" and not_after is not None:
        late = pa.scalar(not_after, pa.int64()).cast(pa.timestamp("us", "UTC"))
        masks.append((pc.greater(values, late), "in the future"))
    return [(mask, reason) for mask, reason in masks if pc.any(mask).as_py()]


def _where(mask: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    return pc.if_else(pc.fill_null(mask, False), pa.scalar(text), pa.scalar(None, pa.string()))


def _with_defaults(contract: Contract, rows: pa.Table) -> pa.Table:
    for column in contract.columns:
        if column.optional and column.default is not None and rows[column.name].null_count:
            filled = pc.fill_null(rows[column.name], pa.scalar(column.default, rows[column.name].type))
            rows = rows.set_column(rows.column_names.index(column.name), column.name, filled)
    return rows
