"""File scan in one pass: decompress, hash, decode, convert types, and keep the due rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl
import pyarrow as pa

from tidemill.core.errors import SchemaChanged, SourceDamaged, SourceError, TidemillError
from tidemill.core.source_read import DAY, RAW_LIMIT, REFUSED, SplitBlock
from tidemill.sources.days import day_of, day_of_instant
from tidemill.sources.files.blocks import LineBlock, LineReader, after_line, after_record
from tidemill.sources.files.csv_lines import CsvLines, without_header
from tidemill.sources.files.decoder import LineDecoder, LineRefusal, raw_lines
from tidemill.sources.files.decompress import Digests, chunks, compression, file_sha256
from tidemill.sources.files.detect_format import FileLayout
from tidemill.sources.files.dialect import BOM, as_utf8
from tidemill.sources.files.event_times import in_range
from tidemill.sources.files.file_state import FileState
from tidemill.sources.files.json_lines import JsonLines
from tidemill.sources.files.mapping import ColumnMapping
from tidemill.sources.files.parquet_rows import parquet_rows
from tidemill.sources.files.type_conversion import LINE, arrow_table, convert_types, scanned_schema, to_arrow

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


class ScanSummary(msgspec.Struct):
    """What a scan of a file found, apart from its rows."""

    lines: int = 0
    content_bytes: int = 0
    digest: str = ""
    #: Length of a known beginning -> its digest and the byte that follows it (`b""` at the end). `None` for Parquet and
    #: Excel, whose files are not append-only.
    marks: dict[int, tuple[str, bytes]] | None = None
    open_end: bool = False
    waiting: bool = False
    last_day: date | None = None
    pending: int = 0

    def begins_with(self, known: FileState) -> bool:
        """Whether this content equals known content, or extends it by more lines."""
        if known.content_bytes == 0:
            return True
        if self.marks is None:
            return self.digest == known.prefix_sha256
        digest, following = self.marks.get(known.content_bytes, ("", b""))
        return digest == known.prefix_sha256 and (not known.open_end or following in (b"", b"\n"))

    def equals(self, known: FileState) -> bool:
        """Whether this content equals known content."""
        return (
            self.content_bytes > 0 and self.content_bytes == known.content_bytes and self.digest == known.prefix_sha256
        )


class ScannedBlock(NamedTuple):
    """The due rows of a block, with their line and day, and its due refused lines."""

    rows: pl.DataFrame
    refused: list[pl.DataFrame]


@dataclass(frozen=True, kw_only=True)
class FileTask:
    """One scan of a file: decompress, hash, decode, convert types, and keep the due rows. It can be pickled.

    `skip`: the known beginning of the file, whose bytes are hashed but not decoded.
    """

    path: Path
    layout: FileLayout
    due: DueDays
    context: ScanContext
    #: Its size and time of modification when it was looked at. A plain file is read up to this size.
    size: int
    mtime_ns: int
    skip: FileState | None = None

    def blocks(self, summary: ScanSummary) -> Iterator[ScannedBlock]:
        """The blocks of the file, read once; `summary` is complete after the last one.

        Raises `SchemaChanged` where most new lines are invalid, `SourceDamaged` where the file is truncated or corrupt.
        """
        path, layout, skip = self.path, self.layout, self.skip
        tally = _Tally(self.due.seen)
        if layout.format in ("parquet", "excel") and layout.mapping is not None:
            read = parquet_rows(path, layout.mapping) if layout.sheet is None else layout.sheet.raw(layout.mapping)
            for raw, summary.lines in read:
                yield self._take(raw, [], None, summary, tally)
            summary.digest, summary.content_bytes = file_sha256(path), path.stat().st_size
        else:
            yield from self._scan_lines(summary, tally)
        tally.judge(path)
        if skip is not None and skip.last_day is not None:
            summary.last_day = max(skip.last_day, summary.last_day or skip.last_day)

    def _scan_lines(self, summary: ScanSummary, tally: _Tally) -> Iterator[ScannedBlock]:
        path, layout, skip, mapping = self.path, self.layout, self.skip, self.layout.mapping
        digests = Digests(self.context.marks)
        encoding = mapping.dialect.encoding if mapping else "utf-8"
        pieces = _after(
            _hashed(as_utf8(chunks(path, limit=self.size), encoding, path), digests), skip.content_bytes if skip else 0
        )
        first = skip.lines + 1 if skip else 1
        cut = after_record if layout.format == "csv" else after_line
        lines = LineReader(pieces, cut, first=first, take_tail=self.context.take_tail)
        decoder: LineDecoder | None = None
        if mapping is not None:
            decoder = CsvLines(mapping) if layout.format == "csv" else JsonLines(mapping)
        for block in lines:
            if (found := self._take_lines(block, decoder, summary, tally)) is not None:
                yield found
        summary.lines = lines.lines
        summary.content_bytes = lines.bytes + (skip.content_bytes if skip else 0)
        summary.open_end, summary.waiting = lines.open_end, lines.waiting
        summary.digest = digests.hex(whole=not lines.waiting)
        summary.marks = {mark: (digest, digests.following[mark]) for mark, digest in digests.at.items()}

    def _take_lines(
        self, block: LineBlock, decoder: LineDecoder | None, summary: ScanSummary, tally: _Tally
    ) -> ScannedBlock | None:
        layout, mapping = self.layout, self.layout.mapping
        if block.too_long:
            refusal = LineRefusal(block.first, "", "is longer than 16 MiB", block.data)
            return ScannedBlock(pl.DataFrame(), [self.due.due_rows(_frame([refusal]))])
        if block.first == 1:
            block = block._replace(data=block.data.removeprefix(BOM))
            if layout.header and mapping is not None:
                block = without_header(block, mapping.dialect.delimiter)
        if decoder is None or not block.data or block.data.isspace():
            return None
        raw, refused = decoder.decode(block)
        return self._take(raw, refused, block, summary, tally)

    def _take(
        self,
        raw: pl.DataFrame,
        shapeless: list[LineRefusal],
        block: LineBlock | None,
        summary: ScanSummary,
        tally: _Tally,
    ) -> ScannedBlock:
        """Convert a block's columns and keep the due rows and refused lines."""
        mapping, due = self.layout.mapping, self.due
        assert mapping is not None
        rows, bad = convert_types(raw, mapping, self.context.arrival)
        rows = rows.with_columns(_day(rows, mapping, due, self.context))
        tally.add(raw, bad, shapeless)
        refused = []
        if not bad.is_empty():
            found = rows.select(LINE, DAY).join(bad, on=LINE, how="inner", maintain_order="left")
            rows = rows.join(bad, on=LINE, how="anti", maintain_order="left")
            texts = _texts(raw, found[LINE].to_list(), block)
            refused.append(due.due_rows(found.with_columns(pl.Series("raw", texts, dtype=pl.Binary))))
        if shapeless:
            refused.append(due.due_rows(_frame(shapeless)))
        last = None if due.timeless else rows[DAY].max()
        if isinstance(last, date):
            summary.last_day = max(last, summary.last_day or last)
            if due.until is not None and last > due.until:
                summary.pending += int((rows[DAY] > due.until).sum())
        return ScannedBlock(due.due_rows(rows), refused)


@dataclass
class FileScan:
    """The result of a scan of a file. Its rows are empty if an engine's workers keep them."""

    summary: ScanSummary = field(default_factory=ScanSummary)
    #: As Arrow tables from the first block on, so that all rows are never held in two forms.
    rows: list[pa.Table] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    #: The number of the split that workers have read.
    split: int | None = None
    #: Why the scan has no result.
    problem: TidemillError | None = None

    def narrow(self, due: DueDays) -> None:
        """Keep only the rows that are due."""
        frames = [due.due_rows(pl.DataFrame(table)) for table in self.rows]
        self.rows = [arrow_table(frame, table.schema) for frame, table in zip(frames, self.rows, strict=True)]
        self.refused = [due.due_rows(frame) for frame in self.refused]


def scan_in_memory(task: FileTask) -> FileScan:
    """The result of a scan in this process."""
    found = FileScan()
    try:
        for block in task.blocks(found.summary):
            if not block.rows.is_empty() and task.layout.mapping is not None:
                found.rows.append(arrow_table(block.rows, scanned_schema(task.layout.mapping)))
            found.refused += block.refused
    except SourceError as problem:
        found.problem = problem
    return found


@dataclass(frozen=True)
class FileSplit:
    """A file as a split. Its rows have their line as `_row`, because the number of the file depends on its content."""

    name: str
    task: FileTask
    #: About how many bytes of text are read.
    size: int

    def read(self) -> Iterator[SplitBlock]:
        """The blocks of the file, and a last one with the JSON of its `ScanSummary`.

        Raises `SourceDamaged` also if the file has changed, unless it is a plain text that has grown.
        """
        summary = ScanSummary()
        for block in self.task.blocks(summary):
            yield SplitBlock(rows=self._rows(block.rows), refused=self._refused(block.refused))
        stat = self.task.path.stat()
        grows = self.task.layout.format in ("csv", "json") and compression(self.task.path) == "none"
        if stat.st_size < self.task.size or not (grows or stat.st_mtime_ns == self.task.mtime_ns):
            raise SourceDamaged(f"{self.task.path} was changed while it was read", tip="run again when it is complete")
        yield SplitBlock(summary=msgspec.json.encode(summary))

    def _rows(self, rows: pl.DataFrame) -> pa.Table | None:
        mapping = self.task.layout.mapping
        if rows.is_empty() or mapping is None:
            return None
        schema = scanned_schema(mapping)
        return arrow_table(rows, schema).rename_columns(["_row" if name == LINE else name for name in schema.names])

    def _refused(self, frames: list[pl.DataFrame]) -> pa.Table | None:
        row, file = pl.col(LINE).alias("_row"), pl.lit(self.name).alias("file")
        frames = [frame.with_columns(row, file).rename({LINE: "line"}) for frame in frames if frame.height]
        return to_arrow(frames, REFUSED) if frames else None


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
