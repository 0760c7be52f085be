"""`POST /v1/events/{stream}`: validates events, writes them to disk before the response, updates user histories."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tidemill.core.errors import LatestFull
from tidemill.core.identity.surrogates import Vault
from tidemill.core.ports import EventLog, EventWriter, LatestWriter
from tidemill.core.records.posted_event import CheckedEvent, encode_event, sealed_event
from tidemill.core.settings import Serve
from tidemill.serving.events.event_validation import EventValidator
from tidemill.serving.events.person_keys import PersonKeys
from tidemill.serving.events.streams import ServedStream, Streams
from tidemill.serving.http import requests
from tidemill.serving.http.error_responses import not_kept
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import Counters
from tidemill.serving.live.server_clock import ServerClock
from tidemill.serving.recommend.user_history import RecentEvents


class AcceptedEvents(msgspec.Struct, frozen=True):
    """A response: how many events were accepted, and whether they are in the users' histories already."""

    accepted: int
    heeded: bool


class _OpenStream:
    def __init__(
        self, validator: EventValidator, log: EventWriter, recent: RecentEvents, declared: ServedStream
    ) -> None:
        self.validator, self.log, self.recent, self.declared = validator, log, recent, declared


class PostEvents:
    """Accepts events of all streams, and appends them to the stream of the same name in the event log."""

    def __init__(
        self,
        events: EventLog,
        *,
        latest: LatestWriter,
        surrogate: Callable[[str, str], str],
        vault: Vault,
        clock: ServerClock,
        limits: Serve,
        counters: Counters,
    ) -> None:
        self._events = events
        self._latest = latest
        self._surrogate = surrogate
        self._vault = vault
        self._keys = PersonKeys(vault, counters)
        self._clock = clock
        self._limits = limits
        self._counters = counters
        self._streams = Streams(streams={})
        self._open: dict[str, _OpenStream] = {}
        #: One thread updates user histories, because a write waits for the disk.
        self._history_writer = ThreadPoolExecutor(1, "fresh-rows")

    def serve(self, streams: Streams) -> None:
        """Load the project's streams; unchanged ones keep their segments."""
        self._streams = streams
        for name, stream in list(self._open.items()):
            if streams.streams.get(name) != stream.declared:
                self._open.pop(name).log.close()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        name = requests.word(request.parts[0], "stream")
        stream = self._stream(name)
        received = self._clock.micros()
        rows = requests.rows(request.body, self._limits)
        events = stream.validator.validate(rows, received, replaying=self._clock.replaying)
        people = {
            person.surrogate: (column, person.identifier) for event in events for column, person in event.people.items()
        }
        keys, seal_with = await self._keys.keys_for(people), self._vault.seal_with
        sealed = [sealed_event(event, lambda value, named: seal_with(keys, value, named)) for event in events]
        try:
            await stream.log.append(*[encode_event(event) for event in sealed])
        except OSError as error:
            raise not_kept("events", error) from error
        in_histories = await self._add_to_histories(stream, events)
        self._counters.add("events", len(events))
        return HttpResponse(202, msgspec.json.encode(AcceptedEvents(len(events), in_histories)))

    async def _add_to_histories(self, stream: _OpenStream, events: list[CheckedEvent]) -> bool:
        """Add the events to user histories; `False` where the store is full: the next run adds them from the log."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._history_writer, stream.recent.add, events)
        except LatestFull:
            return False
        return True

    def _stream(self, name: str) -> _OpenStream:
        stream = self._open.get(name)
        if stream is None:
            declared = self._streams[name]
            stream = self._open[name] = _OpenStream(
                EventValidator(declared.contract, self._surrogate),
                self._events.writer(name),
                RecentEvents(self._latest, name, declared.contract, declared.feeds),
                declared,
            )
        return stream

    def close(self) -> None:
        """Flush and close the segments."""
        self._history_writer.shutdown()
        self._keys.close()
        for stream in self._open.values():
            stream.log.close()
