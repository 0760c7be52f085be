"""Append-only log tables: batches of a server's rows, outside of publications, committed exactly once per number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import pyarrow as pa

from tidemill.core.errors import StaleWriter
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Engine, Lease, StagedFile, TableCommit, Tables
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.compaction import SMALL_ROWS
from tidemill.lake.manifest import Manifests, TableManifest
from tidemill.lake.row_equality import conform_schema, with_new_columns
from tidemill.lake.table_draft import TableDraft

Found = TypeVar("Found")

#: Keys of a commit's note, from which a missing ledger entry is restored: the SHA-256 of the manifest, and its rows.
MANIFEST, _ROWS = "manifest", "rows"
#: A version of a log table is kept for at least this long after the next one was committed (microseconds).
KEPT_US = 3_600_000_000
#: Maximum number of rows that a commit merges, unless two files have more.
COMPACTED_ROWS = 2 * SMALL_ROWS


class KeptVersions(NamedTuple):
    """The versions of a log table that are kept: from `oldest` on, and from `next_oldest` on an hour after `since`."""

    oldest: int = 0
    next_oldest: int = 0
    since: int = 0

    @classmethod
    def noted(cls, note: Mapping[str, Any]) -> KeptVersions:
        """What a commit's note, or the details of its ledger entry, say; an older version of tidemill kept all."""
        return cls(*(int(note.get(name, 0)) for name in cls._fields))

    def after(self, line: LedgerEntry) -> KeptVersions:
        """What the batch after that of `line` has to keep, at the time of `line`."""
        if 0 <= line.at - self.since < KEPT_US:
            return self
        oldest = self.next_oldest if line.at >= self.since else self.oldest  # unless the clock was set back
        return KeptVersions(oldest, int(line.details["version"]), line.at)


class LogWindow(NamedTuple):
    """Some columns of the newest rows of a log table, by whole files: it may have older rows too."""

    columns: Sequence[str]
    #: Column by whose values rows are new, and the smallest value, microseconds.
    by: str
    since: int = 0
    #: No further file is read once there are so many rows.
    most_rows: int | None = None

    def files(self, files: Sequence[StagedFile]) -> list[StagedFile]:
        """The files that may have rows of it, newest first. A file without statistics counts as new."""
        ends = [(file.ranges[self.by][1] if self.by in file.ranges else math.inf, file) for file in files]
        chosen, rows = [], 0
        for _, file in sorted((one for one in ends if one[0] >= self.since), key=lambda one: -one[0]):
            if self.most_rows and rows >= self.most_rows:
                break
            chosen.append(file)
            rows += file.entry.rows
        return chosen


_OWN = (MANIFEST, _ROWS, "ledger_head", *KeptVersions._fields)


def unrecorded_batch(commits: Sequence[TableCommit], recorded: int) -> TableCommit | None:
    """The only batch after version `recorded`, the last one in the ledger, if its note says what to record: its writer
    is about to do that, or was interrupted, and the next one does.
    """
    found = [commit for commit in commits if commit.number and commit.version > recorded]
    return found[0] if len(found) == 1 and MANIFEST in found[0].note else None


class AppendLogs:
    """The log tables of a lake: one writer per table, one ledger entry per batch."""

    def __init__(self, tables: Tables, engine: Engine, manifests: Manifests, ledger: Ledger) -> None:
        self._tables, self._engine, self._manifests, self._ledger = tables, engine, manifests, ledger

    def record(self, table: str, rows: pa.Table, number: int, note: Mapping[str, str], lease: Lease) -> int:
        """Commit `rows` as batch `number`, then record it in the ledger. Idempotent: a repeat returns the same version.

        Schema evolution: the same commit adds new columns to the table, with nulls in the existing rows, and columns
        that `rows` lacks are null. Thus logs can get new columns, and older versions of tidemill can still append.
        """
        if number < 1:
            raise ValueError(f"batches are numbered from 1, not {number}")
        last, line = self._finished(table, lease)
        if last is not None and number <= last.number:
            return self._version(table, number)
        base, before = self._base(table, rows.schema, last)
        schema = self._tables.schema(table)
        if schema is None:
            raise StaleWriter(f"table `{table}` was removed while it was being written")
        self._tables.discard(table, last.number if last else number)  # files left by a crashed batch
        working = TableDraft(self._tables, self._engine, table, number, before, schema, self._manifests.verified_path)
        schema = with_new_columns(schema, rows.schema)
        if schema != working.schema:
            working.widen(schema)
        working.add(conform_schema(rows, schema, table, fill=True))
        working.compact(COMPACTED_ROWS)
        manifest = TableManifest(
            table=table,
            version=base + 1,
            files=tuple(working.files),
            columns={field.name: str(field.type) for field in schema},
            arrow=schema.serialize().to_pybytes(),
        )
        self._manifests.write(manifest)
        failpoint("log.staged")
        expired = KeptVersions.noted(line.details if line else {})
        kept = expired.after(line) if line else expired
        own = {MANIFEST: manifest.sha256, _ROWS: str(rows.num_rows), "ledger_head": str(self._ledger.head())}
        own |= {name: str(value) for name, value in kept._asdict().items()}
        version = self._tables.commit(
            table,
            number,
            base,
            working.added,
            working.removed,
            {**note, **own},
            schema if working.is_reshaped else None,
        )
        failpoint("log.committed")
        self._say(table, number, version, {**note, **own}, lease)
        if kept.oldest > expired.oldest:  # the ledger names what is kept before anything is deleted
            self._manifests.expire(table, kept.oldest)
            failpoint("expire.manifests")
            self._tables.expire(table, kept.oldest)
        return version

    def last(self, table: str) -> tuple[int, int, dict[str, str]] | None:
        """`(number, version, note)` of the last commit."""
        commit = self._last_commit(table)
        return None if commit is None else (commit.number, commit.version, commit.note)

    def rows(self, table: str, window: LogWindow | None = None) -> pa.Table | None:
        """The rows of all batches, or those of a window; `None` before the first batch.

        Reads again if the version expires meanwhile.
        """
        return self._newest(table, lambda name, manifest, schema: self._rows_of(name, manifest, schema, window))

    def count(self, table: str) -> int:
        """The number of rows of all batches, by the newest manifest."""
        return self._newest(table, lambda _, manifest, schema: manifest.rows) or 0

    def _newest(self, table: str, read: Callable[[str, TableManifest, pa.Schema], Found]) -> Found | None:
        while True:
            last, schema = self._last_commit(table), self._tables.schema(table)
            if last is None or schema is None:
                return None
            try:
                return read(table, self._manifests.read(table, last.version, last.note[MANIFEST]), schema)
            except Exception:
                newest = self._last_commit(table)
                if newest is None or KeptVersions.noted(newest.note).oldest <= last.version:
                    raise

    def _rows_of(self, table: str, manifest: TableManifest, schema: pa.Schema, window: LogWindow | None) -> pa.Table:
        files = window.files(manifest.files) if window else manifest.files
        frame = self._engine.scan([self._manifests.verified_path(table, file.entry) for file in files], schema)
        if window:
            frame = frame.select(*(name for name in window.columns if name in schema.names))
        return self._engine.collect(frame)

    def _finished(self, table: str, lease: Lease) -> tuple[TableCommit | None, LedgerEntry | None]:
        """The last commit and its ledger entry, which is written if it is missing because of a crash."""
        last = self._last_commit(table)
        line = self._ledger.last("log", f"table:{table}")
        if last is not None and (line is None or line.details["number"] < last.number):
            line = self._say(table, last.number, last.version, last.note, lease)
        return last, line

    def _say(self, table: str, number: int, version: int, note: Mapping[str, str], lease: Lease) -> LedgerEntry:
        sources = {key: value for key, value in note.items() if key not in _OWN}
        return self._ledger.append(
            "log",
            about=f"table:{table}",
            refs_out=(f"table:{table}@{version}",),
            details={
                "number": number,
                "version": version,
                "rows": int(note[_ROWS]),
                "manifest": note[MANIFEST],
                **KeptVersions.noted(note)._asdict(),
                "logs": self._log_files(table, version),
                "sources": msgspec.json.encode(sources, order="sorted").decode(),
            },
            lease=lease,
        )

    def _log_files(self, table: str, version: int) -> dict[str, str]:
        """File of the table's own log -> SHA-256, of the files that this batch's commit wrote."""
        last = self._ledger.last("log", f"table:{table}")
        versions = range(int(last.details["version"]) + 1 if last else 0, version + 1)
        files = [file for number in versions for file in self._tables.log_files(table, number)]
        return {file.path: file.sha256 for file in files}

    def _base(self, table: str, schema: pa.Schema, last: TableCommit | None) -> tuple[int, TableManifest | None]:
        if last is None:
            return self._tables.create(table, schema, ()), None
        manifest = self._manifests.read(table, last.version, last.note[MANIFEST])
        return next(self._tables.history(table)).version, manifest

    def _last_commit(self, table: str) -> TableCommit | None:
        if self._tables.schema(table) is None:
            return None
        return next((commit for commit in self._tables.history(table) if commit.number), None)

    def _version(self, table: str, number: int) -> int:
        for line in self._ledger.newest("log", about=f"table:{table}"):
            if line.details["number"] == number:
                return int(line.details["version"])
        raise StaleWriter(f"table `{table}` is past batch {number}, which was never written")
