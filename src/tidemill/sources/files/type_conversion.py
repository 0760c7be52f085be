"""Type conversion of raw fields to the contract; an error states the column and the reason, never the value.

Reasons contain no values because a shifted line may have a person's identifier in any field.
"""

from __future__ import annotations

import html
import re
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.empty_tables import empty_table
from tidemill.core.kinds import KINDS, Kind, arrow_type
from tidemill.core.source_read import DAY
from tidemill.sources.files.dialect import Decimal, Dialect
from tidemill.sources.files.event_times import read_times
from tidemill.sources.files.mapping import ColumnMapping, ColumnSource

LINE = "_line"
#: Tables with fewer rows are joined.
_BATCH_ROWS = 16_384

#: `pa.nulls` instead of `pa.array`, which imports pandas: half of the start-up time of a run.
POLARS: dict[Kind, pl.DataType] = {kind: pl.Series(pa.nulls(0, arrow_type(kind))).dtype for kind in KINDS}
_EXPECTED = {
    "float": "is not a finite number",
    "int": "is not an integer",
    "bool": "is neither true nor false",
    "str": "is empty",
}
_MONEY = r"[$€£¥₹₩₽]|EUR|USD|GBP|CHF|JPY|CNY|INR|BRL|CAD|AUD|SEK|NOK|DKK|PLN|CZK|HUF|kr|zł|Kč|Ft"
_BEFORE, _AFTER = rf"^([+-]?)\s*(?:{_MONEY})\s*", rf"\s*(?:%|{_MONEY})$"
_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")


class TypedColumns(NamedTuple):
    """Typed columns of all lines, and the invalid lines."""

    #: The contract's columns and `_line`; the failed columns of an invalid line are null.
    rows: pl.DataFrame
    #: One row per invalid line: `_line`, `column` (the first that failed) and `reason` (all of them).
    bad: pl.DataFrame


def convert_types(raw: pl.DataFrame, mapping: ColumnMapping, arrival: Any = None) -> TypedColumns:
    """Convert the raw columns of a block. `arrival` is the event time of rows that have none."""
    columns: list[pl.Series] = []
    failures: list[pl.DataFrame] = []
    for mapped in mapping.columns:
        column = mapped.column
        if mapped.at is None:
            columns.append(_absent(column, raw.height, arrival))
            continue
        values, reason = _typed(raw[column.name], mapped, mapping.dialect)
        if not column.optional and values.null_count():
            missing = pl.select(pl.when(values.is_null()).then(pl.lit("is missing"))).to_series()
            reason = missing if reason is None else pl.select(pl.coalesce(reason, missing)).to_series()
        elif column.default is not None and values.null_count():
            values = values.fill_null(column.default)
        columns.append(values.alias(column.name))
        if reason is not None:
            failures.append(_failed(raw[LINE], column.name, reason))
    rows = pl.DataFrame([*columns, raw[LINE]])
    return TypedColumns(rows, _one_per_line(failures))


def _absent(column: ContractColumn, height: int, arrival: Any) -> pl.Series:
    value = arrival if column.role == "event_time" else column.default
    return pl.Series(column.name, [value], dtype=POLARS[column.kind]).new_from_index(0, height)


def _typed(raw: pl.Series, mapped: ColumnSource, dialect: Dialect) -> tuple[pl.Series, pl.Series | None]:
    """Values, null where missing or invalid; and the reasons, `None` where all are valid."""
    column = mapped.column
    if column.kind == "str":
        raw = _without_blanks(raw, column)
    elif column.kind != "time" or dialect.missing:
        raw = _without_missing(raw, dialect)
    if column.kind == "time":
        return read_times(raw, column, mapped.unit)
    plain = raw
    if raw.dtype == pl.String and column.kind in ("int", "float") and _is_written(mapped, dialect):
        plain = plain_numbers(raw, dialect.decimal)
    values = _CAST[column.kind](plain, mapped)
    if values.null_count() == raw.null_count() or mapped.unit == "money":
        return values, None
    failed = raw.is_not_null() & values.is_null()
    reason: pl.Expr = pl.lit(_EXPECTED[column.kind])
    if column.kind == "str":
        reason = pl.when(raw.cast(pl.String) == "").then(reason).otherwise(pl.lit("has a NUL character"))
    return values, pl.select(pl.when(failed).then(reason)).to_series()


def _is_written(mapped: ColumnSource, dialect: Dialect) -> bool:
    """Whether numbers of a column are not written as in a program."""
    return mapped.unit == "number" or (dialect.decimal == "comma" and mapped.unit is None)


def _without_blanks(raw: pl.Series, column: ContractColumn) -> pl.Series:
    """Texts without blanks at their ends; where the column is optional, blank ones are missing."""
    if raw.dtype != pl.String or not any(raw.str.starts_with(b).any() or raw.str.ends_with(b).any() for b in " \t"):
        return raw
    bare = raw.str.strip_chars()
    return pl.select(pl.when((bare != "") | (raw == "")).then(bare)).to_series() if column.optional else bare


def _without_missing(raw: pl.Series, dialect: Dialect) -> pl.Series:
    """Values of a column that is no text; null where they are blank, NaN, or a text that means missing."""
    if raw.dtype.is_float():
        return raw.fill_nan(None)
    if raw.dtype != pl.String:
        return raw
    text = raw.str.strip_chars()
    missing = (text == "") | (text.str.to_lowercase() == "nan")
    if dialect.missing:
        missing |= text.is_in(sorted(dialect.missing))
    return pl.select(pl.when(~missing).then(text)).to_series() if missing.any() else text


def plain_numbers(text: pl.Series, decimal: Decimal) -> pl.Series:
    """Numbers as people write them, as plain ones; null for a text that is no number.

    >>> plain_numbers(pl.Series(["$ 1,234.50", "12 %", "-3", "1,23"]), "point").to_list()
    ['1234.50', '12', '-3', None]
    >>> plain_numbers(pl.Series(["1.234,5 €", "0,5"]), "comma").to_list()
    ['1234.5', '0.5']
    """
    bare = text.str.replace(_BEFORE, "${1}").str.replace(_AFTER, "")
    comma = decimal == "comma"
    group, mark = (r"[.'\s]", ",") if comma else (r"[,'\s]", ".")
    grouped = bare.str.contains(rf"^[+-]?\d{{1,3}}({group}\d{{3}})+({re.escape(mark)}\d*)?$")
    valid = grouped | bare.str.contains(rf"^[+-]?(\d+({re.escape(mark)}\d*)?|{re.escape(mark)}\d+)([eE][+-]?\d+)?$")
    digits = pl.select(pl.when(grouped).then(bare.str.replace_all(group, "")).otherwise(bare)).to_series()
    digits = digits.str.replace(",", ".", literal=True) if comma else digits
    return pl.select(pl.when(valid).then(digits)).to_series()


def _text(raw: pl.Series, mapped: ColumnSource) -> pl.Series:
    if raw.dtype in (pl.Date, pl.Datetime):
        raw = raw.dt.strftime("%Y-%m-%d" if raw.dtype == pl.Date else "%Y-%m-%dT%H:%M:%S%.f")
    elif raw.dtype in (pl.Categorical, pl.Enum, pl.Null, pl.Boolean) or raw.dtype.is_numeric():
        raw = raw.cast(pl.String)
    if mapped.unit == "last_html":
        known = {text: html.unescape(text) for text in raw.drop_nulls().unique().to_list() if "&" in text}
        raw = raw.replace(known) if known else raw
    if mapped.column.role and (raw == "").any():  # an empty identifier is missing
        raw = raw.replace("", None)
    nul = raw.str.contains("\0", literal=True)
    return pl.select(pl.when(~nul).then(raw)).to_series() if nul.any() else raw


def _float(raw: pl.Series, mapped: ColumnSource) -> pl.Series:
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        if mapped.unit == "money":
            text = text.str.extract(r"^[^\d\s]{0,3}\s?(\d[\d,]*(?:\.\d+)?)$").str.replace_all(",", "")
        raw = text.cast(pl.Float64, strict=False)
    raw = raw.cast(pl.Float64, strict=False)
    finite = raw.is_finite()
    return raw if finite.all() else pl.select(pl.when(finite).then(raw)).to_series()


def _int(raw: pl.Series, mapped: ColumnSource) -> pl.Series:
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        whole = text.cast(pl.Int64, strict=False)
        if whole.null_count() == raw.null_count():
            return whole
        return pl.select(pl.coalesce(whole, _whole(text.cast(pl.Float64, strict=False)))).to_series()
    return _whole(raw) if raw.dtype.is_float() or raw.dtype.is_decimal() else raw.cast(pl.Int64, strict=False)


def _whole(real: pl.Series) -> pl.Series:
    """Floats without a fraction as integers; beyond 2**53 a float does not identify one integer."""
    real = real.cast(pl.Float64)
    exact = (real == real.round(0)) & (real.abs() <= 2**53)
    return pl.select(pl.when(exact).then(real)).to_series().cast(pl.Int64, strict=False)


def _bool(raw: pl.Series, mapped: ColumnSource) -> pl.Series:
    if raw.dtype != pl.String:
        return raw.cast(pl.Boolean, strict=False)
    text = raw.str.strip_chars().str.to_lowercase()
    return pl.select(pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False)).to_series()


_CAST = {"str": _text, "float": _float, "int": _int, "bool": _bool}


def _failed(lines: pl.Series, column: str, reason: pl.Series) -> pl.DataFrame:
    frame = pl.DataFrame({LINE: lines, "reason": reason}).drop_nulls("reason")
    return frame.select(LINE, pl.lit(column).alias("column"), (pl.lit(f"{column} ") + pl.col("reason")).alias("reason"))


def _one_per_line(failures: list[pl.DataFrame]) -> pl.DataFrame:
    empty = pl.DataFrame(schema={LINE: pl.Int64, "column": pl.String, "reason": pl.String})
    combined = pl.concat([empty, *failures])
    if combined.is_empty():
        return combined
    return (
        combined.group_by(LINE, maintain_order=True).agg(pl.first("column"), pl.col("reason").str.join("; ")).sort(LINE)
    )


def scanned_schema(mapping: ColumnMapping) -> pa.Schema:
    """The Arrow columns of scanned rows: those of the contract, the line and the day."""
    columns = [(mapped.column.name, arrow_type(mapped.column.kind)) for mapped in mapping.columns]
    return pa.schema([*columns, (LINE, pa.int64()), (DAY, pa.date32())])


def arrow_table(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of this schema."""
    return rows.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def to_arrow(frames: list[pl.DataFrame], schema: pa.Schema) -> pa.Table:
    """Frames as one Arrow table of exactly this schema, sorted by `_row`."""
    return joined_rows([arrow_table(frame, schema) for frame in frames], schema)


def joined_rows(tables: list[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables as one of exactly this schema, sorted by `_row`. The list is emptied.

    Large tables are not copied. Small ones are: thousands of chunks, one for each file, would slow down
    every later step.
    """
    tables[:] = [table.select(schema.names) for table in tables if table.num_rows]
    tables.sort(key=lambda table: table["_row"][0].as_py(), reverse=True)  # the last one is taken first
    parts = []
    while tables:
        batch, n_rows = [], 0
        while tables and n_rows < _BATCH_ROWS:
            batch.append(tables.pop())
            n_rows += batch[-1].num_rows
        parts.append(batch[0] if len(batch) == 1 else pa.concat_tables(batch).combine_chunks())
    if not parts:
        return empty_table(schema)
    joined = pa.concat_tables(parts)
    numbers = joined["_row"].to_numpy()
    return joined if (numbers[1:] >= numbers[:-1]).all() else joined.sort_by("_row")
