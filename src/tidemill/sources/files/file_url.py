"""File URL of a source: `file:PATH_OR_GLOB?columns=item_id,user_id,rating,reviewed_at:unix_s`."""

from __future__ import annotations

import codecs
from typing import Final, Literal, get_args
from urllib.parse import unquote

from tidemill.core.errors import SettingError, nearest
from tidemill.core.record_format import Record
from tidemill.sources.files.dialect import DELIMITERS, Decimal

Unit = Literal["unix_s", "unix_ms", "unix_us", "iso", "dmy", "mdy", "ymd", "number", "money", "last", "last_html"]

#: The formats of times in the source: numbers, and texts.
UNIX_UNITS: Final = frozenset({"unix_s", "unix_ms", "unix_us"})
TIME_UNITS: Final = UNIX_UNITS | {"iso", "dmy", "mdy", "ymd"}
#: The formats of numbers that are texts in the source.
NUMBER_UNITS: Final = frozenset({"number", "money"})
#: The name that skips a column of a file without a header.
SKIP: Final = "_"

_OPTIONS = ("columns", "header", "delimiter", "encoding", "decimal", "missing", "sheet")


class ColumnSpec(Record, frozen=True):
    """One column of a mapping, written `name[=source.field][:unit]`."""

    #: The contract's column; `_` skips a column of a file without a header.
    name: str
    #: The field in the source, a dotted path in JSON lines and Parquet; `None` where it has the contract's name.
    source: str | None = None
    #: For times `unix_s unix_ms unix_us iso`, or the order of a date's day, month and year: `dmy mdy ymd`. For numbers
    #: `number`: `$1,234.50` and `12%` are 1234.5 and 12, and what is no number is refused (by `money` it is missing).
    #: For texts `last`, which takes the last of a list, and `last_html`, which also decodes `&amp;`.
    unit: Unit | None = None


class FileUrl(Record, frozen=True):
    """A parsed `file:` URL."""

    #: A file, a folder or a glob; relative to the project's folder.
    path: str
    #: The declared mapping, or `None` to detect the columns.
    columns: tuple[ColumnSpec, ...] | None = None
    #: Whether the first line is a header; `None`: detect it.
    header: bool | None = None
    #: The character between two fields of a line; `None`: detect it.
    delimiter: str | None = None
    #: Python's name of the encoding of its text.
    encoding: str = "utf-8"
    #: With `comma`, numbers are written `1.234,5`.
    decimal: Decimal = "point"
    #: Texts that mean a missing value in columns that are not text, such as `NA`.
    missing: tuple[str, ...] = ()
    #: Sheet of an Excel file; `None`: its first.
    sheet: str | None = None


def parse_file_url(url: str) -> FileUrl:
    """Parse a `file:` URL; an unknown option or unit is refused with the nearest name.

    A `?` inside a path is written `%3F`, a `,`, `=` or `:` inside a name `%2C`, `%3D` or `%3A`. Options: `columns=`,
    `header=true|false`, `delimiter=comma|tab|semicolon|pipe|space`, `encoding=windows-1252`, `decimal=comma`,
    `missing=NA,?` and `sheet=`.

    >>> parse_file_url("file:data/*.csv.gz?columns=item_id,_,reviewed_at:unix_s").columns[2].unit
    'unix_s'
    """
    path, options = split_url(url, "file", _OPTIONS)
    columns = options.get("columns")
    return FileUrl(
        path=path,
        columns=None if columns is None else parse_columns(columns),
        header=_truth(options["header"]) if "header" in options else None,
        delimiter=_delimiter(unquote(options["delimiter"])) if "delimiter" in options else None,
        encoding=_encoding(unquote(options.get("encoding", "utf-8"))),
        decimal=_decimal(options.get("decimal", "point")),
        missing=tuple(unquote(mark).strip() for mark in options.get("missing", "").split(",") if mark),
        sheet=unquote(options["sheet"]) if options.get("sheet") else None,
    )


def split_url(url: str, scheme: str, known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The path, and the options of `SCHEME:PATH?name=value&…` as they are written; an unknown one is refused."""
    actual, colon, rest = url.partition(":")
    if not colon or actual != scheme:
        raise SettingError(f"the source {url!r} does not start with `{scheme}:`")
    path, _, query = rest.partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            raise SettingError(f"the source `{url}` has an unknown option `{name}`: {nearest(name, known)}")
        options[name] = value
    return unquote(path.removeprefix("//") if path.startswith("///") else path), options


def parse_columns(text: str) -> tuple[ColumnSpec, ...]:
    """Parse a list of column specs, percent-encoded as in a URL."""
    specs = tuple(_column(part.strip()) for part in text.split(","))
    names = [spec.name for spec in specs if spec.name != SKIP]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise SettingError(f"`columns={text}` names {', '.join(duplicates)} twice")
    return specs


def _column(text: str) -> ColumnSpec:
    head, colon, unit = text.rpartition(":")
    if not colon:
        head, unit = text, ""
    elif unit not in get_args(Unit):
        if "=" not in head:
            raise SettingError(f"the column `{text}` has an unknown unit `{unit}`: {nearest(unit, get_args(Unit))}")
        head, unit = text, ""  # the colon is part of the source's own field name, such as `Size:`
    name, equals, source = head.partition("=")
    if not name or (equals and not source):
        raise SettingError(f"the column `{text}` has no name", tip="write name[=source.field][:unit]")
    return ColumnSpec(name=unquote(name), source=unquote(source) or None, unit=unit or None)  # type: ignore[arg-type]


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise SettingError(f"`header={text}` is neither true nor false")
    return text == "true"


def _delimiter(text: str) -> str:
    delimiter = DELIMITERS.get(text, text)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise SettingError(f"`delimiter={text}` is not a delimiter: {nearest(text, DELIMITERS)}")
    return delimiter


def _encoding(text: str) -> str:
    try:
        found = codecs.lookup(text)
        "".encode(text)  # such as `hex` is no encoding of text
    except (LookupError, ValueError):
        known = (
            "utf-8",
            "utf-16",
            "windows-1252",
            "windows-1250",
            "windows-1251",
            "iso-8859-1",
            "shift_jis",
            "gb18030",
        )
        raise SettingError(f"`encoding={text}` is not an encoding: {nearest(text, known)}") from None
    return "utf-8" if found.name == "utf-8-sig" else found.name


def _decimal(text: str) -> Decimal:
    if text not in get_args(Decimal):
        raise SettingError(f"`decimal={text}` is neither point nor comma")
    return text  # type: ignore[return-value]
