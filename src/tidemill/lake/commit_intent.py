"""Commit intent (write-ahead record) of a publication: once it is durable, the publication survives any crash.

Delta first, ledger second: every table is committed under the publication's number, then one ledger entry records all
versions, then the intent is deleted. Each step is idempotent, so executing an intent again completes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pyarrow as pa

from tidemill.core.errors import CorruptFile, NoSuchObject, StaleWriter
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Lease, Objects, StagedFile, Tables
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.records.ingest import FileEntry, Publication
from tidemill.core.storage.failpoint import failpoint
from tidemill.core.storage.verification import Verification

_FOLDER, _SUFFIX = "_tidemill/intents/", ".json"


class TableCommitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The files that a table's next version adds and removes."""

    table: str = ""
    base: int = 0
    add: tuple[StagedFile, ...] = ()
    remove: tuple[str, ...] = ()
    #: The new schema as an Arrow schema message; empty if the schema is unchanged.
    reshaped: bytes = b""


class CommitIntent(VersionedRecord, frozen=True, kw_only=True):
    """Everything that is needed to complete a publication."""

    KIND: ClassVar[str] = "publication in progress"
    REQUIRED: ClassVar[tuple[str, ...]] = ("publication", "changes")

    publication: Publication = Publication()
    changes: tuple[TableCommitPlan, ...] = ()
    #: The ledger entry's subject matter, fingerprint, refs and details.
    about: str = ""
    fingerprint: str = ""
    refs_in: tuple[str, ...] = ()
    refs_out: tuple[str, ...] = ()
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class CommitIntents:
    """The intents that are not complete: none, or one after a crash."""

    def __init__(self, objects: Objects, tables: Tables, ledger: Ledger) -> None:
        self._objects, self._tables, self._ledger = objects, tables, ledger

    def unfinished(self) -> Iterator[CommitIntent]:
        """The intents that are not complete, by number."""
        for name in self._objects.list(_FOLDER):
            if not name.endswith(_SUFFIX):
                continue
            try:
                content = self._objects.get(name)
            except NoSuchObject:  # its run completed it meanwhile
                continue
            yield _decode(content, name)

    def verify(self, found: Verification) -> None:
        """Name every publication that is not complete, and every intent that cannot be read."""
        for name in self._objects.list(_FOLDER):
            with found.attempt(name):
                content = self._objects.get(name)
                found.read(name, len(content))
                number = _decode(content, name).publication.number
                found.problem(f"publication {number} was interrupted; `tidemill run` completes it", derived=True)

    def carry_out(self, intent: CommitIntent, lease: Lease) -> None:
        """Store the intent and execute it. Once the intent is stored, the publication will be completed."""
        if intent.changes and not self._objects.put(_name(intent), msgspec.json.encode(intent)):
            raise StaleWriter(f"another writer committed publication {intent.publication.number}", tip="run again")
        failpoint("publish.intent")
        self._finish(intent, lease, known=False)

    def resume(self, intent: CommitIntent, lease: Lease) -> None:
        """Complete an interrupted publication, after verifying every staged file."""
        for change in intent.changes:
            for file in change.add:
                self._check_staged(change.table, file.entry)
        known = self._ledger.last("publish")
        done = known is not None and _number(known.details) >= intent.publication.number
        self._finish(intent, lease, known=done)

    def _finish(self, intent: CommitIntent, lease: Lease, *, known: bool) -> None:
        number = intent.publication.number
        note = {
            "publication": str(number),
            "fingerprint": intent.fingerprint,
            "ledger_head": str(self._ledger.head()),
        }
        for change in intent.changes:
            failpoint("publish.commit")
            schema = pa.ipc.read_schema(pa.py_buffer(change.reshaped)) if change.reshaped else None
            self._tables.commit(change.table, number, change.base, change.add, change.remove, note, schema)
        failpoint("publish.committed")
        if not known:
            self._ledger.append(
                "publish",
                about=intent.about,
                refs_in=intent.refs_in,
                refs_out=intent.refs_out,
                fingerprint=intent.fingerprint,
                details=intent.details | {"logs": self._log_files(intent)},
                lease=lease,
            )
        failpoint("publish.ledger")
        if intent.changes:
            self._objects.delete(_name(intent))
        failpoint("publish.done")

    def _log_files(self, intent: CommitIntent) -> dict[str, dict[str, str]]:
        """Table -> file of its own log -> SHA-256, of the files that this publication's commits wrote."""
        found = {}
        for change in intent.changes:
            first = change.base + 1 if self._is_published(change.table) else 0
            versions = range(first, intent.publication.versions[change.table] + 1)
            files = [file for version in versions for file in self._tables.log_files(change.table, version)]
            found[change.table] = {file.path: file.sha256 for file in files}
        return found

    def _is_published(self, table: str) -> bool:
        last = self._ledger.last("publish")
        return last is not None and table in decode_record(last.details["publication"], Publication).versions

    def _check_staged(self, table: str, entry: FileEntry) -> None:
        place = self._tables.locate(table, entry.path)
        try:
            sha256, _ = self._tables.digest(table, entry.path)
        except CorruptFile as error:
            raise CorruptFile(f"{place} was staged and is missing; its publication cannot be finished") from error
        if sha256 != entry.sha256:
            raise CorruptFile(f"{place} differs from what was staged; its publication cannot be finished")


def _decode(content: bytes, name: str) -> CommitIntent:
    try:
        return decode_record(content, CommitIntent, name)
    except msgspec.DecodeError as error:
        raise CorruptFile(
            f"{name}, the record of a publication in progress, cannot be read", tip="restore it from a backup"
        ) from error


def _name(intent: CommitIntent) -> str:
    return f"{_FOLDER}{intent.publication.number:010d}{_SUFFIX}"


def _number(details: dict[str, Any]) -> int:
    return decode_record(details["publication"], Publication).number
