"""The log writer: takes segments into the lake's tables, each record exactly once.

How far each segment was taken stands in the note of the very commit that took it. A writer that dies anywhere finds
there what is done; what it has not committed it reads again. A segment that is closed and taken whole is removed.
One that a newer version wrote in a format that is not known here stays where it is, and the others flow on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from tidemill.core.errors import FormatTooNew, SegmentDamaged
from tidemill.core.ports import Lease
from tidemill.core.records.serving import Outcome, Prediction
from tidemill.core.storage.segments import read_frames, segment_files, segment_is_open, tail_state
from tidemill.feedback.log_tables import outcome_rows, prediction_rows
from tidemill.feedback.record_decoder import RecordDecoder
from tidemill.feedback.segment_log import OUTCOMES, PREDICTIONS

_log = logging.getLogger(__name__)

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
    """What a round of writing did."""

    predictions: int = 0
    outcomes: int = 0
    segments: int = 0
    #: Frames that were cut off by a crash (their answers never left), and segments that do not match their checksums.
    torn: int = 0
    damaged: int = 0
    #: Segments that a newer version wrote in a format that is not known here; they stay for that version to take.
    too_new: int = 0


class LogWriter:
    """Writes what lies in `folder` (the project's `log/`) into `tables`; `batch` records at most in one commit."""

    def __init__(self, folder: Path, tables: LogTables, lease: Lease, *, batch: int = 50_000) -> None:
        self._folder = folder
        self._tables = tables
        self._lease = lease
        self._batch = batch

    def write(self) -> WriteSummary:
        """Take everything that lies there now."""
        done = WriteSummary()
        for table in _KINDS:
            while self._write_batch(table, done):
                pass
        return done

    def _write_batch(self, table: str, done: WriteSummary) -> bool:
        """One commit; whether there may be more to take."""
        last = self._tables.recorded(table)
        number, note = (last[0], last[2]) if last else (0, {})
        taken: dict[str, int] = msgspec.json.decode(note.get(_NOTE, "{}"))
        found = _Batch(table, self._folder / table, taken, self._batch)
        found.collect(done)
        if found.records:
            rows = _KINDS[table][1](found.records)
            note = {_NOTE: msgspec.json.encode(found.taken).decode()}
            self._tables.record(table, rows, number + 1, note, self._lease)
            setattr(done, table, getattr(done, table) + len(found.records))
        for path in found.finished:
            path.unlink()
            done.segments += 1
        return found.full


class _Batch:
    """Records of one table, read on from where the last commit stopped."""

    def __init__(self, table: str, folder: Path, taken: dict[str, int], limit: int) -> None:
        self._decode = _KINDS[table][0]
        self._folder = folder
        self._limit = limit
        self._before = taken
        self.records: list[Any] = []
        #: Segment name -> bytes taken, of the segments that are still there.
        self.taken: dict[str, int] = {}
        self.finished: list[Path] = []

    @property
    def full(self) -> bool:
        """Whether the limit stopped it."""
        return len(self.records) >= self._limit

    def collect(self, done: WriteSummary) -> None:
        for path in segment_files(self._folder):
            if self.full:
                self._keep(path)
            else:
                self._read(path, done)

    def _keep(self, path: Path) -> None:
        if path.name in self._before:
            self.taken[path.name] = self._before[path.name]

    def _read(self, path: Path, done: WriteSummary) -> None:
        closed = not segment_is_open(path)  # asked before reading: what is closed now has its last frame already
        end = self._before.get(path.name, 0)
        try:
            for frame in read_frames(path, end):
                self.records.append(self._decode(frame.payload))
                end = frame.end
                if self.full:
                    break
            else:
                if closed:
                    done.torn += tail_state(path, end) == "torn"
                    self.finished.append(path)
        except FormatTooNew as error:
            done.too_new += 1
            _log.error("%s stays where it is: %s", path.name, error)
        except (SegmentDamaged, msgspec.DecodeError) as error:
            if closed:
                self._put_aside(path, error, done)
                return
            _log.error("%s: %s", path.name, error)  # its writer is at it still: aside when it is closed
        self.taken[path.name] = end

    def _put_aside(self, path: Path, error: Exception, done: WriteSummary) -> None:
        aside = path.parent / "damaged"
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
        done.damaged += 1
        _log.error("%s is damaged and kept in %s: %s", path.name, aside, error)
