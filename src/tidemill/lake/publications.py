"""Which versions are true when: told by the ledger's `publish` lines and by nothing else, least of all file times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from tidemill.core.clock import from_micros, micros
from tidemill.core.errors import NotPublished
from tidemill.core.ledger import Ledger, Line
from tidemill.core.records import Increment, Publication, Record, Verdict

State = Literal["published", "held", "accepted", "replaced"]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One publication as the ledger has it."""

    publication: Publication
    #: The data time up to which its tables know everything: the largest as-of so far, because a held day that is
    #: accepted late must not make the tables look older than what else is in them.
    as_of: int
    published_at: int
    #: The number of its ledger line, and the increment it brought; `None` for a rebuild.
    seq: int
    increment: Increment | None


class IncrementState(Record, frozen=True):
    """What became of an increment."""

    increment: Increment
    #: `accepted`: it was held and a person has taken it on; `replaced`: other rows came, or come, in its place.
    state: State
    verdict: Verdict
    #: The publication that brought it, `None` while it is in none.
    publication: int | None


class Publications:
    """The publications of a mill, in order; reads new ledger lines as they are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: list[Known] = []

    def all(self) -> list[Known]:
        """Every publication, oldest first."""
        after = self._known[-1].seq if self._known else 0
        for line in self._ledger.find("publish", after=after):
            self._known.append(self._read(line))
        return self._known

    def last(self) -> Known | None:
        """The newest publication."""
        known = self.all()
        return known[-1] if known else None

    def resolve(
        self, publication: int | None = None, at: datetime | None = None, published_at: datetime | None = None
    ) -> Known:
        """The publication with this number, or the last one as of a data time or by a publication time, or the last."""
        known = self.all()
        if not known:
            raise NotPublished("nothing is published yet", tip="`tidemill run` brings in the first increment")
        if publication is not None:
            if not 1 <= publication <= len(known):
                raise NotPublished(f"there is no publication {publication}; the last one is {len(known)}")
            return known[publication - 1]
        if at is None and published_at is None:
            return known[-1]
        found = [
            one
            for one in known
            if (at is None or one.as_of <= micros(at))
            and (published_at is None or one.published_at <= micros(published_at))
        ]
        if not found:
            raise NotPublished(_nothing_before(known[0], at, published_at))
        return found[-1]

    def _read(self, line: Line) -> Known:
        publication = msgspec.json.decode(line.details["publication"], type=Publication)
        before = self._known[-1].as_of if self._known else publication.as_of
        brought = line.details.get("increment")
        return Known(
            publication=publication,
            as_of=max(before, publication.as_of),
            published_at=line.at,
            seq=line.seq,
            increment=msgspec.json.decode(brought, type=Increment) if brought else None,
        )


def _nothing_before(first: Known, at: datetime | None, published_at: datetime | None) -> str:
    if published_at is not None:
        return f"nothing was published by {published_at}; the first publication came {from_micros(first.published_at)}"
    return f"nothing is known as of {at}; the first publication is as of {from_micros(first.as_of)}"


def increment_states(ledger: Ledger, stream: str) -> list[IncrementState]:
    """Every increment of a stream and what became of it, by number."""
    about = f"stream:{stream}"
    found: dict[int, IncrementState] = {}
    for line in ledger.find(about=about):
        for state in _told_by(line, found):
            found[state.increment.number] = state
    return [found[number] for number in sorted(found)]


def _told_by(line: Line, found: dict[int, IncrementState]) -> Iterator[IncrementState]:
    if line.act == "hold":
        verdict = msgspec.json.decode(line.details["verdict"], type=Verdict)
        increment = msgspec.json.decode(line.details["increment"], type=Increment)
        yield IncrementState(increment=increment, state="held", verdict=verdict, publication=None)
    elif line.act == "accept":
        held = found[line.details["number"]]
        yield IncrementState(increment=held.increment, state="accepted", verdict=held.verdict, publication=None)
    elif line.act == "publish":
        yield from _published(line, found)


def _published(line: Line, found: dict[int, IncrementState]) -> Iterator[IncrementState]:
    publication = msgspec.json.decode(line.details["publication"], type=Publication)
    increment = msgspec.json.decode(line.details["increment"], type=Increment)
    before = found.get(increment.number)
    state: State = "published"
    if before is not None:
        state = "accepted" if before.state == "accepted" else "replaced"
    elif increment.replaces is not None and increment.replaces in found:
        other = found[increment.replaces]
        yield IncrementState(
            increment=other.increment, state="replaced", verdict=other.verdict, publication=other.publication
        )
    yield IncrementState(increment=increment, state=state, verdict=publication.verdict, publication=publication.number)
