"""Publications: the table versions in effect at each time, derived only from the ledger's `publish` entries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from tidemill.core.clock import from_micros, to_micros
from tidemill.core.errors import NotPublished
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.record_format import Record, decode_record
from tidemill.core.records.ingest import Increment, Publication, Verdict

State = Literal["published", "held", "accepted", "replaced"]


class PublishedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One publication as recorded in the ledger."""

    publication: Publication
    #: The data time up to which its tables are complete: the largest as-of so far, because a held day that is accepted
    #: late must not make the tables look older than their other rows.
    as_of: int
    published_at: int
    #: The number of its ledger entry, and its increment; `None` for a rebuild.
    seq: int
    increment: Increment | None


class IncrementState(Record, frozen=True):
    """State of an increment."""

    increment: Increment
    #: `accepted`: it was held, and a person accepted it; `replaced`: other rows replaced it, or will replace it.
    state: State
    verdict: Verdict
    #: The publication that contains it; `None` if there is none.
    publication: int | None


class Publications:
    """The publications of a mill, in order; reads new ledger entries on demand."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: list[PublishedVersion] = []
        self._last: PublishedVersion | None = None

    def all(self) -> list[PublishedVersion]:
        """All publications, oldest first."""
        after = self._known[-1].seq if self._known else 0
        for line in self._ledger.find("publish", after=after):
            self._known.append(self._read(line))
        return self._known

    def last(self) -> PublishedVersion | None:
        """The newest publication; reads only one ledger entry."""
        line = self._ledger.last("publish")
        if line is None or self._last is None or self._last.seq != line.seq:
            self._last = self._newest(line) if line else None
        return self._last

    def has(self, stream: str, number: int) -> bool:
        """Whether an increment is published. Reads back only to the last increment with a smaller number."""
        for line in self._ledger.newest("publish", about=f"stream:{stream}"):
            if "increment" not in line.details:
                continue
            increment = msgspec.json.decode(line.details["increment"], type=Increment)
            if increment.number == number:
                return True
            if increment.replaces_increment is None and increment.number < number:
                return False  # numbers increase, except for increments that resolve an older hold
        return False

    def resolve(
        self, publication: int | None = None, at: datetime | None = None, published_at: datetime | None = None
    ) -> PublishedVersion:
        """The publication with this number, the last one as of a data time or a publication time, or the newest."""
        last = self.last()
        if last is None:
            raise NotPublished("nothing is published yet", tip="`tidemill run` ingests the first increment")
        if publication is None and at is None and published_at is None:
            return last
        known = self.all()
        if publication is not None:
            if not 1 <= publication <= len(known):
                raise NotPublished(f"there is no publication {publication}; the last one is {len(known)}")
            return known[publication - 1]
        found = [
            one
            for one in known
            if (at is None or one.as_of <= to_micros(at))
            and (published_at is None or one.published_at <= to_micros(published_at))
        ]
        if not found:
            raise NotPublished(_nothing_before(known[0], at, published_at))
        return found[-1]

    def _newest(self, line: LedgerEntry) -> PublishedVersion:
        as_of = line.details.get("as_of")
        return self.all()[-1] if as_of is None else _known(line, as_of)

    def _read(self, line: LedgerEntry) -> PublishedVersion:
        return _known(line, self._known[-1].as_of if self._known else None)


def _known(line: LedgerEntry, before: int | None) -> PublishedVersion:
    """The publication of a ledger entry, where earlier publications are complete up to `before`."""
    publication = decode_record(line.details["publication"], Publication)
    brought = line.details.get("increment")
    return PublishedVersion(
        publication=publication,
        as_of=publication.as_of if before is None else max(before, publication.as_of),
        published_at=line.at,
        seq=line.seq,
        increment=decode_record(brought, Increment) if brought else None,
    )


def _nothing_before(first: PublishedVersion, at: datetime | None, published_at: datetime | None) -> str:
    if published_at is not None:
        return f"nothing was published by {published_at}; the first publication is of {from_micros(first.published_at)}"
    return f"nothing was published as of {at}; the first publication is as of {from_micros(first.as_of)}"


class IncrementStates:
    """The increments of a mill's streams and their states; reads new ledger entries on demand."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: Stream -> number of the last ledger entry read, and the states by increment number.
        self._known: dict[str, tuple[int, dict[int, IncrementState]]] = {}

    def all(self, stream: str) -> list[IncrementState]:
        """All increments of a stream with their states, by number."""
        after, found = self._known.get(stream, (0, {}))
        for line in self._ledger.find(about=f"stream:{stream}", after=after):
            after = line.seq
            for state in _states_from(line, found):
                found[state.increment.number] = state
        self._known[stream] = after, found
        return [found[number] for number in sorted(found)]

    def held(self, stream: str) -> list[IncrementState]:
        """The held increments of a stream, which wait for a decision."""
        if self._ledger.last("hold", f"stream:{stream}") is None:
            return []
        return [state for state in self.all(stream) if state.state == "held"]


def _states_from(line: LedgerEntry, found: dict[int, IncrementState]) -> Iterator[IncrementState]:
    if line.act == "hold":
        verdict = decode_record(line.details["verdict"], Verdict)
        increment = decode_record(line.details["increment"], Increment)
        yield IncrementState(increment=increment, state="held", verdict=verdict, publication=None)
    elif line.act == "accept":
        held = found[line.details["number"]]
        yield IncrementState(increment=held.increment, state="accepted", verdict=held.verdict, publication=None)
    elif line.act == "publish":
        yield from _published(line, found)


def _published(line: LedgerEntry, found: dict[int, IncrementState]) -> Iterator[IncrementState]:
    publication = decode_record(line.details["publication"], Publication)
    increment = decode_record(line.details["increment"], Increment)
    before = found.get(increment.number)
    state: State = "published"
    if before is not None:
        state = "accepted" if before.state == "accepted" else "replaced"
    elif increment.replaces_increment is not None and increment.replaces_increment in found:
        other = found[increment.replaces_increment]
        yield IncrementState(
            increment=other.increment, state="replaced", verdict=other.verdict, publication=other.publication
        )
    yield IncrementState(increment=increment, state=state, verdict=publication.verdict, publication=publication.number)
