"""Lake: tables that change by atomic publications, with their append logs, held increments and quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from tidemill.core.errors import LedgerError, LedgerForked, StaleWriter
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerHead
from tidemill.core.ports import Engine, Lease, Objects, Tables
from tidemill.core.storage.verification import Verification
from tidemill.lake.append_logs import AppendLogs, LogWindow
from tidemill.lake.commit_intent import CommitIntents
from tidemill.lake.held_increments import HeldIncrement, HeldIncrements
from tidemill.lake.manifest import Manifests
from tidemill.lake.publication_draft import LakeStores, PublicationDraft
from tidemill.lake.publications import IncrementState, IncrementStates, Publications
from tidemill.lake.quarantine import Quarantine
from tidemill.lake.snapshot import LakeSnapshot
from tidemill.lake.verify import RecordedTable, recorded_heads, recorded_tables, verify_tables, verify_without_ledger


class Lake:
    """A mill's tables. The `publish` entries of the ledger define their versions.

    `objects` stores everything else: intents, manifests, held rows and quarantined rows.
    """

    def __init__(self, tables: Tables, engine: Engine, ledger: Ledger, objects: Objects) -> None:
        self._tables, self._engine, self._ledger = tables, engine, ledger
        self._manifests = Manifests(objects, tables)
        self._intents = CommitIntents(objects, tables, ledger)
        self._held = HeldIncrements(objects, ledger)
        self._quarantine = Quarantine(objects)
        self._publications = Publications(ledger)
        self._increments = IncrementStates(ledger)
        self._logs = AppendLogs(tables, engine, self._manifests, ledger)

    def view(
        self, *, publication: int | None = None, at: datetime | None = None, published_at: datetime | None = None
    ) -> LakeSnapshot:
        """All tables as of a publication number, a data time (`at`) or a publication time; by default the newest.

        `at` selects the last publication whose as-of is not after it. Raises `NotPublished` before the first one.
        """
        known = self._publications.resolve(publication, at, published_at)
        return LakeSnapshot(known, self._tables, self._engine, self._manifests)

    def recover(self, lease: Lease) -> list[str]:
        """Crash recovery: complete an interrupted publication and delete partial results; a message for each action.

        Raises `LedgerForked` if a table has a version that the ledger does not: then nothing is deleted.
        """
        actions = []
        for intent in self._intents.unfinished():
            self._intents.resume(intent, lease)
            actions.append(f"completed publication {intent.publication.number}, which was interrupted")
        last = self._publications.last()
        number = last.publication.number + 1 if last else 1
        for table, version in (last.publication.versions if last else {}).items():
            newest = next(self._tables.history(table), None)
            if newest is not None and newest.version > version:
                raise LedgerForked(
                    f"table `{table}` has version {newest.version}, but the ledger ends with version {version}: "
                    "the ledger is an older copy",
                    tip="restore its newest backup, with the -wal file beside it, or all of .tidemill from one backup",
                )
        loose = sum(self._tables.discard(table, number) for table in (last.publication.versions if last else ()))
        if loose:
            actions.append(f"deleted {loose} files of publication {number}, which was never committed")
        orphans = self._held.discard_unsaid()
        if orphans:
            actions.append(f"deleted {orphans} files of a hold that was never recorded")
        return actions

    def interrupted(self) -> bool:
        """Whether a publication is incomplete: in progress now, or interrupted by a crash."""
        return any(True for _ in self._intents.unfinished())

    def draft(self, lease: Lease) -> PublicationDraft:
        """A draft of the next publication. Call `recover` first."""
        for intent in self._intents.unfinished():
            raise StaleWriter(
                f"publication {intent.publication.number} was interrupted and is not complete", tip="run again"
            )
        stores = LakeStores(self._tables, self._engine, self._manifests, self._intents, self._held, self._mill())
        return PublicationDraft(stores, self._publications.last(), lease, self._publications.has)

    def streams(self) -> list[str]:
        """The streams with published or held increments, sorted."""
        published = {known.publication.stream for known in self._publications.all()}
        return sorted({*published, *self._held.streams()} - {""})

    def increments(self, stream: str) -> list[IncrementState]:
        """All increments of a stream with their states, by number."""
        return self._increments.all(stream)

    def held_increments(self, stream: str) -> list[IncrementState]:
        """The held increments of a stream, which wait for a decision, by number."""
        return self._increments.held(stream)

    def held(self, stream: str, number: int) -> HeldIncrement:
        """A held increment's rows and verdict. Raises `NoSuchIncrement` if it is not held, or no longer."""
        found = self._held.read(stream, number)
        if self._publications.has(stream, number):
            raise self._held.settled(stream, number)
        return found

    def quarantine(self, stream: str, number: int, refused: pa.Table) -> str:
        """Store the refused lines of an increment: `_row, file, line, column, reason, raw` (encrypted bytes).

        Returns the SHA-256 for the increment's `publish` entry; empty without lines.
        """
        return self._quarantine.put(stream, number, refused)

    def quarantined(self, stream: str) -> pa.Table | None:
        """All refused lines of a stream, with their `_increment`; `None` if there are none."""
        return self._quarantine.read(stream)

    def record(self, table: str, rows: pa.Table, number: int, note: Mapping[str, str], lease: Lease) -> int:
        """Append rows to a log table (predictions, outcomes), once per increasing `number`; return the version."""
        return self._logs.record(table, rows, number, note, lease)

    def recorded(self, table: str) -> tuple[int, int, dict[str, str]] | None:
        """The last `(number, version, note)` of a log table, even if not yet in the ledger; `None` before the first."""
        return self._logs.last(table)

    def log(self, table: str, window: LogWindow | None = None) -> pa.Table | None:
        """The rows of all batches of a log table, or of a window; `None` if nothing was recorded."""
        return self._logs.rows(table, window)

    def log_rows(self, table: str) -> int:
        """The number of rows of all batches of a log table, none of which is read."""
        return self._logs.count(table)

    def verify(self, found: Verification | None = None) -> list[str]:
        """Compare all files, logs and ledger entries of every version; a message for each problem.

        `found` also collects what was read and what was not.
        """
        found = found or Verification("lake")
        self._intents.verify(found)
        try:
            recorded = self._recorded(found)
        except (LedgerError, ValueError) as error:
            found.skip("the hashes of manifests", f"they are in the ledger, which cannot be read: {error}")
            verify_without_ledger(self._tables, self._manifests, found)
        else:
            verify_tables(self._tables, self._manifests, recorded, lambda: self._recorded(found), found)
        with found.attempt("held rows"):
            self._held.verify(found)
        with found.attempt("quarantine"):
            self._quarantine.verify(self._ledger.find("publish"), found)
        return [problem.text for problem in found.problems]

    def heads(self) -> list[LedgerHead]:
        """The ledger heads that the tables' commits recorded. A ledger that lacks one of them was truncated."""
        return recorded_heads(self._tables, self._published())

    def newest_heads(self) -> list[LedgerHead]:
        """The heads in the last commit of each table."""
        return recorded_heads(self._tables, self._published(), newest=1)

    def _published(self) -> list[str]:
        last = self._publications.last()
        return sorted({*(last.publication.versions if last else ()), *self._manifests.tables()})

    def _recorded(self, found: Verification) -> dict[str, RecordedTable]:
        return recorded_tables(self._publications.all(), self._ledger, found)

    def _mill(self) -> str:
        opened = self._ledger.last("open")
        return str(opened.details["mill"]) if opened else "mill"
