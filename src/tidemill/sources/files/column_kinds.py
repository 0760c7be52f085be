"""Kinds of the columns of a table: how all values of a column are written, as found by looking at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl

from tidemill.core.kinds import Kind
from tidemill.sources.files.dialect import Decimal
from tidemill.sources.files.event_times import CALENDARS, iso_texts
from tidemill.sources.files.file_url import ColumnSpec, Unit
from tidemill.sources.files.type_conversion import plain_numbers

#: Texts that mean a missing value where all other values of a column are numbers, times or flags.
MISSING = frozenset(
    {"NA", "N/A", "n/a", "na", "#N/A", "NULL", "Null", "null", "None", "none", "NaN", "nan", "NAN", "?", "-", "--", "."}
)
_NAN = frozenset({"NaN", "nan", "NAN"})
_INT, _ZEROS = r"^[+-]?(0|[1-9]\d*)$", r"^[+-]?\d+$"
_FLOAT = r"^[+-]?(?:(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
_COMMA = _FLOAT.replace(r"\.", ",")
_ISO = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]\d{2}:\d{2}(:\d{2})?(\.\d+)?)?\s?([Zz]|[+-]\d{2}:?\d{2})?$"
_TRUTH = ("true", "false")
_EXACT = 2**53
_ORDERS = {"dmy": "the day", "mdy": "the month", "ymd": "the year"}


@dataclass(frozen=True)
class FileColumn:
    """One column of a file."""

    #: Its name here, and in the file.
    name: str
    source: str
    kind: Kind
    #: How its values are written, `None` for the usual way.
    unit: Unit | None
    #: Whether some row lacks it, and whether all its values are distinct.
    optional: bool
    unique: bool
    #: For a time: whether all of its values have a time zone, and its last day.
    zoned: bool = False
    last: date | None = None


def infer_decimal(rows: pl.DataFrame, form: str) -> Decimal:
    """`comma` if a column of numbers has decimal commas that cannot separate thousands, `point` otherwise."""
    if form not in ("csv", "excel"):
        return "point"
    for series in rows:
        if series.dtype != pl.String:
            continue
        values = _present(series)
        values = values.filter(~values.is_in(MISSING))
        if not values.str.contains(",").any() or plain_numbers(values, "comma").null_count():
            continue
        if plain_numbers(values, "point").null_count() or values.str.contains(r"^[+-]?0,").any():
            return "comma"
    return "point"


class ColumnKind(NamedTuple):
    """What was found about a column; without one, it is left out."""

    column: FileColumn | None
    missing: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


class _TextKind(NamedTuple):
    kind: Kind
    unit: Unit | None = None
    missing: frozenset[str] = frozenset()
    note: str | None = None


def infer_column(
    values: pl.Series, form: str, decimal: Decimal, marks: frozenset[str], spec: ColumnSpec | None
) -> ColumnKind:
    """What all values of a column have in common; `marks` mean missing, and `spec` is what is known of it."""
    name = values.name
    if values.dtype != pl.String:
        kind = _typed_kind(values, form)
        if kind is None:
            return ColumnKind(
                None,
                notes=(f"{_DTYPES.get(values.dtype.base_type(), 'such a value')} cannot be read, so it is left out",),
            )
        big = "it has numbers above 2^53, which no model can tell apart, so it is text"
        notes = (big,) if kind == "str" and values.dtype.is_integer() else ()
        return ColumnKind(_summary(values, name, kind, None, values), notes=notes)
    text = _present(values, keep=True)
    found = _kind_of_text(text.drop_nulls(), decimal, marks) if form in ("csv", "excel") else _kind_in_json(text)
    if spec is not None and spec.unit is not None:
        found = found._replace(kind=_UNIT_KINDS.get(spec.unit, found.kind), unit=spec.unit)
    gone = marks | found.missing | _NAN if found.kind != "str" else frozenset()
    plain = pl.select(pl.when(~text.is_in(sorted(gone))).then(text)).to_series() if gone else text
    said = [found.note] if found.note else []
    if found.missing:
        said.append(f"{', '.join(f'`{mark}`' for mark in sorted(found.missing))} means missing")
    ends = int(values.str.contains(r"^\s+\S|\S\s+$").sum()) if found.kind == "str" else 0
    if ends:
        said.append(f"blanks at the ends of {ends:,} values are removed")
    times = iso_texts(plain, found.unit) if found.unit in CALENDARS else plain
    return ColumnKind(_summary(plain, name, found.kind, found.unit, times), found.missing, tuple(said))


def _summary(plain: pl.Series, name: str, kind: Kind, unit: Unit | None, times: pl.Series) -> FileColumn:
    missing = plain.null_count() > 0 or (plain.dtype.is_float() and bool(plain.is_nan().any()))
    # a number with only distinct values is a measure; such a text or integer may be the row's key
    unique = kind in ("str", "int") and not missing and plain.n_unique() == len(plain)
    if kind != "time":
        return FileColumn(name, name, kind, unit, missing, unique)
    zoned = bool(getattr(plain.dtype, "time_zone", None)) or (plain.dtype == pl.String and _all_zoned(plain))
    return FileColumn(name, name, kind, unit, missing, unique, zoned, _last(times))


_UNIT_KINDS: dict[str, Kind] = {
    "number": "float", "money": "float", "unix_s": "time", "unix_ms": "time", "unix_us": "time", "iso": "time",
    "dmy": "time", "mdy": "time", "ymd": "time",
}  # fmt: skip
_DTYPES: dict[Any, str] = {
    pl.List: "a list", pl.Array: "a list", pl.Struct: "an object", pl.Binary: "bytes", pl.Duration: "a duration",
    pl.Time: "a time of day without a date",
}  # fmt: skip


def _typed_kind(values: pl.Series, form: str) -> Kind | None:
    """The kind of a column of a typed format; `None` if it is not read."""
    if values.dtype == pl.Boolean:
        return "bool"
    if values.dtype.is_integer():
        most = max(abs(_whole(values.min())), abs(_whole(values.max())))
        return "int" if most <= _EXACT else "str" if form == "parquet" else None
    if values.dtype.is_float() or values.dtype.is_decimal() or values.dtype == pl.Null:
        return "float"
    if values.dtype in (pl.Date, pl.Datetime):
        return "time"
    return "str" if values.dtype in (pl.Categorical, pl.Enum) else None


def _kind_in_json(text: pl.Series) -> _TextKind:
    """The kind of texts in a format that has numbers and flags of its own: text, or times in ISO 8601."""
    rest = text.drop_nulls()
    return _TextKind("time" if len(rest) and rest.str.contains(_ISO).all() else "str")


def _kind_of_text(text: pl.Series, decimal: Decimal, marks: frozenset[str]) -> _TextKind:
    """The kind of texts without nulls: the first that all of them fit, apart from those that mean missing."""
    known = MISSING | marks
    absent = frozenset(text.filter(text.is_in(sorted(known))).unique().to_list())
    rest = text.filter(~text.is_in(sorted(known))) if absent else text
    if not len(rest):
        return _TextKind("str" if absent - _NAN else "float")
    found = _plain_kind(rest, decimal)
    return found if found.kind == "str" else found._replace(missing=absent - _NAN - marks)


def _plain_kind(rest: pl.Series, decimal: Decimal) -> _TextKind:
    if rest.str.contains(_ZEROS).all():
        if not rest.str.contains(_INT).all():
            return _TextKind("str", note="it has numbers with leading zeros, so it is text")
        if _whole(rest.cast(pl.Int64, strict=False).abs().fill_null(_EXACT + 1).max()) > _EXACT:
            return _TextKind("str", note="it has numbers above 2^53, which no model can tell apart, so it is text")
        return _TextKind("int")
    if rest.str.contains(_FLOAT if decimal == "point" else _COMMA).all():
        return _TextKind("float")
    if rest.str.to_lowercase().is_in(_TRUTH).all():
        return _TextKind("bool")
    if rest.str.contains(_ISO).all():
        return _TextKind("time")
    numbers = plain_numbers(rest, decimal)
    if not numbers.null_count():
        kind: Kind = "int" if numbers.str.contains(_INT).all() else "float"
        note = "separators, currencies and percent signs are left out of its numbers"
        return _TextKind(kind, "number" if decimal == "point" else None, note=note)
    order = _order(rest)
    if order is not None:
        return _TextKind("time", order, note=f"its dates are read with {_ORDERS[order]} first (`:{order}`)")
    return _TextKind("str")


def _order(rest: pl.Series) -> Unit | None:
    """The order of the parts of dates; of two that fit, the one in which the rows are rather sorted, then day first."""
    fits: list[tuple[int, Unit]] = []
    for order in ("dmy", "mdy", "ymd"):
        texts = iso_texts(rest, order)
        times = texts.str.slice(0, 19).str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False)
        if not times.null_count():
            steps = times.diff().drop_nulls().dt.total_microseconds()
            fits.append((int(min((steps < 0).sum(), (steps > 0).sum())), order))
    return min(fits, key=lambda fit: fit[0])[1] if fits else None


def _present(values: pl.Series, *, keep: bool = False) -> pl.Series:
    """Texts without blanks at their ends; blank ones are null, or are dropped."""
    text = values.str.strip_chars()
    found = pl.select(pl.when(text != "").then(text)).to_series().alias(values.name)
    return found if keep else found.drop_nulls()


def _last(times: pl.Series) -> date | None:
    last = times.max()
    if isinstance(last, str):  # ISO 8601 sorts as text, except for offsets of some hours
        try:
            return date.fromisoformat(last[:10])
        except ValueError:  # such as 30 February; the run will refuse its line
            return None
    return last.date() if isinstance(last, datetime) else last if isinstance(last, date) else None


def _all_zoned(values: pl.Series) -> bool:
    return bool(values.drop_nulls().str.contains(r"([Zz]|[+-]\d{2}:?\d{2})$").all())


def _whole(value: Any) -> int:
    return int(value or 0)
