"""Mending of the online store: its content is derived, so what is damaged is made again.

Snapshots are written again from the published tables. The events that the server accepted since the last publication
are added again from the event log.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tidemill.core.errors import CorruptFile, NoSuchSubject, SealBroken
from tidemill.core.ports import Latest, MendableLatest
from tidemill.core.records.posted_event import CheckedEvent, NamedPerson, decode_event, opened_event
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.stores import Stores
from tidemill.serving import RecentEvents

#: Events that are read from the log at once.
_BATCH = 10_000


def online_damage(latest: Latest, at_most: int | None = None) -> dict[str, str]:
    """View -> why its snapshot cannot be used; with the key "", why no row can be. Empty if the store is intact, or if
    its back-end cannot verify itself. Of the rows put after the snapshots, all are read, or `at_most`.
    """
    return latest.damage(at_most) if isinstance(latest, MendableLatest) else {}


def begin_anew(latest: Latest, why: str) -> None:
    """Replace a store in which no row can be used by an empty one. Raises `CorruptFile` if its back-end cannot."""
    if not isinstance(latest, MendableLatest):
        raise CorruptFile(why)
    latest.renew()


def restore_recent(stores: Stores, graph: ProjectGraph) -> None:
    """Add all posted events again that are not in the published histories."""
    events = PortOpener(stores.settings).events()
    for stream in graph.mill.streams.values():
        recent = RecentEvents(stores.latest, stream.name, stream.contract, graph.fed_models(stream.name))
        positions: Mapping[str, str] = {}
        while (batch := events.read(stream.name, positions, _BATCH)).events:
            recent.add([event for one in batch.events if (event := _opened(stores, one.payload))])
            positions = batch.positions


def _opened(stores: Stores, payload: bytes) -> CheckedEvent | None:
    """An event with its row; `None` if it cannot be read, for example because the key of its person was destroyed."""
    try:
        event = decode_event(payload)
        row, people = opened_event(event, stores.vault.unseal)
    except (NoSuchSubject, SealBroken, msgspec.DecodeError):
        return None
    named = {column: NamedPerson(event.people[column].surrogate, people[column]) for column in people}
    return CheckedEvent(received_at=event.received_at, row=row, people=named)
