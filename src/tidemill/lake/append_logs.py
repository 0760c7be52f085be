"""Append-only log tables: batches of a server's rows, outside of publications, committed exactly once per number."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pyarrow as pa

from tidemill.core.errors import StaleWriter
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Engine, Lease, TableCommit, Tables
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.compaction import SMALL_ROWS
from tidemill.lake.manifest import Manifests, TableManifest
from tidemill.lake.row_equality import conform_schema, with_new_columns
from tidemill.lake.table_draft import TableDraft

#: Keys of a commit's note, from which a missing ledger entry is restored.
_SHA256, _ROWS = "manifest", "rows"
#: Maximum number of rows that a commit merges, unless two files have more.
COMPACTED_ROWS = 2 * SMALL_ROWS


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
        last = self._finished(table, lease)
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
        own = {_SHA256: manifest.sha256, _ROWS: str(rows.num_rows), "ledger_head": str(self._ledger.head())}
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
        return version

    def last(self, table: str) -> tuple[int, int, dict[str, str]] | None:
        """`(number, version, note)` of the last commit."""
        commit = self._last_commit(table)
        return None if commit is None else (commit.number, commit.version, commit.note)

    def rows(self, table: str) -> pa.Table | None:
        """The rows of all batches; `None` before the first."""
        last, schema = self._last_commit(table), self._tables.schema(table)
        if last is None or schema is None:
            return None
        manifest = self._manifests.read(table, last.version, last.note[_SHA256])
        paths = [self._manifests.verified_path(table, file.entry) for file in manifest.files]
        return self._engine.collect(self._engine.scan(paths, schema))

    def known(self) -> dict[str, dict[int, str]]:
        """Table -> version -> SHA-256 of its manifest, from the ledger."""
        found: dict[str, dict[int, str]] = {}
        for line in self._ledger.find("log"):
            found.setdefault(_table(line), {})[line.details["version"]] = line.details["manifest"]
        return found

    def tables(self) -> list[str]:
        """The names of the log tables in the ledger."""
        return sorted({_table(line) for line in self._ledger.find("log")})

    def _finished(self, table: str, lease: Lease) -> TableCommit | None:
        """The last commit, after writing its ledger entry if that is missing because of a crash."""
        last = self._last_commit(table)
        recorded = self._ledger.last("log", f"table:{table}")
        if last is not None and (recorded is None or recorded.details["number"] < last.number):
            self._say(table, last.number, last.version, last.note, lease)
        return last

    def _say(self, table: str, number: int, version: int, note: Mapping[str, str], lease: Lease) -> None:
        sources = {key: value for key, value in note.items() if key not in (_SHA256, _ROWS, "ledger_head")}
        self._ledger.append(
            "log",
            about=f"table:{table}",
            refs_out=(f"table:{table}@{version}",),
            details={
                "number": number,
                "version": version,
                "rows": int(note[_ROWS]),
                "manifest": note[_SHA256],
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
        return last.version, self._manifests.read(table, last.version, last.note[_SHA256])

    def _last_commit(self, table: str) -> TableCommit | None:
        if self._tables.schema(table) is None:
            return None
        last = next(self._tables.history(table), None)
        return last if last and last.number else None

    def _version(self, table: str, number: int) -> int:
        for commit in self._tables.history(table):
            if commit.number == number:
                return commit.version
        raise StaleWriter(f"table `{table}` is past batch {number}, which was never written")


def _table(line: LedgerEntry) -> str:
    return line.about.removeprefix("table:")
