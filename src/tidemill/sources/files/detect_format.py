"""Format detection: a file's format, and the mapping of its fields to the contract."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tidemill.core.contract.contract import Contract
from tidemill.core.errors import SchemaChanged, SourceUnknown
from tidemill.sources.files.amazon_reviews import amazon_csv, amazon_fields
from tidemill.sources.files.csv_lines import header_fields
from tidemill.sources.files.csv_record import records
from tidemill.sources.files.decompress import Format, chunks, sniff
from tidemill.sources.files.dialect import BOM, Dialect, as_utf8, detect_delimiter
from tidemill.sources.files.excel_rows import ExcelSheet, read_sheet
from tidemill.sources.files.file_url import SKIP, FileUrl
from tidemill.sources.files.json_lines import first_fields
from tidemill.sources.files.mapping import ColumnMapping, by_name, by_position
from tidemill.sources.files.parquet_rows import parquet_schema

_HEAD = 1024 * 1024


class FileLayout(NamedTuple):
    """How to read a file. `mapping` is `None` for a file without content."""

    format: Format
    mapping: ColumnMapping | None
    header: bool = False
    #: The sheet of an Excel file, which has been read for its header.
    sheet: ExcelSheet | None = None


def detect_layout(path: Path, url: FileUrl, contract: Contract, *, timeless: bool) -> FileLayout:
    """Detect the layout from the beginning of a file; `timeless` allows rows without an event time.

    Raises `SchemaChanged` where a declared column is missing, `SourceUnknown` where the fields cannot be mapped.
    """
    head = file_head(path, url.encoding)
    form = sniff(path, head)
    dialect = Dialect(url.encoding, url.delimiter or ",", url.decimal, frozenset(url.missing))
    if form == "empty":
        return FileLayout(form, None)
    if form == "csv":
        head = head.removeprefix(BOM)
        dialect = dialect._replace(delimiter=url.delimiter or detect_delimiter(head))
        layout = _look_csv(path, head, url, dialect.delimiter, contract, timeless=timeless)
    elif form == "json":
        found = first_fields(head)
        specs = url.columns or amazon_fields(contract, found) or ()
        layout = FileLayout(form, by_name(contract, specs, found, str(path), "json", timeless=timeless))
    else:
        sheet = read_sheet(path, url.sheet) if form == "excel" else None
        found = parquet_schema(path).names if sheet is None else sheet.names
        specs = url.columns or ()
        layout = FileLayout(form, by_name(contract, specs, found, str(path), form, timeless=timeless), sheet=sheet)
    assert layout.mapping is not None
    return layout._replace(mapping=layout.mapping._replace(dialect=dialect))


def file_head(path: Path, encoding: str | None) -> bytes:
    """The first megabyte or two of the decompressed content, as UTF-8; `None`: as it is."""
    head = b""
    for piece in as_utf8(chunks(path, _HEAD), encoding or "utf-8", path):
        head += piece
        if len(head) >= _HEAD:
            break
    return head[: 2 * _HEAD]


def _look_csv(
    path: Path, head: bytes, url: FileUrl, delimiter: str, contract: Contract, *, timeless: bool
) -> FileLayout:
    first = header_fields(head, delimiter)
    specs = url.columns or ()
    names = [spec.source or spec.name for spec in specs if spec.name != SKIP]
    header = url.header
    if header is None:
        header = any(spec.source for spec in specs) or _names_columns(first, names, contract, timeless=timeless)
    if header:
        if not set(first) & set(names or contract.names):  # the line may be data, so the message does not quote it
            raise SchemaChanged(
                f"the first line of {path} has none of the columns {', '.join(names or contract.names)}",
                tip="map them with `?columns=name=field,…`; for a file without a header, list all its fields in order",
            )
        return FileLayout("csv", by_name(contract, specs, first, str(path), "csv", timeless=timeless), header=True)
    if not specs:
        whole = head[: head.rfind(b"\n") + 1 or None]
        rows = [fields for _, fields, _, _ in islice(records(whole, ord(delimiter)), 200)]
        specs = amazon_csv(contract, rows) or ()
    if not specs:
        raise SourceUnknown(
            f"{path} has no header that names the columns of {contract.name}, and its format is not recognised",
            tip="list its fields in order: `?columns=" + ",".join(contract.names) + "`, with `_` for one to skip",
        )
    return FileLayout("csv", by_position(contract, specs, str(path), timeless=timeless))


def _names_columns(first: Sequence[str], names: list[str], contract: Contract, *, timeless: bool) -> bool:
    """Whether a first line is a header: it has at least half of the declared or required names."""
    required = [
        column.name
        for column in contract.columns
        if not column.optional and not (timeless and column.role == "event_time")
    ]
    wanted = set(names or required)
    return 2 * len(wanted & set(first)) >= max(1, len(wanted))
