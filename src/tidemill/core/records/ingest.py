"""Records of ingestion: verdicts, increments, publications and data files."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record as Record
from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.external_pin import ExternalPin

CheckOutcome = Literal["pass", "warn", "hold"]


class Failure(Record, frozen=True):
    """One expectation that failed."""

    #: The table or stream, and the expectation as text, for example `between(rating, 1, 5, share=0.95)`.
    table: str = ""
    check: str = ""
    column: str | None = None
    #: Number of rows that were checked.
    n: int = 0
    observed: float = 0.0
    #: The expected range of `observed`, both ends included; `None` is unbounded.
    low: float | None = None
    high: float | None = None
    #: Expected false alarms per day of a learned check; `None` for other checks.
    false_alarms: float | None = None
    severity: Literal["warn", "hold"] = "warn"
    #: Message for users, one sentence.
    says: str = ""


class Verdict(VersionedRecord, frozen=True):
    """Validation result of one increment, with every failure."""

    KIND: ClassVar[str] = "verdict"
    REQUIRED: ClassVar[tuple[str, ...]] = ("outcome",)

    outcome: CheckOutcome = "pass"
    failures: tuple[Failure, ...] = ()
    #: Number of evaluated expectations.
    checked: int = 0
    #: Remarks that are not failures, for example that a learned check is still warming up.
    notes: tuple[str, ...] = ()
    #: Values that learned checks observed in this increment: the history for later increments.
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class RowCounts(Record, frozen=True):
    """Row counts of one increment, from arrival to table."""

    #: Lines or messages that arrived, valid or refused.
    arrived: int = 0
    #: Refused by the parser or the contract, and stored in quarantine.
    refused: int = 0
    #: Of these, places of the event log that were damaged on disk.
    damaged: int = 0
    #: Duplicates: rows whose key already exists in this increment or in the table, with the same values.
    repeated: int = 0
    #: Conflicts: rows whose key already exists with other values; the largest `_row` wins.
    contradicted: int = 0
    #: Rows added to the stream's table.
    merged: int = 0


class Increment(VersionedRecord, frozen=True):
    """One day of one stream, or one declared backfill."""

    KIND: ClassVar[str] = "increment"
    REQUIRED: ClassVar[tuple[str, ...]] = ("stream", "number")

    stream: str = ""
    #: Numbered per stream in order of arrival, from 1.
    number: int = 0
    day: date = date.min
    #: As-of in microseconds: the end of its day in the stream's zone.
    as_of: int = 0
    backfill: bool = False
    arrived_at: int = 0
    #: Minimum and maximum event time; `None` for an increment without rows.
    first_event: int | None = None
    last_event: int | None = None
    counts: RowCounts = RowCounts()
    #: Former source state: file number -> lines read. Today the ledger entry references a source state.
    positions: dict[str, int] = msgspec.field(default_factory=dict)
    #: sha256 over the salted hashes of its rows, in `_row` order.
    commitment: str = ""
    #: The publication and the increment whose rows this increment replaces; `None` if it has its own rows.
    replaces_publication: int | None = None
    replaces_increment: int | None = None
    #: Former name of `replaces_increment`; reading moves the value there, so this is always `None`.
    replaces: int | None = None

    def __post_init__(self) -> None:
        if self.replaces is not None:
            msgspec.structs.force_setattr(self, "replaces_increment", self.replaces)
            msgspec.structs.force_setattr(self, "replaces", None)


class FileEntry(Record, frozen=True):
    """One data file of a table version, as recorded in the manifest."""

    path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    rows: int = 0


class Publication(VersionedRecord, frozen=True):
    """The table versions that one increment produced, published atomically."""

    KIND: ClassVar[str] = "publication"
    REQUIRED: ClassVar[tuple[str, ...]] = ("number", "versions")

    number: int = 0
    as_of: int = 0
    stream: str = ""
    increment: int = 0
    verdict: Verdict = Verdict()
    #: Table -> Delta version after this publication, for every table of the graph.
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    #: Table -> sha256 of the manifest of that version.
    manifests: dict[str, str] = msgspec.field(default_factory=dict)
    #: External table -> the version that every table derived from it was computed from.
    external: dict[str, ExternalPin] = msgspec.field(default_factory=dict)
