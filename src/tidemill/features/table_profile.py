"""Table profile: statistics of each column of a table, and its newest rows, at a bounded cost.

A large table is profiled from a systematic sample: rows at random places of files at equal distances in the table's
order. Missing values, minimum and maximum of numbers and times come from the statistics of all files instead. Where
rows describe people, a value that fewer than ten rows share is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.contract.contract import INCREMENT, ROW, SYSTEM_COLUMNS
from tidemill.core.errors import UnknownName, nearest
from tidemill.core.ports import StagedFile
from tidemill.core.record_format import Record
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.features.column_statistics import ColumnStatistics, column_statistics
from tidemill.features.distribution import as_micros, is_time
from tidemill.lake import LakeSnapshot

#: Maximum number of rows of a sample, of values in it, of files, and of values that are read for it.
SAMPLED_ROWS, SAMPLED_VALUES, SAMPLED_FILES, READ_VALUES = 100_000, 4_000_000, 16, 40_000_000
#: Rows of a preview, and maximum number of characters of a text in it.
PREVIEW_ROWS, PREVIEW_TEXT = 20, 80
_DAY_US = 86_400_000_000
_SEED = 7


class PreviewCell(Record, frozen=True):
    """One value of a preview as text; `hidden` identifies people, or too few rows share it."""

    text: str = ""
    state: Literal["value", "missing", "hidden"] = "value"


class TableSize(Record, frozen=True):
    """A table as of a publication, and its size."""

    table: str
    version: int
    publication: int
    rows: int
    files: int
    size_bytes: int
    #: All its columns, without the lake's own.
    names: tuple[str, ...]


class TableProfile(Record, frozen=True):
    """Statistics of a table's columns as of a publication, and its newest rows."""

    size: TableSize
    #: The columns that identify people, and the profiled columns.
    personal: tuple[str, ...]
    columns: tuple[ColumnStatistics, ...]
    #: Number of rows and files that were read: all, or a sample.
    read_rows: int
    read_files: int
    #: One row of cells for each previewed row, in the order of `columns`, newest first.
    preview: tuple[tuple[PreviewCell, ...], ...]

    @property
    def is_sample(self) -> bool:
        """Whether the statistics are of a sample of the rows."""
        return self.read_rows < self.size.rows


def table_size(view: LakeSnapshot, table: str) -> TableSize:
    """The size of a table, without reading data. Raises `NotPublished` with the nearest name for an unknown table."""
    files = view.data_files(table)
    return TableSize(
        table=table,
        version=view.versions[table],
        publication=view.publication,
        rows=sum(file.entry.rows for file in files),
        files=len(files),
        size_bytes=sum(file.entry.size_bytes for file in files),
        names=tuple(name for name in view.schema(table).names if name not in SYSTEM_COLUMNS),
    )


def table_profile(
    view: LakeSnapshot,
    table: str,
    *,
    personal: Collection[str] | None,
    columns: Sequence[str] | None = None,
    preview: int = PREVIEW_ROWS,
) -> TableProfile:
    """The profile of `columns`, by default of all. `personal` columns identify people: only their types and missing
    values are shown, and of the others only values that at least ten rows share. `None`: it is not known which columns
    do, so all of them count as personal. Raises `NotPublished` or `UnknownName` with the nearest name for an unknown
    table or column.
    """
    size, files = table_size(view, table), view.data_files(table)
    if unknown := [name for name in columns or () if name not in size.names]:
        raise UnknownName(f"table `{table}` has no column {unknown[0]!r}", tip=nearest(unknown[0], size.names))
    hidden = set(size.names if personal is None else personal) & {*size.names}
    asked = [name for name in size.names if columns is None or name in columns]
    own = [name for name in (INCREMENT, ROW) if name in view.schema(table).names]
    sample, n_files = _sample(view, table, files, [*asked, *own])
    found = column_statistics(sample, asked, personal=hidden)
    if len(sample) < size.rows:
        found = [_of_all_rows(one, files, size.rows, view.schema(table).field(one.name).type) for one in found]
    newest = _newest(view, table, files, sample if len(sample) == size.rows else None, [*asked, *own], preview)
    return TableProfile(
        size=size,
        personal=tuple(name for name in size.names if name in hidden),
        columns=tuple(_of_people(one, len(sample)) if hidden else one for one in found),
        read_rows=len(sample),
        read_files=n_files,
        preview=_preview(newest, sample, asked, hidden),
    )


# ---- the sample


def _sample(
    view: LakeSnapshot, table: str, files: Sequence[StagedFile], columns: Sequence[str]
) -> tuple[pa.Table, int]:
    """All rows, or a systematic sample of them; and the number of files that were read."""
    total = sum(file.entry.rows for file in files)
    width = max(1, len(columns))
    wanted = min(SAMPLED_ROWS, SAMPLED_VALUES // width)
    shares = dict.fromkeys(range(len(files)), 0) if total <= wanted else _shares(files, wanted, width)
    chance = np.random.default_rng(_SEED)
    parts = [pa.table({name: pa.array([], view.schema(table).field(name).type) for name in columns})]
    for place, share in shares.items():
        rows = view.file_rows(table, files[place], columns)
        if 0 < share < len(rows):
            rows = rows.take(pa.array(np.sort(chance.choice(len(rows), share, replace=False))))
        parts.append(rows)
    return pa.concat_tables(parts, promote_options="permissive"), len(shares)


def _shares(files: Sequence[StagedFile], wanted: int, width: int) -> dict[int, int]:
    """Place of a file -> number of rows to take from it: files at equal distances, counted in rows."""
    ends = np.cumsum([file.entry.rows for file in files])
    most = max(file.entry.rows for file in files)
    n = max(1, min(SAMPLED_FILES, READ_VALUES // (width * most)))
    marks = (np.arange(n) + 0.5) * ends[-1] / n
    shares: dict[int, int] = {}
    for place in np.searchsorted(ends, marks, side="right").tolist():
        shares[place] = shares.get(place, 0) + max(1, wanted // n)
    return shares


def _of_all_rows(one: ColumnStatistics, files: Sequence[StagedFile], total: int, kind: pa.DataType) -> ColumnStatistics:
    """Statistics of a sample with missing values, minimum and maximum of all rows, if all files have them."""
    filled = [file for file in files if file.entry.rows]
    if not all(one.name in file.nulls for file in filled):
        return msgspec.structs.replace(one, exact=False)
    missing = sum(file.nulls[one.name] for file in filled)
    valued = [file for file in filled if file.nulls[one.name] < file.entry.rows]
    if not all(one.name in file.ranges for file in valued):  # a file with NaN
        return msgspec.structs.replace(one, exact=False)
    ranges = [file.ranges[one.name] for file in valued]
    unit = _DAY_US if pa.types.is_date(kind) else 1
    return msgspec.structs.replace(
        one,
        missing=missing / total,
        min=min((float(low) * unit for low, _ in ranges), default=None),
        max=max((float(high) * unit for _, high in ranges), default=None),
    )


def _of_people(one: ColumnStatistics, rows: int) -> ColumnStatistics:
    """What may be shown of a column whose rows describe people: nothing that could be the value of one person."""
    n = round(rows * (1 - one.missing))
    return msgspec.structs.replace(
        one,
        distinct=one.distinct if n >= FEWEST_USERS else None,
        mean=one.mean if n >= FEWEST_USERS else None,
        min=None,
        max=None,
        quartiles=one.quartiles if n >= 4 * FEWEST_USERS else None,
    )


# ---- the preview


def _newest(
    view: LakeSnapshot,
    table: str,
    files: Sequence[StagedFile],
    rows: pa.Table | None,
    columns: Sequence[str],
    n: int,
) -> pa.Table:
    """The `n` newest rows, newest first: those of the last increments. `rows` are all rows, if they were read."""
    if rows is not None:
        return _last(rows, n)
    by_age = sorted(files, key=_newest_increment, reverse=True)
    kept: pa.Table | None = None
    for file in by_age:
        if kept is not None and len(kept) >= n and _newest_increment(file) < _oldest_increment(kept):
            break
        found = _last(view.file_rows(table, file, columns), n)
        kept = found if kept is None else _last(pa.concat_tables([kept, found], promote_options="permissive"), n)
    return kept if kept is not None else pa.table({name: [] for name in columns})


def _newest_increment(file: StagedFile) -> float:
    return file.ranges[INCREMENT][1] if INCREMENT in file.ranges else 0


def _oldest_increment(rows: pa.Table) -> float:
    return pc.min(rows[INCREMENT]).as_py() if INCREMENT in rows.column_names else math.inf


def _last(rows: pa.Table, n: int) -> pa.Table:
    order: list[Any] = [(name, "descending") for name in (INCREMENT, ROW) if name in rows.column_names]
    if not order or not len(rows):
        return rows.slice(max(0, len(rows) - n))
    return rows.take(pc.select_k_unstable(rows, k=min(n, len(rows)), sort_keys=order))


def _preview(
    rows: pa.Table, sample: pa.Table, columns: Sequence[str], hidden: Collection[str]
) -> tuple[tuple[PreviewCell, ...], ...]:
    cells = [_cells(rows[name], sample[name], name in hidden, bool(hidden)) for name in columns]
    return tuple(zip(*cells, strict=True))


def _cells(values: pa.ChunkedArray, sample: pa.ChunkedArray, personal: bool, of_people: bool) -> list[PreviewCell]:
    if personal:
        return [PreviewCell(state="hidden" if value.is_valid else "missing") for value in values]
    kind = values.type
    shared = _is_shared(values, sample) if of_people else [True] * len(values)
    return [
        PreviewCell(state="missing")
        if not value.is_valid
        else PreviewCell(text=_text(value, kind, day_only=of_people))
        if is_shared
        else PreviewCell(state="hidden")
        for value, is_shared in zip(values, shared, strict=True)
    ]


def _is_shared(values: pa.ChunkedArray, sample: pa.ChunkedArray) -> list[bool]:
    """Whether at least ten rows have each text, flag or day; whether ten have as small and ten as large numbers."""
    kind = values.type
    if pa.types.is_nested(kind):
        return [False] * len(values)
    if is_time(kind):
        values, sample = (one.cast(pa.date32(), safe=False) for one in (values, sample))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers, known = (one.cast(pa.float64(), safe=False).to_numpy() for one in (values, sample))  # nulls are NaN
        known = np.sort(known[np.isfinite(known)])
        if len(known) < FEWEST_USERS:
            return [False] * len(values)
        low, high = known[FEWEST_USERS - 1], known[-FEWEST_USERS]
        return [bool(low <= number <= high) for number in numbers]
    counts = {one["values"]: one["counts"] for one in pc.value_counts(sample).to_pylist()}
    return [counts.get(value, 0) >= FEWEST_USERS for value in values.to_pylist()]


def _text(value: pa.Scalar, kind: pa.DataType, *, day_only: bool) -> str:
    if is_time(kind):
        moment = from_micros(as_micros(pa.chunked_array([pa.array([value.as_py()], kind)]))[0].as_py())
        return f"{moment:%Y-%m-%d}" if day_only or pa.types.is_date(kind) else f"{moment:%Y-%m-%d %H:%M:%S}"
    given = value.as_py()
    text = f"{given:.6g}" if isinstance(given, float) else str(given)
    return text if len(text) <= PREVIEW_TEXT else text[:PREVIEW_TEXT] + "…"
