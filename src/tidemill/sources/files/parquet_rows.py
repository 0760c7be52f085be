"""Parquet decoder: reads the mapped columns in batches; a row's number is its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.errors import SchemaChanged, SourceDamaged
from tidemill.core.kinds import Kind
from tidemill.sources.files.file_url import NUMBER_UNITS, UNIX_UNITS
from tidemill.sources.files.mapping import ColumnMapping, ColumnSource
from tidemill.sources.files.type_conversion import LINE

_ROWS = 250_000


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file."""
    return _open(path).schema_arrow


def parquet_rows(path: Path, mapping: ColumnMapping) -> Iterator[tuple[pl.DataFrame, int]]:
    """Batches of raw columns with the contract's names and `_line`, and the number of rows so far."""
    file = _open(path)
    mapped = [each for each in mapping.columns if isinstance(each.at, tuple)]
    _check_types(path, file.schema_arrow, mapped)
    wanted = sorted({str(each.at[0]) for each in mapped if isinstance(each.at, tuple)})
    line = 0
    batches = file.iter_batches(batch_size=_ROWS, columns=wanted, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from None
        if batch is None:
            return
        frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
        columns = [_pick(frame, each) for each in mapped]
        numbers = pl.Series(LINE, range(line + 1, line + 1 + frame.height), dtype=pl.Int64)
        line += frame.height
        yield pl.DataFrame([*columns, numbers]), line


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> SourceDamaged:
    return SourceDamaged(
        f"the Parquet file {path} is truncated or damaged ({type(error).__name__}); no rows of it were ingested",
        tip="run again when it is complete, or deliver it again",
    )


def _pick(frame: pl.DataFrame, mapped: ColumnSource) -> pl.Series:
    head, *rest = mapped.at if isinstance(mapped.at, tuple) else ("",)
    series = frame[str(head)]
    for name in rest:
        series = series.struct.field(name)
    if isinstance(series.dtype, pl.List):
        series = series.list.last()
    return series.alias(mapped.column.name)


def _check_types(path: Path, schema: pa.Schema, mapped: list[ColumnSource]) -> None:
    for each in mapped:
        if not isinstance(each.at, tuple):
            continue
        found = schema.field(str(each.at[0])).type
        for name in each.at[1:]:
            if not pa.types.is_struct(found) or found.get_field_index(name) < 0:
                raise SchemaChanged(f"{path} has no field `{each.label}`, which fills `{each.column.name}`")
            found = found.field(name).type
        if not _fits(found, each):
            raise SchemaChanged(
                f"{path} has `{each.label}` as {found}, but `{each.column.name}` is declared {each.column.kind};"
                " no rows of it were ingested",
                tip="fix the producer, or change the contract in mill.py"
                if each.column.kind != "time"
                else f"declare the unit of the time, for example `{each.column.name}={each.label}:unix_s`",
            )


def _fits(found: pa.DataType, mapped: ColumnSource) -> bool:
    kind: Kind = mapped.column.kind
    number = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    text = pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if pa.types.is_null(found):
        return mapped.column.optional
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        return bool(kind == "str" and mapped.unit in ("last", "last_html"))
    if kind == "str":
        return bool(text or pa.types.is_dictionary(found) or pa.types.is_integer(found))  # ids are often numbers
    if kind == "bool":
        return bool(pa.types.is_boolean(found))
    if kind == "time":
        plain = pa.types.is_timestamp(found) or pa.types.is_date(found)
        return bool(number or text) if mapped.unit in UNIX_UNITS else bool(plain or text)
    return bool(number or (text and mapped.unit in NUMBER_UNITS))
