"""Held increments: rows that wait for a person's decision, stored outside of the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tidemill.core.errors import CorruptFile, NoSuchIncrement, NoSuchObject
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Lease, Objects
from tidemill.core.record_format import decode_record
from tidemill.core.records.ingest import Increment, Verdict
from tidemill.core.storage.failpoint import failpoint
from tidemill.core.storage.verification import Verification
from tidemill.lake.parquet_bytes import parquet_from_rows, rows_from_parquet
from tidemill.lake.replace_object import replace_object

_FOLDER = "_tidemill/held/"


@dataclass(frozen=True)
class HeldIncrement:
    """A held increment with its rows as they arrived."""

    increment: Increment
    verdict: Verdict
    rows: pa.Table
    #: The refused lines, with encrypted raw bytes; `None` if none were stored.
    refused: pa.Table | None
    #: Further details of its `hold` entry in the ledger.
    details: Mapping[str, Any] = field(default_factory=dict)


class HeldIncrements:
    """Held increments: one Parquet object each, verified against the SHA-256 in its `hold` entry in the ledger."""

    def __init__(self, objects: Objects, ledger: Ledger) -> None:
        self._objects, self._ledger = objects, ledger

    def hold(
        self,
        increment: Increment,
        verdict: Verdict,
        rows: pa.Table,
        refused: pa.Table | None,
        details: Mapping[str, Any],
        lease: Lease,
    ) -> None:
        """Store the rows, then record the hold in the ledger."""
        kept = {"file": rows} | ({} if refused is None else {"refused_file": refused})
        files: dict[str, str] = {}
        for name, part in kept.items():
            content = parquet_from_rows(part)
            sha256 = hashlib.sha256(content).hexdigest()
            file = f"{increment.stream}-{increment.number}-{sha256[:16]}.parquet"
            replace_object(self._objects, _FOLDER + file, content)
            files |= {name: file, name.replace("file", "sha256"): sha256}
        failpoint("hold.written")
        self._ledger.append(
            "hold",
            about=f"stream:{increment.stream}",
            fingerprint=increment.commitment,
            details={
                **details,
                **files,
                "number": increment.number,
                "increment": increment.json(),
                "verdict": verdict.json(),
            },
            lease=lease,
        )
        failpoint("hold.ledger")

    def read(self, stream: str, number: int) -> HeldIncrement:
        """The newest hold of an increment. Raises `NoSuchIncrement` if it was never held."""
        lines = [line for line in self._lines(stream) if line.details["number"] == number]
        if not lines:
            numbers = sorted({line.details["number"] for line in self._lines(stream)})
            known = f"held so far: {', '.join(map(str, numbers))}" if numbers else "none was ever held"
            raise NoSuchIncrement(f"increment {number} of `{stream}` is not held; {known}", tip="tidemill status")
        details = lines[-1].details
        refused = self._table(details, "refused_") if "refused_file" in details else None
        return HeldIncrement(
            decode_record(details["increment"], Increment),
            decode_record(details["verdict"], Verdict),
            self._table(details, ""),
            refused,
            details,
        )

    def settled(self, stream: str, number: int) -> NoSuchIncrement:
        """The error for an increment that was held and is now published."""
        return NoSuchIncrement(
            f"increment {number} of `{stream}` is no longer held: it is published", tip="tidemill status"
        )

    def discard_unsaid(self) -> int:
        """Delete objects of holds that are not in the ledger because of a crash; return how many."""
        recorded = set()
        for line in self._ledger.find("hold"):
            recorded |= {line.details["file"], line.details.get("refused_file", "")}
        orphans = [name for name in self._objects.list(_FOLDER) if name.removeprefix(_FOLDER) not in recorded]
        for name in orphans:
            self._objects.delete(name)
        return len(orphans)

    def verify(self, found: Verification) -> None:
        """Read every held file, and name each that is missing or changed."""
        for line in self._ledger.find("hold"):
            for prefix in [""] + (["refused_"] if "refused_file" in line.details else []):
                with found.attempt("held rows"):
                    content = self._content(line.details, prefix)
                    found.read(_FOLDER + str(line.details[f"{prefix}file"]), len(content))

    def streams(self) -> set[str]:
        """The streams that ever had a held increment."""
        return {line.about.removeprefix("stream:") for line in self._ledger.find("hold")}

    def _lines(self, stream: str) -> list[LedgerEntry]:
        return self._ledger.find("hold", about=f"stream:{stream}")

    def _table(self, details: Mapping[str, Any], prefix: str) -> pa.Table:
        return rows_from_parquet(self._content(details, prefix))

    def _content(self, details: Mapping[str, Any], prefix: str) -> bytes:
        name = _FOLDER + str(details[f"{prefix}file"])
        try:
            content = self._objects.get(name)
        except NoSuchObject as error:
            raise CorruptFile(
                f"the held rows {name} are missing", tip="restore them from a backup, or replace the increment"
            ) from error
        if hashlib.sha256(content).hexdigest() != details[f"{prefix}sha256"]:
            raise CorruptFile(f"the held rows {name} differ from their hash in the ledger")
        return content
