"""Log writer: moves segments into the lake's tables, each record exactly once.

The position in each segment is in the note of the commit that wrote its records. After a crash at any point, a writer
resumes from that position. A segment that is closed and completely written is removed. A segment of a newer, unknown
format stays in place, and the others are processed.

Each commit is a file and a version. So a commit is due when there are enough records for a full file, or after a time
that grows under steady traffic. Records are decoded some thousands at a time: as Python objects they take ten times the
memory of their rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from tidemill.core.errors import FormatTooNew
from tidemill.core.ports import Lease
from tidemill.core.records.prediction import Outcome, Prediction
from tidemill.core.storage.durable_files import write_durably
from tidemill.core.storage.segment_list import unlist_segments
from tidemill.core.storage.segments import read_frames, segment_files, segment_is_open, tail_state
from tidemill.feedback.log_tables import outcome_rows, prediction_rows
from tidemill.feedback.record_decoder import RecordDecoder
from tidemill.feedback.segment_log import OUTCOMES, PREDICTIONS

_log = logging.getLogger(__name__)

#: Maximum number of records in one commit: a data file that is not merged any more. Records that are decoded at once.
COMMIT_RECORDS = 32_768
_DECODED = 2_048
#: Seconds between commits: minimum, and maximum under steady traffic.
SHORTEST_S, LONGEST_S = 1.0, 30.0
#: A commit is due earlier if this many bytes wait, about 20,000 predictions.
BACKLOG_BYTES = 24 << 20
#: The folder, beside a log's segments, of bytes that were no whole record.
DAMAGED = "damaged"
_NOTE = "segments"
_KINDS: dict[str, tuple[Callable[[bytes], Any], Callable[[Sequence[Any]], pa.Table]]] = {
    PREDICTIONS: (RecordDecoder(Prediction), prediction_rows),
    OUTCOMES: (RecordDecoder(Outcome), outcome_rows),
}


class LogTables(Protocol):
    """The part of the lake that the log writer uses."""

    def record(self, table: str, rows: pa.Table, number: int, note: dict[str, str], lease: Lease, /) -> int:
        """Append a batch, once per number."""
        ...

    def recorded(self, table: str, /) -> tuple[int, int, dict[str, str]] | None:
        """`(number, version, note)` of the last batch."""
        ...


class WriteSummary(msgspec.Struct):
    """The counts of one call of `write`."""

    predictions: int = 0
    outcomes: int = 0
    segments: int = 0
    #: Incomplete frames at the end of a segment: cut off by a crash, before their responses were sent, or damaged.
    torn: int = 0
    #: Places with damaged bytes. All bytes that were not read are kept in `damaged/`.
    damaged: int = 0
    #: Segments of a newer, unknown format; they stay until that version processes them.
    too_new: int = 0


class LogWriter:
    """Writes the segments in `folder` (the project's `log/`) into `tables`, at most `batch` records in one commit."""

    def __init__(self, folder: Path, tables: LogTables, lease: Lease, *, batch: int = COMMIT_RECORDS) -> None:
        self._folder = folder
        self._tables = tables
        self._lease = lease
        self._batch = batch
        self._wait_s, self._next_s = SHORTEST_S, 0.0
        #: Segment -> bytes processed, of all tables.
        self._done: dict[str, int] = {}

    def write_if_due(self, now_s: float) -> WriteSummary | None:
        """`write`, unless the last one was recent and few records wait; `now_s` is a time in seconds."""
        if now_s < self._next_s and self._backlog_bytes() < BACKLOG_BYTES:
            return None
        summary = self.write()
        busy = summary.predictions or summary.outcomes
        self._wait_s = min(2 * self._wait_s, LONGEST_S) if busy else SHORTEST_S
        self._next_s = now_s + self._wait_s
        return summary

    def _backlog_bytes(self) -> int:
        paths = [path for table in _KINDS for path in segment_files(self._folder / table)]
        return sum(max(0, path.stat().st_size - self._done.get(path.name, 0)) for path in paths)

    def write(self) -> WriteSummary:
        """Write all records that are in the segments now."""
        summary = WriteSummary()
        self._done = {}
        for table in _KINDS:
            while self._write_batch(table, summary):
                pass
        pa.default_memory_pool().release_unused()  # until the next commit
        return summary

    def _write_batch(self, table: str, summary: WriteSummary) -> bool:
        """Write one commit; returns whether there may be more."""
        last = self._tables.recorded(table)
        number, note = (last[0], last[2]) if last else (0, {})
        positions: dict[str, int] = msgspec.json.decode(note.get(_NOTE, "{}"))
        batch = _Batch(table, self._folder / table, positions, self._batch)
        batch.collect(summary)
        if batch.count or batch.damaged:
            rows = pa.concat_tables(batch.rows())
            note = {_NOTE: msgspec.json.encode(batch.positions).decode()}
            if batch.damaged:
                note[DAMAGED] = str(batch.damaged)
            self._tables.record(table, rows, number + 1, note, self._lease)
            setattr(summary, table, getattr(summary, table) + batch.count)
            summary.damaged += batch.damaged
        unlist_segments(self._folder / table, [path.name for path in batch.finished])
        for path in batch.finished:
            path.unlink()
            summary.segments += 1
        self._done |= batch.positions
        return batch.full


class _Batch:
    """Records of one table, starting at the position of the last commit."""

    def __init__(self, table: str, folder: Path, positions: dict[str, int], limit: int) -> None:
        self._decode, self._to_rows = _KINDS[table]
        self._folder = folder
        self._limit = limit
        self._before = positions
        self.count = 0
        self._records: list[Any] = []
        self._rows: list[pa.Table] = []
        #: Segment name -> bytes processed, for segments that still exist.
        self.positions: dict[str, int] = {}
        self.finished: list[Path] = []
        #: Places with damaged bytes.
        self.damaged = 0

    @property
    def full(self) -> bool:
        """Whether the limit was reached."""
        return self.count >= self._limit

    def rows(self) -> list[pa.Table]:
        """The rows of all records, in at least one table."""
        self._encode()
        return self._rows

    def _encode(self) -> None:
        if self._records or not self._rows:
            self._rows.append(self._to_rows(self._records))
            self._records = []

    def _add(self, record: Any) -> None:
        self.count += 1
        self._records.append(record)
        if len(self._records) == _DECODED:
            self._encode()

    def collect(self, summary: WriteSummary) -> None:
        for path in segment_files(self._folder):
            if self.full:
                self._keep(path)
            else:
                self._read(path, summary)

    def _keep(self, path: Path) -> None:
        if path.name in self._before:
            self.positions[path.name] = self._before[path.name]

    def _read(self, path: Path, summary: WriteSummary) -> None:
        closed = not segment_is_open(path)  # checked before reading: a closed segment has its last frame already
        end = self._before.get(path.name, 0)

        def skip(start: int, stop: int) -> None:
            nonlocal end
            self.damaged += 1
            self._set_aside(path, start, stop)
            end = stop

        try:
            for frame in read_frames(path, end, skip=skip):
                try:
                    self._add(self._decode(frame.payload))
                except msgspec.DecodeError:
                    skip(frame.start, frame.end)
                end = frame.end
                if self.full:
                    break
            else:
                if closed:
                    if tail_state(path, end) == "torn":
                        summary.torn += 1
                        self._set_aside(path, end, path.stat().st_size)
                    self.finished.append(path)
        except FormatTooNew as error:
            summary.too_new += 1
            _log.error("%s stays where it is: %s", path.name, error)
        self.positions[path.name] = end

    def _set_aside(self, path: Path, start: int, stop: int) -> None:
        """Keep bytes that are no record, before the segment is removed."""
        kept = path.parent / DAMAGED / f"{path.name}.{start}-{stop}"
        with path.open("rb") as file:
            file.seek(start)
            write_durably(kept, file.read(stop - start))
        _log.error("%s: bytes %d to %d are no whole record; they are kept in %s", path.name, start, stop, kept)


def damaged_records(folder: Path) -> dict[str, list[Path]]:
    """Log -> the files of bytes that were no whole record, until a person has removed them; `folder` is `log/`."""
    kept = {table: sorted((folder / table / DAMAGED).glob("*")) for table in _KINDS}
    return {table: files for table, files in kept.items() if files}
