"""A file of rows as a table: its format and dialect, and the kind of each column, found from all of its rows.

CSV in the dialects of other countries, JSON lines, Parquet and Excel. Whatever is found can be said by the options of a
`file:` URL, so that a source reads the file in the same way from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
import polars as pl
import pyarrow as pa

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.errors import SourceDamaged, SourceMissing, SourceUnknown, UnknownName, nearest
from tidemill.core.kinds import arrow_type
from tidemill.core.record_format import decode_json
from tidemill.sources.files.blocks import LineReader, after_record
from tidemill.sources.files.column_kinds import FileColumn, infer_column, infer_decimal
from tidemill.sources.files.csv_lines import CsvLines, header_fields, without_header
from tidemill.sources.files.decompress import chunks, is_text, sniff, sniff_binary
from tidemill.sources.files.detect_format import file_head
from tidemill.sources.files.dialect import (
    BOM,
    DELIMITERS,
    Decimal,
    Dialect,
    as_utf8,
    detect_delimiter,
    detect_encoding,
)
from tidemill.sources.files.excel_rows import read_sheet
from tidemill.sources.files.file_url import FileUrl
from tidemill.sources.files.mapping import ColumnMapping, ColumnSource, Form
from tidemill.sources.files.type_conversion import LINE, convert_types


@dataclass(frozen=True)
class TableFile:
    """A file of rows."""

    path: Path
    form: Form
    columns: tuple[FileColumn, ...]
    n_rows: int
    header: bool = True
    dialect: Dialect = field(default_factory=Dialect)
    sheet: str | None = None
    #: What was decided about its values, as sentences.
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> FileColumn:
        """The column named `name` here or in the file; raises `UnknownName` with the nearest name."""
        for column in self.columns:
            if name in (column.name, column.source):
                return column
        raise UnknownName(
            f"{self.path} has no column {name!r}", tip=nearest(name, [column.source for column in self.columns])
        )

    def options(self) -> str:
        """The options of a `file:` URL by which a source reads it in this way, without the `?`."""
        options = {}
        if self.form == "csv":
            options = {"header": "true" if self.header else "false"}
            if self.dialect.delimiter != ",":
                names = {mark: name for name, mark in DELIMITERS.items()}
                options["delimiter"] = names.get(self.dialect.delimiter, quote(self.dialect.delimiter, safe=""))
            if self.dialect.encoding != "utf-8":
                options["encoding"] = self.dialect.encoding
            if self.dialect.decimal != "point":
                options["decimal"] = self.dialect.decimal
        if self.dialect.missing:
            options["missing"] = ",".join(quote(mark, safe="?/") for mark in sorted(self.dialect.missing))
        if self.sheet is not None:
            options["sheet"] = quote(self.sheet, safe=" ")
        usual = self.header and all(column.name == column.source and not column.unit for column in self.columns)
        if not usual:
            options["columns"] = ",".join(
                _spec(column, header=self.header)
                for column in self.columns
                if not self.header or column.unit or column.name != column.source
            )
        return "&".join(f"{name}={value}" for name, value in options.items())


def _spec(column: FileColumn, *, header: bool) -> str:
    source = f"={quote(column.source, safe=' ()/-.')}" if header and column.name != column.source else ""
    return quote(column.name, safe=" ") + source + (f":{column.unit}" if column.unit else "")


def inspect_table(path: Path, names: Sequence[str] = (), url: FileUrl | None = None) -> TableFile:
    """Read a file and find out how it is written. `names` are those of a CSV file without a header.

    What `url` sets is not looked for. Raises `SourceMissing`, `SourceUnknown` for any other type of file, and
    `SourceDamaged` for one that cannot be read.
    """
    table, _, refused = _inspect(path, names, url)
    return replace(table, notes=(_unequal(refused), *table.notes)) if refused else table


def _unequal(refused: int) -> str:
    return f"{refused:,} lines are refused: they have other fields than the first line"


def read_table(path: Path, text: Sequence[str] = (), url: FileUrl | None = None) -> pa.Table:
    """The rows of a file, each column in the type of its kind; also of a JSON file that is one list of objects.

    The columns of `text`, whose case is ignored, stay text: identifiers such as 007. Raises as `inspect_table`, and
    `SourceUnknown` with the line of a value that cannot be converted.
    """
    found, rows, refused = _inspect(path, (), url, lists=True)
    if refused:
        raise SourceUnknown(f"{path}: {_unequal(refused)}", tip="correct these lines, or remove them")
    kept = {name.lower() for name in text}
    if found.form not in ("csv", "excel"):
        table = pa.table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
        return _plain_strings(table)
    mapping = ColumnMapping(
        tuple(
            ColumnSource(
                ContractColumn(
                    name=column.source,
                    kind="str" if column.source.lower() in kept else column.kind,
                    optional=True,
                    zone="UTC" if column.kind == "time" else None,
                ),
                place,
                None if column.source.lower() in kept else column.unit,
            )
            for place, column in enumerate(found.columns)
        ),
        dialect=found.dialect,
    )
    lines = pl.Series(LINE, range(1, rows.height + 1), dtype=pl.Int64)
    typed, bad = convert_types(rows.with_columns(lines), mapping)
    if bad.height:
        raise SourceUnknown(
            f"{path}: row {bad[LINE][0]:,}: {bad['reason'][0]}", tip="correct these rows, or remove them"
        )
    wanted = pa.schema([(mapped.column.name, arrow_type(mapped.column.kind)) for mapped in mapping.columns])
    return typed.drop(LINE).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(wanted)


def _plain_strings(table: pa.Table) -> pa.Table:
    """Texts and lists of texts with 32-bit offsets, as the rest of the package has them."""
    plain = {pa.large_string(): pa.string(), pa.large_list(pa.large_string()): pa.list_(pa.string())}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _inspect(
    path: Path, names: Sequence[str], url: FileUrl | None, *, lists: bool = False
) -> tuple[TableFile, pl.DataFrame, int]:
    """The table; its rows, text for CSV, typed for the other formats; and the number of refused lines."""
    if not path.is_file():
        near = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceMissing(f"there is no file {path}", tip=nearest(path.name, near) if near else None)
    head = file_head(path, None)
    encoding = url.encoding if url and url.encoding != "utf-8" else detect_encoding(head)
    if encoding == "utf-16" or (sniff_binary(path, head) is None and is_text(head)):
        head = file_head(path, encoding)
    form: Any = "json" if lists and head.lstrip()[:1] == b"[" else sniff(path, head)
    if form == "empty":
        raise SourceUnknown(f"{path} has no rows", tip="it needs a header, and a line for each row")
    if form == "csv" and not is_text(head):
        raise SourceUnknown(f"{path} is not text", tip="it needs CSV, JSON lines, Parquet or Excel")
    notes: list[str] = []
    refused = 0
    dialect, sheet = Dialect(encoding), url.sheet if url else None
    if form == "csv":
        dialect = dialect._replace(delimiter=(url and url.delimiter) or detect_delimiter(head.removeprefix(BOM)))
        rows, refused = _text_rows(path, dialect, names, head)
    else:
        book = read_sheet(path, sheet) if form == "excel" else None
        rows = _typed_rows(path, form) if book is None else book.table()
        if book is not None and sheet is None and len(book.sheets) > 1:
            others = ", ".join(book.sheets[1:10])
            notes.append(f"the first sheet, {book.sheets[0]}, is read; `sheet=` names another one: {others}")
    if not rows.height:
        raise SourceUnknown(f"{path} has no rows", tip="it needs a header, and a line for each row")
    decimal: Decimal = (url.decimal if url and url.decimal != "point" else None) or infer_decimal(rows, form)
    marks = frozenset(url.missing if url else ())
    specs = {spec.source or spec.name: spec for spec in (url.columns if url else None) or ()}
    columns = []
    for series in rows:
        one = infer_column(series, form, decimal, marks, specs.get(series.name))
        notes += [f"{series.name}: {note}" for note in one.notes]
        marks |= one.missing
        columns += [one.column] if one.column else []
    if not columns and not lists:
        raise SourceUnknown(f"{path} has no column that can be read", tip="it needs numbers, texts, flags or times")
    dialect = dialect._replace(decimal=decimal, missing=frozenset(marks))
    table = TableFile(path, form, tuple(columns), rows.height, not names, dialect, sheet, tuple(notes))
    return table, rows if lists else rows.select(column.source for column in columns), refused


def _text_rows(path: Path, dialect: Dialect, names: Sequence[str], head: bytes) -> tuple[pl.DataFrame, int]:
    """All records of a CSV file as text, and the number of refused ones."""
    first = header_fields(head.removeprefix(BOM), dialect.delimiter)
    if names and len(names) != len(first):
        raise UnknownName(f"{path} has {len(first)} fields per line, but {len(names)} names are given")
    called = list(names) or first
    if not called:
        raise SourceUnknown(f"the first line of {path} has no names of columns", tip="name them with --columns")
    columns = [ColumnSource(ContractColumn(name=name, optional=True), at) for at, name in enumerate(called)]
    decoder = CsvLines(ColumnMapping(tuple(columns), len(called), dialect))
    frames, refused = [], 0
    for block in LineReader(as_utf8(chunks(path), dialect.encoding, path), after_record):
        if block.too_long:
            refused += 1
            continue
        data = block.data.removeprefix(BOM) if block.first == 1 else block.data
        block = block._replace(data=data)
        if block.first == 1 and not names:
            block = without_header(block, dialect.delimiter)
        if block.data.strip():
            raw, bad = decoder.decode(block)
            refused += len(bad)
            frames.append(raw.drop(LINE).cast(pl.String))
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(called, pl.String)), refused


def _typed_rows(path: Path, form: Literal["json", "parquet"]) -> pl.DataFrame:
    try:
        if form == "parquet":
            return pl.read_parquet(path, glob=False)
        raw = b"".join(chunks(path)).removeprefix(BOM)
        if raw.lstrip()[:1] == b"[":
            return pl.DataFrame(decode_json(raw, list[dict[str, Any]]), infer_schema_length=None)
        return pl.read_ndjson(raw, infer_schema_length=None)
    except (pl.exceptions.PolarsError, msgspec.DecodeError, OSError) as error:
        raise SourceDamaged(f"{path} cannot be read as {form}: {str(error).splitlines()[0][:200]}") from error
