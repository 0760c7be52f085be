"""A publication that is decided and being carried out. Once its intent is durable it will happen, whatever dies.

Delta first, ledger second: every table is committed under the publication's number, then one ledger line names all
versions, then the intent goes. Each of these is taken once, so carrying an intent out again finishes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from tidemill.core.durable import remove_durably, sha256_of, write_durably
from tidemill.core.errors import CorruptFile, FormatTooNew
from tidemill.core.failpoint import failpoint
from tidemill.core.ledger import Ledger
from tidemill.core.ports import Lease, StagedFile, Tables
from tidemill.core.records import Publication

FORMAT = 1


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one table's next version adds and drops."""

    table: str
    base: int
    add: tuple[StagedFile, ...]
    remove: tuple[str, ...]
    #: The columns from this version on, as an Arrow schema message, where they are others than before.
    reshaped: bytes = b""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to finish a publication."""

    publication: Publication
    changes: tuple[Change, ...]
    #: The ledger line's subject matter, fingerprint, refs and details.
    about: str
    fingerprint: str
    refs_out: tuple[str, ...]
    details: dict[str, Any]
    format: int = FORMAT


class Intents:
    """The publications that were decided and are not finished: none, or the one that a crash left."""

    def __init__(self, root: Path, tables: Tables, ledger: Ledger) -> None:
        self._root = root
        self._tables, self._ledger = tables, ledger

    def unfinished(self) -> Iterator[Intent]:
        """Intents that are still there, by number."""
        for file in sorted(self._root.glob("*.json")):
            found = msgspec.json.decode(file.read_bytes(), type=Intent)
            if found.format > FORMAT:
                raise FormatTooNew(f"{file} has format {found.format}, and this tidemill knows {FORMAT}")
            yield found

    def carry_out(self, intent: Intent, lease: Lease) -> None:
        """Decide and do: from here on the publication will happen."""
        if intent.changes:
            write_durably(self._path(intent), msgspec.json.encode(intent))
        failpoint("publish.intent")
        self._finish(intent, lease, known=False)

    def resume(self, intent: Intent, lease: Lease) -> None:
        """Finish what a crash interrupted, after looking at every staged file."""
        for change in intent.changes:
            for file in change.add:
                _same(Path(self._tables.path(change.table, file.entry.path)), file.entry.sha256)
        known = self._ledger.last("publish")
        done = known is not None and _number(known.details) >= intent.publication.number
        self._finish(intent, lease, known=done)

    def _finish(self, intent: Intent, lease: Lease, *, known: bool) -> None:
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
                refs_out=intent.refs_out,
                fingerprint=intent.fingerprint,
                details=intent.details,
                lease=lease,
            )
        failpoint("publish.ledger")
        if intent.changes:
            remove_durably(self._path(intent))
        failpoint("publish.done")

    def _path(self, intent: Intent) -> Path:
        return self._root / f"{intent.publication.number:010d}.json"


def _number(details: dict[str, Any]) -> int:
    return msgspec.json.decode(details["publication"], type=Publication).number


def _same(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise CorruptFile(f"{file} was staged and is missing; its publication cannot be finished")
    if sha256_of(file) != sha256:
        raise CorruptFile(f"{file} differs from what was staged; its publication cannot be finished")
