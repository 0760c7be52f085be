"""File scan in one pass: decompress, hash, decode, convert types, and keep the due rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from tidemill.core.errors import SchemaChanged
from tidemill.core.source_read import DAY, RAW_LIMIT
from tidemill.sources.days import day_of, day_of_instant
from tidemill.sources.files.blocks import LineBlock, LineReader, after_line, after_record
from tidemill.sources.files.csv_lines import CsvLines, without_header
from tidemill.sources.files.decoder import LineDecoder, LineRefusal, raw_lines
from tidemill.sources.files.decompress import Digests, chunks, file_sha256
from tidemill.sources.files.detect_format import FileLayout
from tidemill.sources.files.dialect import BOM, as_utf8
from tidemill.sources.files.event_times import in_range
from tidemill.sources.files.file_state import FileState
from tidemill.sources.files.json_lines import JsonLines
from tidemill.sources.files.mapping import ColumnMapping
from tidemill.sources.files.parquet_rows import parquet_rows
from tidemill.sources.files.type_conversion import LINE, arrow_table, convert_types, scanned_schema

#: With fewer new lines, invalid lines are refused one by one and never count as a schema change.
_MOST_OF = 10


@dataclass(frozen=True, kw_only=True)
class DueDays:
    """Which rows of a file are due: see `Source.read`."""

    until: date | None
    after: date | None
    #: Lines read before, and leading lines that are a copy of another file's and never due.
    seen: int = 0
    floor: int = 0
    timeless: bool = False

    def due_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The due rows; the frame itself where a cheap test shows that all are due."""
        last = rows[DAY].max()
        reached = self.until is None or last is None or (isinstance(last, date) and last <= self.until)
        return rows if self.after is None and not self.floor and reached else rows.filter(self._wanted())

    def _wanted(self) -> pl.Expr:
        """A mask over `_line` and `_day`; for a row without a day the line decides."""
        line, day = pl.col(LINE), pl.col(DAY)
        new = line > self.seen if self.after is not None else pl.lit(True)
        if self.after is not None and not self.timeless:
            new = new | (day > self.after).fill_null(False)
        due = pl.lit(True) if self.until is None else (day <= self.until).fill_null(True)
        return new & due & (line > self.floor)


@dataclass(frozen=True, kw_only=True)
class ScanContext:
    """The parameters of a scan, apart from the file."""

    zone: str
    arrival: datetime | None
    take_tail: bool
    marks: frozenset[int] = frozenset()


@dataclass
class FileScan:
    """The result of a scan of a file."""

    mapping: ColumnMapping | None
    #: As Arrow tables from the first block on, so that all rows are never held in two forms.
    rows: list[pa.Table] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    digest: str = ""
    #: `None` for Parquet and Excel, whose files are not append-only.
    digests: Digests | None = None
    open_end: bool = False
    waiting: bool = False
    last_day: date | None = None
    pending: int = 0

    def begins_with(self, known: FileState) -> bool:
        """Whether this content equals known content, or extends it by more lines."""
        if known.content_bytes == 0:
            return True
        if self.digests is None:
            return self.digest == known.prefix_sha256
        same = self.digests.at.get(known.content_bytes) == known.prefix_sha256
        return same and (not known.open_end or self.digests.following[known.content_bytes] in (b"", b"\n"))

    def equals(self, known: FileState) -> bool:
        """Whether this content equals known content."""
        return self.bytes > 0 and self.bytes == known.content_bytes and self.digest == known.prefix_sha256

    def narrow(self, due: DueDays) -> None:
        """Keep only the rows that are due."""
        frames = [due.due_rows(pl.DataFrame(table)) for table in self.rows]
        self.rows = [arrow_table(frame, table.schema) for frame, table in zip(frames, self.rows, strict=True)]
        self.refused = [due.due_rows(frame) for frame in self.refused]


def scan(
    path: Path, seen: FileLayout, due: DueDays, context: ScanContext, *, skip: FileState | None = None
) -> FileScan:
    """Read a file once. `skip`: the known beginning of the file, whose bytes are hashed but not decoded.

    Raises `SchemaChanged` where most new lines are invalid, `SourceDamaged` where the file is truncated or corrupt.
    """
    result = FileScan(seen.mapping)
    tally = _Tally(due.seen)
    if seen.format in ("parquet", "excel") and seen.mapping is not None:
        read = parquet_rows(path, seen.mapping) if seen.sheet is None else seen.sheet.raw(seen.mapping)
        for raw, result.lines in read:
            _take(result, raw, [], None, due, context, tally)
        result.digest, result.bytes = file_sha256(path), path.stat().st_size
    else:
        _scan_lines(path, seen, due, context, skip, result, tally)
    tally.judge(path)
    if skip is not None and skip.last_day is not None:
        result.last_day = max(skip.last_day, result.last_day or skip.last_day)
    return result


def _scan_lines(
    path: Path,
    seen: FileLayout,
    due: DueDays,
    context: ScanContext,
    skip: FileState | None,
    result: FileScan,
    tally: _Tally,
) -> None:
    digests = Digests(context.marks)
    encoding = seen.mapping.dialect.encoding if seen.mapping else "utf-8"
    pieces = _after(_hashed(as_utf8(chunks(path), encoding, path), digests), skip.content_bytes if skip else 0)
    first = skip.lines + 1 if skip else 1
    cut = after_record if seen.format == "csv" else after_line
    lines = LineReader(pieces, cut, first=first, take_tail=context.take_tail)
    decoder: LineDecoder | None = None
    if seen.mapping is not None:
        decoder = CsvLines(seen.mapping) if seen.format == "csv" else JsonLines(seen.mapping)
    for block in lines:
        _take_block(result, block, decoder, seen, due, context, tally)
    result.lines, result.bytes = lines.lines, lines.bytes + (skip.content_bytes if skip else 0)
    result.open_end, result.waiting = lines.open_end, lines.waiting
    result.digests, result.digest = digests, digests.hex(whole=not lines.waiting)


def _take_block(
    result: FileScan,
    block: LineBlock,
    decoder: LineDecoder | None,
    seen: FileLayout,
    due: DueDays,
    context: ScanContext,
    tally: _Tally,
) -> None:
    if block.too_long:
        refusal = LineRefusal(block.first, "", "is longer than 16 MiB", block.data)
        result.refused.append(due.due_rows(_frame([refusal])))
        return
    if block.first == 1:
        data = block.data.removeprefix(BOM)
        block = block._replace(data=data)
        if seen.header and seen.mapping is not None:
            block = without_header(block, seen.mapping.dialect.delimiter)
    if decoder is None or not block.data or block.data.isspace():
        return
    raw, refused = decoder.decode(block)
    _take(result, raw, refused, block, due, context, tally)


def _take(
    result: FileScan,
    raw: pl.DataFrame,
    shapeless: list[LineRefusal],
    block: LineBlock | None,
    due: DueDays,
    context: ScanContext,
    tally: _Tally,
) -> None:
    """Convert a block's columns and keep the due rows and refused lines."""
    assert result.mapping is not None
    rows, bad = convert_types(raw, result.mapping, context.arrival)
    rows = rows.with_columns(_day(rows, result.mapping, due, context))
    tally.add(raw, bad, shapeless)
    if not bad.is_empty():
        refused = rows.select(LINE, DAY).join(bad, on=LINE, how="inner", maintain_order="left")
        rows = rows.join(bad, on=LINE, how="anti", maintain_order="left")
        texts = _texts(raw, refused[LINE].to_list(), block)
        refused = refused.with_columns(pl.Series("raw", texts, dtype=pl.Binary))
        result.refused.append(due.due_rows(refused))
    if shapeless:
        result.refused.append(due.due_rows(_frame(shapeless)))
    last = None if due.timeless else rows[DAY].max()
    if isinstance(last, date):
        result.last_day = max(last, result.last_day or last)
        if due.until is not None and last > due.until:
            result.pending += int((rows[DAY] > due.until).sum())
    if not (kept := due.due_rows(rows)).is_empty():
        result.rows.append(arrow_table(kept, scanned_schema(result.mapping)))


def _day(rows: pl.DataFrame, mapping: ColumnMapping, due: DueDays, context: ScanContext) -> pl.Series:
    time = next(each.column.name for each in mapping.columns if each.column.role == "event_time")
    if not due.timeless or context.arrival is None:
        return pl.Series(DAY, day_of(rows[time], context.zone))
    day = day_of_instant(context.arrival, context.zone)
    # A run's as-of is the first instant after its last day; rows that arrive with the run belong to that day.
    return pl.Series(DAY, [min(day, due.until or day)], dtype=pl.Date).new_from_index(0, rows.height)


def _texts(raw: pl.DataFrame, lines: list[int], block: LineBlock | None) -> list[bytes]:
    if block is None:
        wanted = raw.filter(pl.col(LINE).is_in(lines)).sort(LINE)
        wanted = wanted.with_columns(in_range(each)[0] for each in wanted if each.dtype in (pl.Date, pl.Datetime))
        return [str(row).encode()[:RAW_LIMIT] for row in wanted.drop(LINE).iter_rows(named=True)]
    texts = raw_lines(block, lines)
    return [texts[line][:RAW_LIMIT] for line in lines]


def _frame(refused: list[LineRefusal]) -> pl.DataFrame:
    """Malformed lines, which have no day."""
    return pl.DataFrame(
        {
            LINE: [each.line for each in refused],
            DAY: [None] * len(refused),
            "column": [each.column or None for each in refused],
            "reason": [each.reason for each in refused],
            "raw": [each.raw[:RAW_LIMIT] for each in refused],
        },
        schema={LINE: pl.Int64, DAY: pl.Date, "column": pl.String, "reason": pl.String, "raw": pl.Binary},
    )


def _hashed(pieces: Iterable[bytes], digests: Digests) -> Iterator[bytes]:
    for piece in pieces:
        digests.update(piece)
        yield piece


def _after(pieces: Iterable[bytes], skip: int) -> Iterator[bytes]:
    for piece in pieces:
        if skip >= len(piece):
            skip -= len(piece)
            continue
        yield piece[skip:]
        skip = 0


class _Tally:
    """Counts new lines and refusal reasons, to distinguish a changed schema from single invalid lines."""

    def __init__(self, seen: int) -> None:
        self._seen = seen
        self._lines = 0
        self._bad: Counter[tuple[str, str]] = Counter()

    def add(self, raw: pl.DataFrame, bad: pl.DataFrame, shapeless: list[LineRefusal]) -> None:
        """Count one block."""
        new = [each for each in shapeless if each.line > self._seen]
        self._lines += int((raw[LINE] > self._seen).sum() if self._seen else raw.height) + len(new)
        self._bad.update((each.column, each.reason) for each in new)
        if not bad.is_empty():
            rows = bad.filter(pl.col(LINE) > self._seen).select("column", "reason").iter_rows()
            self._bad.update((column, reason) for column, reason in rows)

    def judge(self, path: Path) -> None:
        """Raise `SchemaChanged` where one column, or the line format, is invalid in most of the new lines."""
        columns: Counter[str] = Counter()
        for (column, _), count in self._bad.items():
            columns[column] += count
        for column, count in columns.items():
            if self._lines < _MOST_OF or count * 2 <= self._lines:
                continue
            reason = max((n, why) for (name, why), n in self._bad.items() if name == column)[1]
            what = f"`{column}`" if column else "a line"
            text = reason.removeprefix(f"{column} ") if column else reason
            raise SchemaChanged(
                f"{path}: {count} of {self._lines} new lines are not valid: {what} {text}; no rows of it were ingested",
                tip="fix the producer, or change the contract in mill.py together with `columns=` in the settings",
            )
