"""User history: the events that the last run published, and the events posted after it.

Posted events are in a separate view, one row per user, so they can never hide a newer published history. Reading merges
both without duplicates. The next posted event removes published events from the user's row of posted ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.contract.contract import Contract
from tidemill.core.ports import Latest, LatestWriter
from tidemill.core.records.posted_event import CheckedEvent, PostedEvent

#: The maximum number of posted events per user between runs; older ones are dropped.
KEPT = 2_000


class UserHistory(msgspec.Struct, frozen=True):
    """Item ids, oldest first, and their times (microseconds); ties in published order, then by arrival."""

    items: Sequence[str]
    times: Sequence[int]


NOBODY = UserHistory((), ())


def recent_view(stream: str) -> str:
    """The view of the events that were posted to a stream."""
    return f"{stream}.recent"


class UserHistories:
    """Reads the histories of users for one model; `feeding` returns the streams that currently feed it."""

    def __init__(self, latest: Latest, model: str, feeding: Callable[[], Sequence[str]]) -> None:
        self._latest = latest
        self._published = f"{model}.history"
        self._feeding = feeding

    def history_of(self, surrogate: str) -> UserHistory:
        """All events of a user; empty for an unknown one."""
        views = [self._published, *map(recent_view, self._feeding())]
        published, *posted = self._latest.get_many([(view, surrogate) for view in views])
        history = _history(published)
        for row in map(_history, posted):
            if row.items:
                history = merge_histories(history, row)
        return history


def merge_histories(published: UserHistory, posted: UserHistory) -> UserHistory:
    """Both histories merged by time; an event in both is included once.

    >>> merge_histories(UserHistory(["a"], [1]), UserHistory(["a", "b"], [1, 2]))
    UserHistory(items=['a', 'b'], times=[1, 2])
    """
    known = set(zip(published.items, published.times, strict=True))
    new = [event for event in zip(posted.items, posted.times, strict=True) if event not in known]
    if not new:
        return published
    both = sorted([*zip(published.items, published.times, strict=True), *new], key=lambda event: event[1])
    return UserHistory([item for item, _ in both], [time for _, time in both])


class RecentEvents:
    """Adds the events posted to one stream to the online store, where every worker sees them immediately."""

    def __init__(self, latest: LatestWriter, stream: str, contract: Contract, feeds: Sequence[str]) -> None:
        self._latest = latest
        self._view = recent_view(stream)
        self._feeds = feeds
        self._subject = (contract.role("subject") or [""])[0]
        self._item = (contract.role("item") or [""])[0]
        self._time = contract.event_time

    def add(self, events: Sequence[PostedEvent] | Sequence[CheckedEvent]) -> None:
        """Add events to the rows of their users; duplicate events are ignored."""
        if not self._feeds or not self._subject or not self._item:
            return
        people: dict[str, list[tuple[str, int, int]]] = {}
        for event in events:
            item, time = event.row.get(self._item), event.row.get(self._time)
            if isinstance(item, str) and isinstance(time, int):
                surrogate = event.people[self._subject].surrogate
                people.setdefault(surrogate, []).append((item, time, event.received_at))
        if people:
            latest = max(at for new in people.values() for _, _, at in new)
            published = self._published(list(people))
            changes = {surrogate: _adding(published[surrogate], new) for surrogate, new in people.items()}
            self._latest.change(self._view, changes, latest)

    def _published(self, surrogates: Sequence[str]) -> dict[str, set[tuple[str, int]]]:
        """For each user, the events that are in the published histories of all models that the stream feeds."""
        pairs = [(f"{model}.history", surrogate) for surrogate in surrogates for model in self._feeds]
        rows = iter(self._latest.get_many(pairs))
        return {
            surrogate: set.intersection(*(_events(_history(next(rows))) for _ in self._feeds))
            for surrogate in surrogates
        }


def _adding(
    known: set[tuple[str, int]], new: list[tuple[str, int, int]]
) -> Callable[[dict[str, Any] | None], Mapping[str, Any]]:
    """A function that adds the events `new` to a user's row and removes the `known` (published) events."""

    def change(row: dict[str, Any] | None) -> Mapping[str, Any]:
        old = _history(row)
        kept = [event for event in zip(old.items, old.times, strict=True) if event not in known]
        seen = set(kept)
        for item, time, _ in new:
            if (item, time) not in seen:
                seen.add((item, time))
                kept.append((item, time))
        kept = kept[-KEPT:]
        return {"items": [item for item, _ in kept], "times": [time for _, time in kept]}

    return change


def _events(history: UserHistory) -> set[tuple[str, int]]:
    return set(zip(history.items, history.times, strict=True))


def _history(row: Mapping[str, Any] | None) -> UserHistory:
    return UserHistory(row["items"], row["times"]) if row else NOBODY
