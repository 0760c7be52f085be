"""File reader: one `read` of a file source, with the opened files, their numbers, and the result of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from os import stat_result
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import to_micros
from tidemill.core.contract.contract import Contract
from tidemill.core.errors import SourceDamaged
from tidemill.core.row_ids import row_id
from tidemill.core.source_read import REFUSED, ReadRequest, ReadStats, SourceRead, SplitReader, good_schema
from tidemill.sources.files.decompress import compression
from tidemill.sources.files.detect_format import FileLayout, detect_layout
from tidemill.sources.files.file_registry import FileIdentity, FileRegistry
from tidemill.sources.files.file_state import FileState, file_source_state
from tidemill.sources.files.file_url import FileUrl
from tidemill.sources.files.mapping import refuse_lost
from tidemill.sources.files.scan import DueDays, FileScan, FileSplit, FileTask, ScanContext, ScanSummary, scan_in_memory
from tidemill.sources.files.type_conversion import LINE, joined_rows, to_arrow

#: A last line without a line end is read once its file has not changed for this long.
SETTLED = timedelta(seconds=10)
#: Bytes of content in a byte of a compressed file, about.
_COMPRESSED = 5


def _new_bytes(task: FileTask) -> int:
    """About how many bytes of text a scan decodes."""
    is_plain = compression(task.path) == "none" and task.layout.format in ("csv", "json")
    known = task.skip.content_bytes if task.skip else 0
    return max(0, task.size * (1 if is_plain else _COMPRESSED) - known)


@dataclass(frozen=True)
class OpenedFile:
    """A file that has new or due rows, and the scan that reads them."""

    name: str
    stat: stat_result
    #: Its state after the last read.
    entry: FileState | None
    task: FileTask
    timeless: bool


class FileReading:
    """Reads files, and collects rows, statistics and notes. `workers` read large files."""

    def __init__(
        self,
        contract: Contract,
        url: FileUrl,
        register: FileRegistry,
        taken: Mapping[int, int],
        request: ReadRequest,
        workers: SplitReader | None = None,
    ) -> None:
        self._contract, self._url, self._register, self._request = contract, url, register, request
        self._workers = workers
        #: Number of a file -> the last line whose rows were read.
        self._lines_taken = dict(taken)
        self._good: list[pa.Table] = []
        self._refused: list[pl.DataFrame] = []
        self._notes: list[str] = []
        self._totals = dict.fromkeys(ReadStats.__struct_fields__, 0)
        #: Split that workers have read -> the number of its file.
        self._splits: dict[int, int] = {}
        self.damaged: list[SourceDamaged] = []

    def files(self, files: Iterable[tuple[str, Path]]) -> None:
        """Read files: known names first, because their contents determine which known files have moved."""
        new = []
        for name, path in files:
            if self._register.at(name) is None:
                new.append((name, path))
            else:
                self._read([(name, path)])
        if (
            self._workers is not None
            and _COMPRESSED * sum(path.stat().st_size for _, path in new) >= self._workers.least_bytes
        ):
            self._read(new)
        else:
            for one in new:
                self._read([one])

    def _read(self, files: Sequence[tuple[str, Path]]) -> None:
        """Read files that have new or due rows, all at once if workers read them."""
        opened: list[OpenedFile] = []
        for name, path in files:
            with self._leaving_damaged():
                if (found := self._open(name, path, opened)) is not None:
                    opened.append(found)
        for file, scanned in zip(opened, self._scans(opened), strict=True):
            with self._leaving_damaged():
                self._finish(file, scanned)

    @contextmanager
    def _leaving_damaged(self) -> Iterator[None]:
        try:
            yield
        except SourceDamaged as error:
            if self._request.damaged == "raise":
                raise
            self.damaged.append(error)

    def _open(self, name: str, path: Path, before: Sequence[OpenedFile]) -> OpenedFile | None:
        """Look at a file; `None` if it has neither new nor due rows. Those `before` it are not identified yet."""
        stat, entry = path.stat(), self._register.at(name)
        original = self._register.original(entry) if entry else None
        if entry is not None and original is not None:
            entry = self._register.adopt(entry, original)
            self._notes.append(f"{name} replaces {original.path}, which is missing and had the same content")
        if entry is not None and self._unchanged(path, stat, entry):
            self._totals["files_skipped"] += 1
            return None
        request = self._request
        layout = detect_layout(path, self._url, self._contract, timeless=request.arrival is not None)
        if layout.mapping is not None and (layout.header or layout.format in ("parquet", "excel")):
            mappings = (file.task.layout.mapping for file in reversed(before))
            columns = next((mapping.brought for mapping in mappings if mapping), self._register.newest_columns())
            refuse_lost(layout.mapping, columns, str(path))
        timeless = layout.mapping is not None and layout.mapping.timeless
        context = ScanContext(
            zone=request.zone,
            arrival=request.arrival,
            take_tail=self._takes_tail(path, stat),
            marks=self._register.marks(entry),
        )
        skip = entry if entry is not None and self._skippable(entry, layout) else None
        task = FileTask(
            path=path,
            layout=layout,
            due=self._due(entry, timeless=timeless),
            context=context,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            skip=skip,
        )
        return OpenedFile(name, stat, entry, task, timeless)

    def _scans(self, files: Sequence[OpenedFile]) -> Iterable[FileScan]:
        """The results of scans: of much content together by workers, else one by one in this process."""
        splits = [FileSplit(file.name, file.task, _new_bytes(file.task)) for file in files] if self._workers else []
        any_sheet = any(file.task.layout.sheet for file in files)
        if self._workers is None or any_sheet or sum(split.size for split in splits) < self._workers.least_bytes:
            return (scan_in_memory(file.task) for file in files)
        results = self._workers.read(splits)
        return [
            FileScan(
                msgspec.json.decode(found.summary or b"{}", type=ScanSummary), split=found.number, problem=found.problem
            )
            for found in results
        ]

    def _finish(self, file: OpenedFile, scanned: FileScan) -> None:
        """Identify a file that was read, and keep its rows."""
        entry, timeless = file.entry, file.timeless
        if scanned.problem:
            raise scanned.problem
        if entry is not None and not scanned.summary.begins_with(entry):  # a known name with different lines: read all
            scanned = self._again(file, self._due(None, timeless=timeless))
        identity = self._register.identify(file.name, entry, scanned.summary, timeless=timeless)
        if identity.kinship == "moved":
            due = self._due(identity.known, timeless=timeless)
            if scanned.split is None:
                scanned.narrow(due)
            else:
                scanned = self._again(file, due)
        self._note(file.name, entry, identity, scanned.summary)
        self._keep(self._entry(file, identity, scanned.summary), identity, scanned)
        self._totals["files_read"] += 1
        self._totals["bytes"] += file.stat.st_size

    def _again(self, file: OpenedFile, due: DueDays) -> FileScan:
        """Read a whole file again, for other due rows."""
        (scanned,) = self._scans([replace(file, task=replace(file.task, due=due, skip=None))])
        if scanned.problem:
            raise scanned.problem
        return scanned

    def _unchanged(self, path: Path, stat: stat_result, entry: FileState) -> bool:
        """Whether a file has not changed and has no due rows, so that it need not be opened."""
        changed = entry.ctime_ns and entry.ctime_ns != stat.st_ctime_ns  # the only one that no program can set
        if changed or (entry.size, entry.mtime_ns) != (stat.st_size, stat.st_mtime_ns) or not self._taken(entry):
            return False
        return not (entry.waiting and self._takes_tail(path, stat))

    def _entry(self, file: OpenedFile, identity: FileIdentity, found: ScanSummary) -> FileState:
        """The state to keep for a file."""
        (kinship, known), mapping = identity, file.task.layout.mapping
        kept = known if kinship in ("same", "moved") else None
        copy = known if kinship == "copy" else None
        return FileState(
            number=kept.number if kept else self._register.next_number(),
            path=file.name,
            size=file.stat.st_size,
            mtime_ns=file.stat.st_mtime_ns,
            ctime_ns=file.stat.st_ctime_ns,
            lines=found.lines,
            prefix_sha256=found.digest,
            content_bytes=found.content_bytes,
            last_day=found.last_day,
            open_end=found.open_end,
            waiting=found.waiting,
            same_as=copy.number if copy else kept.same_as if kept else None,
            copied=found.lines if copy else kept.copied if kept else 0,
            columns=mapping.brought if mapping else (),
        )

    def _keep(self, file: FileState, identity: FileIdentity, found: FileScan) -> None:
        """Register the file, and collect its rows under its number; a copy has no rows of its own."""
        seen = self._lines_taken.get(file.number, 0)
        self._register.keep(file)
        self._lines_taken[file.number] = max(seen, file.lines)
        self._totals["content_bytes"] += found.summary.content_bytes
        if identity.kinship == "copy":
            return
        self._totals["lines"] += max(0, file.lines - seen)
        self._totals["pending"] += found.summary.pending
        if found.split is not None:
            self._splits[found.split] = file.number
        row = (pl.lit(row_id(file.number, 0), pl.Int64) + pl.col(LINE)).alias("_row")
        name = pl.lit(file.path).alias("file")
        self._good += [
            table.drop_columns([LINE]).append_column("_row", pc.add(table[LINE], row_id(file.number, 0)))
            for table in found.rows
        ]
        self._refused += [frame.with_columns(row, name) for frame in found.refused if frame.height]

    def _note(self, name: str, entry: FileState | None, identity: FileIdentity, found: ScanSummary) -> None:
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
            splits=self._splits,
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
