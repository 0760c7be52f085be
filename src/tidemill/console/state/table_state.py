"""State of a table: its size, arrivals and profile; a profile reads data, so it is cached until the table changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.time_bins import bin_length, bin_start, bin_starts
from tidemill.core.clock import to_micros
from tidemill.core.errors import LakeError, LedgerError
from tidemill.core.record_format import Record
from tidemill.features.table_profile import TableProfile, table_profile
from tidemill.lake import LakeSnapshot
from tidemill.loop.online.feature_metadata_files import DeclaredTable
from tidemill.loop.state.ledger_projection import StreamProjection, TableVersion

#: Columns of a page, number of cached profiles, and number of versions whose rows are shown.
COLUMNS, _CACHED, VERSIONS = 40, 32, 40
_DAY_US = 86_400_000_000


class ArrivalBin(Record, frozen=True):
    """The increments of a stream in an interval of days: their rows by what became of them."""

    start: int
    end: int
    increments: int
    #: Rows of the table, duplicates, rows that were refused, and rows of held increments.
    added: int
    repeated: int
    refused: int
    held: int


class Arrivals(Record, frozen=True):
    """The increments of a stream over time, backfills apart."""

    #: Length of a bin, microseconds; number of increments, and the rows that backfills added.
    length: int
    increments: int
    backfilled: int
    bins: tuple[ArrivalBin, ...]


class VersionRows(Record, frozen=True):
    """A version of a table with its number of rows; `None` if its manifest cannot be read."""

    version: int
    publication: int
    as_of: int
    at: int
    rows: int | None


def arrivals(stream: StreamProjection) -> Arrivals:
    """The rows of each day, or of longer intervals if there are many days; a settled increment counts once."""
    replaced = {
        one.increment.replaces_increment for one in stream.increments.values() if one.increment.replaces_increment
    }
    shown = [one for number, one in stream.increments.items() if number not in replaced]
    daily = [one for one in shown if not one.increment.backfill]
    backfilled = sum(one.increment.counts.merged for one in shown if one.increment.backfill and not one.held)
    if not daily:
        return Arrivals(length=_DAY_US, increments=0, backfilled=backfilled, bins=())
    days = [to_micros(datetime.combine(one.increment.day, datetime.min.time(), UTC)) for one in daily]
    length = bin_length(min(days), max(days), _DAY_US)
    found = {start: [0, 0, 0, 0, 0] for start in bin_starts(min(days), max(days), length)}
    for at, one in zip(days, daily, strict=True):
        counts = one.increment.counts
        bin_of = found.get(bin_start(at, length))
        if bin_of is None:
            continue
        rows = (0, 0, 0, counts.arrived) if one.held else (counts.merged, counts.repeated, counts.refused, 0)
        for place, n in enumerate((1, *rows)):
            bin_of[place] += n
    return Arrivals(
        length=length,
        increments=len(daily),
        backfilled=backfilled,
        bins=tuple(
            ArrivalBin(
                start=start,
                end=start + length,
                increments=n,
                added=added,
                repeated=repeated,
                refused=refused,
                held=held,
            )
            for start, (n, added, repeated, refused, held) in found.items()
        ),
    )


class TableProfiles:
    """The cached profiles and numbers of rows of one console."""

    def __init__(self) -> None:
        self._profiles: dict[tuple[object, ...], TableProfile] = {}
        self._rows: dict[tuple[str, int], int | None] = {}
        self._lock = threading.Lock()

    def profile(
        self, view: LakeSnapshot, table: str, about: DeclaredTable | None, columns: Sequence[str]
    ) -> TableProfile:
        """The profile of some columns of a table's version."""
        personal = about.personal if about else None
        key = (table, view.versions[table], personal, *columns)
        with self._lock:
            found = self._profiles.pop(key, None) or table_profile(view, table, personal=personal, columns=columns)
            self._profiles[key] = found
            while len(self._profiles) > _CACHED:
                del self._profiles[next(iter(self._profiles))]
            return found

    def versions(self, stores: ConsoleStores, table: str, known: Sequence[TableVersion]) -> tuple[VersionRows, ...]:
        """The number of rows of versions at equal distances, the newest among them, oldest first."""
        step = max(1, -(-len(known) // VERSIONS))
        shown = list(reversed(known[::-1][::step]))
        return tuple(
            VersionRows(
                version=one.version,
                publication=one.publication,
                as_of=one.as_of,
                at=one.at,
                rows=self._rows_of(stores, table, one),
            )
            for one in shown
        )

    def _rows_of(self, stores: ConsoleStores, table: str, one: TableVersion) -> int | None:
        if (table, one.version) not in self._rows:
            try:
                self._rows[table, one.version] = stores.snapshot(one.publication).rows(table)
            except (LedgerError, LakeError, OSError):
                self._rows[table, one.version] = None
        return self._rows[table, one.version]
