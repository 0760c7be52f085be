"""CSV body of a request: rows of known fields, read and converted as the files of a source are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.errors import SourceUnknown, nearest
from tidemill.core.records.signature import InputField
from tidemill.sources.files.blocks import LineBlock, count_byte
from tidemill.sources.files.csv_lines import CsvLines, without_header
from tidemill.sources.files.csv_record import records
from tidemill.sources.files.dialect import BOM
from tidemill.sources.files.mapping import ColumnMapping, ColumnSource
from tidemill.sources.files.type_conversion import LINE, convert_types


def read_csv_body(body: bytes, fields: Sequence[InputField]) -> tuple[int, dict[str, list[Any]]]:
    r"""The number of rows, and the values of each column by the kind of its field; times are UTC microseconds.

    The first line names the columns, in any order; the delimiter is a comma, the encoding UTF-8, and an empty field is
    missing. Raises `SourceUnknown` for a column that is no field, and for a line or a value that cannot be read, with
    the line and the column.

    >>> read_csv_body(b"b,a\n1.5,x\n,y\n", [InputField(name="a"), InputField(name="b", kind="float")])
    (2, {'b': [1.5, None], 'a': ['x', 'y']})
    """
    data = body.removeprefix(BOM)
    names = _header(data, {field.name: field for field in fields})
    kinds = {field.name: field.kind for field in fields}
    columns = [ContractColumn(name=name, kind=kinds[name], optional=True) for name in names]
    mapping = ColumnMapping(tuple(ColumnSource(column, at) for at, column in enumerate(columns)), len(columns))
    lines = count_byte(data, 10) + (not data.endswith(b"\n"))
    block = without_header(LineBlock(data, 1, lines), ",")
    if not block.data.strip():
        return 0, {name: [] for name in names}
    raw, refused = CsvLines(mapping).decode(block)
    typed, bad = convert_types(raw, mapping)
    problems = [(line.line, line.reason) for line in refused]
    problems += zip(bad[LINE].to_list(), bad["reason"].to_list(), strict=True)
    if problems:
        line, reason = min(problems)
        more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
        raise SourceUnknown(f"line {line:,}: {reason}{more}", tip="correct these lines")
    times = [name for name in names if kinds[name] == "time"]
    typed = typed.with_columns(pl.col(times).cast(pl.Int64)) if times else typed
    return typed.height, {name: typed[name].to_list() for name in names}


def _header(data: bytes, known: dict[str, InputField]) -> list[str]:
    """The names in the first line, each of them a field."""
    _, found, problem, _ = next(records(data, ord(",")), (0, [], None, b""))
    names = [name.strip() for name in found]
    if problem or not names:
        raise SourceUnknown("the first line has no names of columns", tip="for example age,plan")
    for place, name in enumerate(names):
        if not name:
            raise SourceUnknown(
                f"column {place + 1} has no name", tip="write the table without its index: `to_csv(index=False)`"
            )
        if name not in known:
            raise SourceUnknown("the table has a column that is not an input of the model", tip=nearest(name, known))
        if name in names[:place]:
            raise SourceUnknown(f"the first line names `{name}` twice")
    return names
