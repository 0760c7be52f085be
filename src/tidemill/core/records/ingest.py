"""Records of ingestion: verdicts, increments, publications and data files."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal

import msgspec

from tidemill.core.record_format import Record as Record
from tidemill.core.record_format import VersionedRecord

CheckOutcome = Literal["pass", "warn", "hold"]


class Failure(Record, frozen=True):
    """One expectation that was not met."""

    #: The table or stream, and the expectation in words, for example `between(rating, 1, 5, share=0.95)`.
    table: str = ""
    check: str = ""
    column: str | None = None
    #: How many rows were looked at.
    n: int = 0
    observed: float = 0.0
    #: The expected range of `observed`, both ends included; `None` is open.
    low: float | None = None
    high: float | None = None
    #: Learned false alarms per day; `None` where nothing was learned.
    false_alarms: float | None = None
    severity: Literal["warn", "hold"] = "warn"
    #: One sentence for people.
    says: str = ""


class Verdict(VersionedRecord, frozen=True):
    """What the checks think of one increment: every failure, not the first."""

    KIND: ClassVar[str] = "verdict"
    REQUIRED: ClassVar[tuple[str, ...]] = ("outcome",)

    outcome: CheckOutcome = "pass"
    failures: tuple[Failure, ...] = ()
    #: How many expectations were evaluated.
    checked: int = 0
    #: What is worth saying though nothing failed, such as a learned check that is still warming up.
    notes: tuple[str, ...] = ()
    #: What learned expectations observed of this increment, for the history of the ones to come.
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class RowCounts(Record, frozen=True):
    """Rows of one increment, from arrival to table."""

    #: Lines or messages that arrived, good and refused.
    arrived: int = 0
    #: Refused by the parser or the contract; they lie in quarantine.
    refused: int = 0
    #: Rows whose key occurred before, in this increment or in the table, with the same values.
    repeated: int = 0
    #: Rows whose key occurred before with other values; the largest `_row` wins.
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
    #: Smallest and largest event time, `None` for an increment without rows.
    first_event: int | None = None
    last_event: int | None = None
    counts: RowCounts = RowCounts()
    #: Earlier form of what its sources had read: file number -> lines. Today the ledger line names a source state.
    positions: dict[str, int] = msgspec.field(default_factory=dict)
    #: sha256 over the salted hashes of its rows, in `_row` order.
    commitment: str = ""
    #: The publication whose rows this one stands for, and the increment whose rows; `None`: it brings rows of its own.
    replaces_publication: int | None = None
    replaces_increment: int | None = None
    #: Earlier form of `replaces_increment`, which it is read into; always `None`.
    replaces: int | None = None

    def __post_init__(self) -> None:
        if self.replaces is not None:
            msgspec.structs.force_setattr(self, "replaces_increment", self.replaces)
            msgspec.structs.force_setattr(self, "replaces", None)


class FileEntry(Record, frozen=True):
    """One data file of a table version, as the manifest keeps it."""

    path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    rows: int = 0


class Publication(VersionedRecord, frozen=True):
    """One increment in all tables at once."""

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
