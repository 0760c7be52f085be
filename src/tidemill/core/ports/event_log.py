"""The port `events`: an append-only log of events, read from positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class LoggedEvent(msgspec.Struct, frozen=True):
    """One event of a log: its payload, identified by its partition and its number in that partition, from 1.

    A partition is a part of the stream that one writer wrote. An event has the same partition and number in every read.
    """

    partition: str
    number: int
    payload: bytes


class DamagedPlace(msgspec.Struct, frozen=True):
    """A place of a log without a complete event; the events behind it are read."""

    partition: str
    #: The number of the first event that was there.
    number: int
    #: Identifies the place in its partition, for example `bytes 120-345`.
    name: str
    #: The bytes that are there.
    content: bytes
    #: An incomplete event at the end: its writer died before it was acknowledged, or it was damaged since.
    torn: bool = False


class EventBatch(msgspec.Struct, frozen=True):
    """Events of one stream, and the positions after them, at which the next read starts."""

    events: tuple[LoggedEvent, ...]
    #: Partition -> opaque position after its last event that was read. The reader stores them; they do not expire.
    positions: Mapping[str, str]
    #: Damage before and between the events. A place may have held several.
    damaged: tuple[DamagedPlace, ...] = ()


class EventWriter(Protocol):
    """Appends to one stream of an event log. It belongs to one process. Payloads have at least one byte."""

    def write(self, *payloads: bytes) -> None:
        """Append the payloads in order, without a flush to disk. They survive a killed process, but not a power cut.

        All or nothing: if it raises `OSError`, or `ValueError` for an empty payload, no payload was appended.
        """
        ...

    async def append(self, *payloads: bytes) -> None:
        """`write`, and durable against a power cut when it returns. Concurrent appends share one flush (group commit).

        Raises `OSError` on failure; then it is unknown whether the payloads were appended.
        """
        ...

    def close(self) -> None:
        """Flush (unless `durable=False`) and close. The next `write` or `append` opens the writer again."""
        ...


class EventLog(Protocol):
    """Append-only event streams for many writing and reading processes. The order of each writer is preserved."""

    def writer(self, stream: str, *, durable: bool = True) -> EventWriter:
        """A writer that appends to a stream. With `durable=False`, only `write` is used and nothing is flushed."""
        ...

    def read(
        self, stream: str, after: Mapping[str, str] = {}, limit: int = 10_000, reached: Mapping[str, str] = {}
    ) -> EventBatch:
        """Up to `limit` events after the positions `after`, of other partitions from the start; none if none are new.

        Reading from positions to positions returns each event exactly once, even with concurrent writers. There is no
        order between partitions. Damage hides no event behind it: see `EventBatch.damaged`. `reached` are the positions
        after an earlier read: with them, events behind new damage have the same numbers as in that read. It is given
        only where a read has found damage.
        """
        ...
