"""File reader: one `read` of a file source, with the opened files, their numbers, and the result of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from os import stat_result
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import to_micros
from tidemill.core.contract.contract import Contract
from tidemill.core.errors import SourceDamaged
from tidemill.core.row_ids import row_id
from tidemill.core.source_read import REFUSED, ReadRequest, ReadStats, SourceRead, good_schema
from tidemill.sources.files.decompress import compression
from tidemill.sources.files.detect_format import FileLayout, detect_layout
from tidemill.sources.files.file_registry import FileIdentity, FileRegistry
from tidemill.sources.files.file_state import FileState, file_source_state
from tidemill.sources.files.file_url import FileUrl
from tidemill.sources.files.mapping import refuse_lost
from tidemill.sources.files.scan import DueDays, FileScan, ScanContext, scan
from tidemill.sources.files.type_conversion import LINE, joined_rows, to_arrow

#: A last line without a line end is read once its file has not changed for this long.
SETTLED = timedelta(seconds=10)


class FileReading:
    """Reads files one by one, and collects rows, statistics and notes."""

    def __init__(
        self, contract: Contract, url: FileUrl, register: FileRegistry, taken: Mapping[int, int], request: ReadRequest
    ) -> None:
        self._contract, self._url, self._register, self._request = contract, url, register, request
        #: Number of a file -> the last line whose rows were read.
        self._lines_taken = dict(taken)
        self._good: list[pa.Table] = []
        self._refused: list[pl.DataFrame] = []
        self._notes: list[str] = []
        self._totals = dict.fromkeys(ReadStats.__struct_fields__, 0)
        self.damaged: list[SourceDamaged] = []

    def file(self, name: str, path: Path) -> None:
        """Read one file if it has new or due rows."""
        stat, entry = path.stat(), self._register.at(name)
        original = self._register.original(entry) if entry else None
        if entry is not None and original is not None:
            entry = self._register.adopt(entry, original)
            self._notes.append(f"{name} replaces {original.path}, which is missing and had the same content")
        if entry is not None and self._unchanged(path, stat, entry):
            self._totals["files_skipped"] += 1
            return
        scanned, timeless = self._scan(path, entry, self._takes_tail(path, stat))
        identity = self._register.identify(name, entry, scanned, timeless=timeless)
        if identity.kinship == "moved":
            scanned.narrow(self._due(identity.known, timeless=timeless))
        self._note(name, entry, identity, scanned)
        self._keep(self._entry(name, stat, identity, scanned), identity, scanned)
        self._totals["files_read"] += 1
        self._totals["bytes"] += stat.st_size

    def _unchanged(self, path: Path, stat: stat_result, entry: FileState) -> bool:
        """Whether a file has not changed and has no due rows, so that it need not be opened."""
        changed = entry.ctime_ns and entry.ctime_ns != stat.st_ctime_ns  # the only one that no program can set
        if changed or (entry.size, entry.mtime_ns) != (stat.st_size, stat.st_mtime_ns) or not self._taken(entry):
            return False
        return not (entry.waiting and self._takes_tail(path, stat))

    def _scan(self, path: Path, entry: FileState | None, tail: bool) -> tuple[FileScan, bool]:
        """Read a file, from the end of its known part where possible; also whether its rows have no event time."""
        request = self._request
        layout = detect_layout(path, self._url, self._contract, timeless=request.arrival is not None)
        if layout.mapping is not None and (layout.header or layout.format in ("parquet", "excel")):
            refuse_lost(layout.mapping, self._register.newest_columns(), str(path))
        timeless = layout.mapping is not None and layout.mapping.timeless
        context = ScanContext(
            zone=request.zone,
            arrival=request.arrival,
            take_tail=tail,
            marks=self._register.marks(entry),
        )
        skip = entry if entry is not None and self._skippable(entry, layout) else None
        result = scan(path, layout, self._due(entry, timeless=timeless), context, skip=skip)
        if entry is not None and not result.begins_with(entry):  # a known name with different lines: read all of it
            result = scan(path, layout, self._due(None, timeless=timeless), context)
        return result, timeless

    def _entry(self, name: str, stat: stat_result, identity: FileIdentity, found: FileScan) -> FileState:
        """The state to keep for a file."""
        kinship, known = identity
        kept = known if kinship in ("same", "moved") else None
        copy = known if kinship == "copy" else None
        return FileState(
            number=kept.number if kept else self._register.next_number(),
            path=name,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            ctime_ns=stat.st_ctime_ns,
            lines=found.lines,
            prefix_sha256=found.digest,
            content_bytes=found.bytes,
            last_day=found.last_day,
            open_end=found.open_end,
            waiting=found.waiting,
            same_as=copy.number if copy else kept.same_as if kept else None,
            copied=found.lines if copy else kept.copied if kept else 0,
            columns=found.mapping.brought if found.mapping else (),
        )

    def _keep(self, file: FileState, identity: FileIdentity, found: FileScan) -> None:
        """Register the file, and collect its rows under its number; a copy has no rows of its own."""
        seen = self._lines_taken.get(file.number, 0)
        self._register.keep(file)
        self._lines_taken[file.number] = max(seen, file.lines)
        self._totals["content_bytes"] += found.bytes
        if identity.kinship == "copy":
            return
        self._totals["lines"] += max(0, file.lines - seen)
        self._totals["pending"] += found.pending
        row = (pl.lit(row_id(file.number, 0), pl.Int64) + pl.col(LINE)).alias("_row")
        name = pl.lit(file.path).alias("file")
        self._good += [
            table.drop_columns([LINE]).append_column("_row", pc.add(table[LINE], row_id(file.number, 0)))
            for table in found.rows
        ]
        self._refused += [frame.with_columns(row, name) for frame in found.refused if frame.height]

    def _note(self, name: str, entry: FileState | None, identity: FileIdentity, found: FileScan) -> None:
        kinship, known = identity
        if kinship == "copy" and known is not None:
            self._notes.append(f"{name} has the same content as {known.path} and was skipped")
        elif kinship == "moved" and known is not None:
            self._notes.append(f"{name} is {known.path} under a new name; only its new rows were read")
        elif kinship == "new" and entry is not None:
            self._notes.append(f"{name} has different lines than before, so it was read again as a new file")
        now, last = self._request.now, found.last_day
        if now is not None and last is not None and last > (now + timedelta(days=1)).date():
            self._notes.append(f"{name} has rows of the future, up to {last}: each is read once its day is over")
        if found.waiting:
            self._notes.append(f"the last line of {name} is incomplete; it is read once the file is complete")

    def result(self, kind: str) -> SourceRead:
        """All rows, sorted by `_row`, and the new state of that kind."""
        files = self._register.files
        refused = [frame.rename({LINE: "line"}) for frame in self._refused]
        for file in self._register.lost(self._request.after):
            self._notes.append(f"{file.path} is missing or was overwritten; it had rows up to {file.last_day}")
        return SourceRead(
            good=joined_rows(self._good, good_schema(self._contract)),
            refused=to_arrow(refused, REFUSED),
            state=file_source_state(kind, files, self._lines_taken),
            names={file.number: file.path for file in files},
            stats=ReadStats(**self._totals),
            notes=tuple(self._notes),
            damaged=tuple(self.damaged),
        )

    def _due(self, entry: FileState | None, *, timeless: bool) -> DueDays:
        return DueDays(
            until=self._request.until,
            after=self._request.after,
            seen=self._lines_taken.get(entry.number, 0) if entry else 0,
            floor=entry.copied if entry else 0,
            timeless=timeless,
        )

    def _taken(self, entry: FileState) -> bool:
        """Whether the known part of a file has no due rows."""
        if entry.same_as is not None and entry.copied == entry.lines:
            return True
        if self._lines_taken.get(entry.number, 0) < entry.lines:
            return False
        after = self._request.after
        return entry.last_day is None or (after is not None and entry.last_day <= after)

    def _skippable(self, entry: FileState, seen: FileLayout) -> bool:
        lines = seen.format in ("csv", "json") and entry.content_bytes > 0 and not entry.open_end
        return lines and self._taken(entry)

    def _takes_tail(self, path: Path, stat: stat_result) -> bool:
        """Whether a last line without a line end is complete: the file is compressed, or no longer changes."""
        now = self._request.now
        if now is None or compression(path) != "none":
            return True
        return stat.st_mtime_ns // 1000 <= to_micros(now - SETTLED)
