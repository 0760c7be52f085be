"""Schema inference: the name, kind and role of each column of a file, from all of its rows."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import polars as pl

from tidemill.core.errors import SourceDamaged, SourceUnknown, UnknownName, nearest
from tidemill.core.kinds import Kind

#: Words in a name that suggest that a column identifies people.
_PEOPLE = re.compile(r"customer|user|person|client|patient|member|employee|subscriber|passenger|driver", re.IGNORECASE)
_CASTS: tuple[tuple[Kind, pl.DataType], ...] = (("int", pl.Int64()), ("float", pl.Float64()))
_TRUTH = frozenset({"true", "false"})
#: Names with another meaning in the generated mill.py, or in the class of its rows.
RESERVED = frozenset({"bool", "datetime", "float", "int", "mill", "rows", "str", "tm", "Row"})
_ISO = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]\d{2}:\d{2}(:\d{2})?(\.\d+)?)?\s?([Zz]|[+-]\d{2}:?\d{2})?$"


@dataclass(frozen=True)
class InferredColumn:
    """One column of a file."""

    #: Its name in mill.py, and in the file.
    name: str
    source: str
    kind: Kind
    #: Whether some row lacks it, and whether all its values are distinct.
    optional: bool
    unique: bool
    #: For a time: whether all of its values have a time zone, and its last day.
    zoned: bool = False
    last: date | None = None

    @property
    def names_people(self) -> bool:
        """Whether it looks like the identifier of a person."""
        return self.kind == "str" and self.unique and bool(_PEOPLE.search(self.name))


@dataclass(frozen=True)
class InferredFile:
    """A file of rows: CSV, JSON lines or Parquet."""

    path: Path
    form: Literal["csv", "json", "parquet"]
    columns: tuple[InferredColumn, ...]
    n_rows: int
    header: bool = True

    def column(self, name: str) -> InferredColumn:
        """The column named `name` here or in the file; raises `UnknownName` with the nearest name."""
        for column in self.columns:
            if name in (column.name, column.source):
                return column
        raise UnknownName(
            f"{self.path} has no column {name!r}", tip=nearest(name, [column.source for column in self.columns])
        )


def infer_schema(path: Path, names: Sequence[str] = ()) -> InferredFile:
    """Read a file and infer the kind of each column. `names` are those of a CSV file without a header.

    Raises `SourceUnknown` for any other type of file, and `SourceDamaged` for one that cannot be read.
    """
    if not path.is_file():
        raise SourceUnknown(f"there is no file {path}")
    form = _form(path)
    try:
        rows = _read(path, form, names)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceDamaged(
            f"{path} cannot be read as {form}: {str(error).splitlines()[0]}",
            tip="save it as UTF-8" if "utf-8" in str(error) else None,
        ) from error
    if not rows.height:
        raise SourceUnknown(f"{path} has no rows")
    called = _called(rows.columns)
    columns = tuple(_column(rows[source], name) for name, source in zip(called, rows.columns, strict=True))
    return InferredFile(path, form, columns, rows.height, header=not names)


def _form(path: Path) -> Literal["csv", "json", "parquet"]:
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zst")]
    match suffixes[-1:] if suffixes else []:
        case [".parquet" | ".pq"]:
            return "parquet"
        case [".json" | ".jsonl" | ".ndjson"]:
            return "json"
        case [".csv" | ".txt" | ".data"]:
            return "csv"
    raise SourceUnknown(f"unsupported file type: {path}", tip="name it .csv, .jsonl or .parquet")


def _read(path: Path, form: str, names: Sequence[str]) -> pl.DataFrame:
    if form == "parquet":
        return pl.read_parquet(path)
    if form == "json":
        return pl.read_ndjson(path, infer_schema_length=None)
    found = pl.read_csv(path, has_header=False, infer_schema=False)
    if names and len(names) != found.width:
        raise UnknownName(f"{path} has {found.width} fields per line, but {len(names)} names are given")
    called = names or _header(path, found.row(0))
    return (found if names else found.slice(1)).rename(dict(zip(found.columns, called, strict=True)))


def _header(path: Path, first: Sequence[str | None]) -> list[str]:
    """The names on the first line, without byte order mark and surrounding blanks, as a run reads them."""
    called = [(name or "").removeprefix("\ufeff").strip() for name in first]
    if "" in called:
        place = called.index("") + 1
        raise SourceUnknown(f"column {place} of {path} has no name", tip="name it in the first line")
    twice = [name for name, times in Counter(called).items() if times > 1]
    if twice:
        raise SourceUnknown(f"{path} has several columns named {twice[0]!r}", tip="rename them in the first line")
    return called


def _called(sources: Sequence[str]) -> list[str]:
    """Valid and distinct Python names for the columns."""
    found: list[str] = []
    for source in sources:
        # Python reads m² as m2, so the column gets that name at once
        plain = unicodedata.normalize("NFKC", source.strip())
        name = re.sub("_+", "_", "".join(letter if f"a{letter}".isidentifier() else "_" for letter in plain)).strip("_")
        name = name or "column"
        if not name.isidentifier() or keyword.iskeyword(name) or name in RESERVED:
            name = f"c_{name}"
        while name in found:
            name += "_"
        found.append(name)
    return found


def _column(values: pl.Series, name: str) -> InferredColumn:
    kind, plain = _kind(values)
    missing = plain.null_count() > 0
    # a number with only distinct values is a measure; such a text or integer may be the row's key
    unique = kind in ("str", "int") and not missing and plain.n_unique() == len(plain)
    zoned = kind == "time" and (
        plain.dtype == pl.Datetime("us", "UTC") or bool(getattr(values.dtype, "time_zone", None)) or _all_zoned(values)
    )
    return InferredColumn(name, values.name, kind, missing, unique, zoned, _last(plain) if kind == "time" else None)


def _last(times: pl.Series) -> date | None:
    last = times.max()
    if isinstance(last, str):  # ISO 8601 sorts as text, except for offsets of some hours
        try:
            return date.fromisoformat(last[:10])
        except ValueError:  # such as 30 February; the run will refuse its line
            return None
    return last.date() if isinstance(last, datetime) else last if isinstance(last, date) else None


def _kind(values: pl.Series) -> tuple[Kind, pl.Series]:
    """The kind of a column, and its values with blanks as null."""
    if values.dtype == pl.String:
        text = values.str.strip_chars()
        plain = pl.select(pl.when(text != "").then(text)).to_series()
        return _kind_of_text(plain)
    if values.dtype == pl.Boolean:
        return "bool", values
    if values.dtype.is_integer():
        return "int", values
    if values.dtype.is_float() or values.dtype.is_decimal() or values.dtype == pl.Null:
        return "float", values
    if values.dtype in (pl.Date, pl.Datetime):
        return "time", values
    return "str", values.cast(pl.String, strict=False)


def _kind_of_text(text: pl.Series) -> tuple[Kind, pl.Series]:
    missing = text.null_count()
    if missing == len(text):
        return "float", text
    for kind, wanted in _CASTS:
        cast = text.cast(wanted, strict=False)
        if cast.null_count() == missing:
            return kind, cast
    if text.str.to_lowercase().drop_nulls().is_in(list(_TRUTH)).all():
        return "bool", text
    if text.drop_nulls().str.contains(_ISO).all():
        return "time", text
    return "str", text


def _all_zoned(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return False
    return bool(values.str.strip_chars().drop_nulls().str.contains(r"([Zz]|[+-]\d{2}:?\d{2})$").all())
