"""File URL of a source: `file:PATH_OR_GLOB?columns=item_id,user_id,rating,reviewed_at:unix_s`."""

from __future__ import annotations

from typing import Final, Literal, get_args
from urllib.parse import unquote

from tidemill.core.errors import SettingError, nearest
from tidemill.core.record_format import Record

Unit = Literal["unix_s", "unix_ms", "unix_us", "iso", "last", "last_html", "money"]

#: The formats of times in the source.
TIME_UNITS: Final = frozenset({"unix_s", "unix_ms", "unix_us", "iso"})
#: The name that skips a column of a file without a header.
SKIP: Final = "_"

_OPTIONS = ("columns", "header", "delimiter")
_DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}


class ColumnSpec(Record, frozen=True):
    """One column of a mapping, written `name[=source.field][:unit]`."""

    #: The contract's column; `_` skips a column of a file without a header.
    name: str
    #: The field in the source, a dotted path in JSON lines and Parquet; `None` where it has the contract's name.
    source: str | None = None
    #: `unix_s unix_ms unix_us iso` for times; `last` takes the last of a list, `last_html` also decodes `&amp;`;
    #: `money` reads `$1,234.50`, and treats anything else as missing.
    unit: Unit | None = None


class FileUrl(Record, frozen=True):
    """A parsed `file:` URL."""

    #: A file, a folder or a glob; relative to the project's folder.
    path: str
    #: The declared mapping, or `None` to detect the columns.
    columns: tuple[ColumnSpec, ...] | None = None
    #: Whether the first line is a header; `None`: detect it.
    header: bool | None = None
    #: The character between two fields of a line.
    delimiter: str = ","


def parse_file_url(url: str) -> FileUrl:
    """Parse a `file:` URL; an unknown option or unit is refused with the nearest name.

    A `?` inside a path is written `%3F`. Options: `columns=`, `header=true|false`, `delimiter=tab|semicolon|pipe`.

    >>> parse_file_url("file:data/*.csv.gz?columns=item_id,_,reviewed_at:unix_s").columns[2].unit
    'unix_s'
    """
    path, options = split_url(url, "file", _OPTIONS)
    columns = options.get("columns")
    return FileUrl(
        path=path,
        columns=None if columns is None else parse_columns(columns),
        header=_truth(options["header"]) if "header" in options else None,
        delimiter=_delimiter(options.get("delimiter", ",")),
    )


def split_url(url: str, scheme: str, known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The path and the options of `SCHEME:PATH?name=value&…`; an unknown option is refused."""
    actual, colon, rest = url.partition(":")
    if not colon or actual != scheme:
        raise SettingError(f"the source {url!r} does not start with `{scheme}:`")
    path, _, query = rest.partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            raise SettingError(f"the source `{url}` has an unknown option `{name}`: {nearest(name, known)}")
        options[name] = unquote(value)
    return unquote(path.removeprefix("//") if path.startswith("///") else path), options


def parse_columns(text: str) -> tuple[ColumnSpec, ...]:
    """Parse a list of column specs."""
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
    return ColumnSpec(name=name, source=source or None, unit=unit or None)  # type: ignore[arg-type]


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise SettingError(f"`header={text}` is neither true nor false")
    return text == "true"


def _delimiter(text: str) -> str:
    delimiter = _DELIMITERS.get(text, text)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise SettingError(f"`delimiter={text}` is not a delimiter: {nearest(text, _DELIMITERS)}")
    return delimiter
