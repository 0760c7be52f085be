"""CSV decoder: a fast parser, and a slow line-by-line parser for blocks with a malformed line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.core.kinds import Kind
from tidemill.sources.files.blocks import LineBlock, count_byte
from tidemill.sources.files.csv_record import records
from tidemill.sources.files.decoder import LineRefusal, RawColumns
from tidemill.sources.files.file_url import NUMBER_UNITS
from tidemill.sources.files.mapping import ColumnMapping, ColumnSource
from tidemill.sources.files.type_conversion import LINE

_FAST: dict[Kind, pl.DataType] = {"float": pl.Float64(), "int": pl.Int64()}

_Schema = dict[str, pl.DataType]


class CsvLines:
    """Decodes blocks of CSV lines by position."""

    def __init__(self, mapping: ColumnMapping) -> None:
        delimiter = mapping.dialect.delimiter
        self._fields = mapping.fields
        self._mapped = [(mapped, mapped.at) for mapped in mapping.columns if isinstance(mapped.at, int)]
        self._delimiter = delimiter.encode()
        typed = {at: _fast_type(mapped, mapping) for mapped, at in self._mapped}
        self._schema: _Schema = {f"f{i}": typed.get(i, pl.String()) for i in range(self._fields)}
        self._texts: _Schema = dict.fromkeys(self._schema, pl.String())
        self._places = sorted(at for _, at in self._mapped)
        self._names = {f"f{at}": mapped.column.name for mapped, at in self._mapped}

    def decode(self, block: LineBlock) -> RawColumns:
        return self._fast(block) or self._by_structure(block) or self._patient(block)

    def _fast(self, block: LineBlock) -> RawColumns | None:
        """Typed parsing of a block that has no quotes and whose lines all have the right number of fields.

        The parser raises for a line with too many fields; the total number of delimiters excludes too few.
        """
        commas = count_byte(block.data, self._delimiter[0])
        if b'"' in block.data or commas != (self._fields - 1) * block.lines:
            return None
        frame = self._parse(block.data, self._schema)
        if frame is None or frame.height != block.lines:
            return None
        return RawColumns(frame.with_columns(pl.int_range(block.first, block.first + block.lines).alias(LINE)), [])

    def _by_structure(self, block: LineBlock) -> RawColumns | None:
        """Remove blank lines and lines with the wrong number of fields, and parse the rest as strings."""
        structure = _structure(block.data, self._delimiter[0])
        if structure is None:
            return None
        starts, ends, fields, blank, line = structure
        good = (fields == self._fields) & ~blank
        data = block.data
        if not good.all():
            array = np.frombuffer(data, np.uint8)
            data = array[np.repeat(good, ends - starts)[: array.size]].tobytes()
        frame = self._parse(data, self._texts) if good.any() else self._empty()
        if frame is None or frame.height != int(good.sum()):
            return None
        strings = [name for name, dtype in frame.schema.items() if dtype == pl.String]
        raw = frame.with_columns(pl.col(strings).replace("", None), pl.Series(LINE, line[good] + block.first))
        refused = [
            LineRefusal(
                block.first + int(line[i]), "", self._wrong(int(fields[i])), _trim(block.data[starts[i] : ends[i]])
            )
            for i in np.flatnonzero(~good & ~blank)
        ]
        return RawColumns(raw, refused)

    def _patient(self, block: LineBlock) -> RawColumns:
        """Line-by-line parsing of blocks with malformed quotes or invalid UTF-8."""
        lines: list[int] = []
        rows: list[list[str]] = []
        refused: list[LineRefusal] = []
        for line, fields, problem, raw in records(block.data, self._delimiter[0]):
            if problem is None and len(fields) != self._fields:
                problem = self._wrong(len(fields))
            if problem is None:
                lines.append(block.first + line)
                rows.append(fields)
            else:
                refused.append(LineRefusal(block.first + line, "", problem, raw))
        columns = {mapped.column.name: [row[at] or None for row in rows] for mapped, at in self._mapped}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))
        return RawColumns(frame.with_columns(pl.Series(LINE, lines, dtype=pl.Int64)), refused)

    def _parse(self, data: bytes, schema: _Schema) -> pl.DataFrame | None:
        try:
            frame = pl.read_csv(
                data,
                has_header=False,
                separator=self._delimiter.decode(),
                schema=schema,
                columns=self._places,
            )
        except pl.exceptions.PolarsError:  # its message may contain a value, so it is not passed on
            return None
        return frame.rename(self._names)

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=dict.fromkeys(self._names.values(), pl.String()))

    def _wrong(self, found: int) -> str:
        return f"has {found} field{'s' * (found != 1)} but {self._fields} are declared"


def _fast_type(mapped: ColumnSource, mapping: ColumnMapping) -> pl.DataType:
    if mapped.unit in NUMBER_UNITS or mapping.dialect.decimal == "comma":
        return pl.String()
    if mapped.column.kind == "time" and mapped.unit is not None and mapped.unit.startswith("unix"):
        return pl.Int64()
    return _FAST.get(mapped.column.kind, pl.String())


_Ints = npt.NDArray[np.int64]


def _structure(data: bytes, delimiter: int) -> tuple[_Ints, _Ints, _Ints, npt.NDArray[np.bool_], _Ints] | None:
    """Start and end offsets of records, their number of fields, a mask of blank ones, and their first line numbers.

    `None` where quotes violate RFC 4180, so that counting them is not reliable.
    """
    array = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(array == 10)
    ends, commas = newlines, np.flatnonzero(array == delimiter)
    if b'"' in data:
        quotes = np.flatnonzero(array == 34)
        if not _well_quoted(array, quotes, delimiter):
            return None
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
        commas = commas[np.searchsorted(quotes, commas) % 2 == 0]
    if not data.endswith(b"\n"):
        ends = np.append(ends, array.size)
    starts = np.concatenate([[0], ends[:-1] + 1])
    fields = np.searchsorted(commas, ends) - np.searchsorted(commas, starts) + 1
    width = ends - starts
    blank = (width == 0) | ((width == 1) & (array[np.minimum(starts, array.size - 1)] == 13))
    return starts, ends + 1, fields, blank, np.searchsorted(newlines, starts)


def _well_quoted(array: npt.NDArray[np.uint8], quotes: _Ints, delimiter: int) -> bool:
    """Whether every quote opens a field at its start, closes it at its end, or is doubled inside it."""
    if quotes.size % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = array[np.maximum(opening - 1, 0)]
    behind = array[np.minimum(closing + 1, array.size - 1)]
    opens = (opening == 0) | np.isin(before, [delimiter, 10, 34])
    closes = (closing == array.size - 1) | np.isin(behind, [delimiter, 10, 13, 34])
    return bool(opens.all() and closes.all())


def _trim(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r")


def header_fields(head: bytes, delimiter: str) -> list[str]:
    """The column names of the first record that is not blank."""
    for _, fields, problem, _ in records(head, ord(delimiter)):
        return [] if problem else column_names(fields)
    return []


def column_names(header: Sequence[str]) -> list[str]:
    """Distinct names for the fields of a header.

    >>> column_names(["", " a ", "a", "b"])
    ['column_1', 'a', 'a_2', 'b']
    """
    found: list[str] = []
    for place, text in enumerate(header, 1):
        name = plain = text.strip() or f"column_{place}"
        number = 2
        while name in found:
            name, number = f"{plain}_{number}", number + 1
        found.append(name)
    return found


def without_header(block: LineBlock, delimiter: str) -> LineBlock:
    """The lines after the first record."""
    lines, end = 0, 0
    for line, _, _, raw in records(block.data, ord(delimiter)):
        lines = line + raw.count(b"\n") + 1
        break
    for _ in range(lines):
        end = block.data.find(b"\n", end) + 1 or len(block.data)
    return LineBlock(block.data[end:], block.first + lines, max(0, block.lines - lines))
