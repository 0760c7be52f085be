"""HTTP/1.1 server on one event loop: its connections, their limits together, and the drain around an application."""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from resource import RLIMIT_NOFILE, getrlimit

from tidemill.core.settings import Serve
from tidemill.serving.http.http_connection import LINGER_S, Connection
from tidemill.serving.http.http_messages import Application
from tidemill.serving.http.load_shedding import shed

_log = logging.getLogger(__name__)

#: Bytes of bodies that a worker keeps: so many times the largest one. A body of at most `_SMALL` bytes is always kept.
_HELD_BODIES, _SMALL = 64, 16_384
#: The most connections of a worker, and file descriptors that are left for files.
_CONNECTIONS, _FILES = 10_000, 256
#: Seconds between two checks of the deadlines, and for reading before the next one if the process was held up.
_CHECK_S, _READING_S = 0.5, 0.05
#: Time for running requests to finish after `stop`.
_FINISH_S = 10.0


class HttpServer:
    """Listens on a port and answers with `application`. `draining` closes each connection after its next response, so
    that clients reconnect, possibly to another worker.
    """

    def __init__(self, application: Application, limits: Serve) -> None:
        self.application = application
        self.limits = limits
        #: Complete requests whose response has not been sent.
        self.in_flight = 0
        #: Bytes of the bodies of these requests, and of those that are arriving.
        self.held = 0
        self._held_limit = _HELD_BODIES * limits.max_body_bytes
        self._connection_limit = max(_FILES, min(_CONNECTIONS, getrlimit(RLIMIT_NOFILE)[0] - _FILES))
        self.draining = False
        self.connections: set[Connection] = set()
        #: The time (monotonic) of the last check of the deadlines.
        self.now = time.monotonic()
        #: The `Date` header's value.
        self.date = formatdate(usegmt=True)
        self._dated = 0
        self._listener: asyncio.Server | None = None
        self._checking: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, *, shared: bool = True) -> None:
        """Accept connections; a `shared` port is one that other processes listen on too (`SO_REUSEPORT`)."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self.connection, host, port, backlog=1024, reuse_port=shared)

    def connection(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self)

    async def stop(self) -> None:
        """Refuse new connections, finish running requests, and close."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < _FINISH_S:
            if not self.in_flight and (waited > LINGER_S or not any(one.arriving for one in self.connections)):
                break
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.close()
        if self._checking is not None:
            self._checking.cancel()

    def opened(self, connection: Connection) -> None:
        """A connection was accepted."""
        self.connections.add(connection)
        excess = len(self.connections) - self._connection_limit
        if excess > 0:  # some more, so that not every further connection searches for one
            unfinished = [one for one in self.connections if one.unfinished]
            for given_up in shed(unfinished, lambda one: 1, excess + self._connection_limit // 8):
                given_up.give_up()
        if self._checking is None:
            self._check()

    def has_room(self, size: int) -> bool:
        """Whether a body of `size` bytes, which is counted in `held`, may be kept."""
        return self.held <= self._held_limit or size <= _SMALL

    def make_room(self) -> None:
        """Refuse bodies that are arriving, if too many bytes are held."""
        excess = self.held - self._held_limit
        if excess > 0:
            large = [one for one in self.connections if one.unfinished and one.held > _SMALL]
            for given_up in shed(large, lambda one: one.held, excess + self._held_limit // 8):
                given_up.give_up()

    def _check(self) -> None:
        """Close the connections that are past their deadline; again later, while there are any."""
        before, self.now = self.now, time.monotonic()
        # if this process was held up, what has arrived is read before anybody is given up
        held_up = self.now - before >= 2 * _CHECK_S
        if int(self.now) != self._dated:
            self._dated, self.date = int(self.now), formatdate(usegmt=True)
        for connection in list(self.connections) if not held_up else ():
            connection.check(self.now)
        again = asyncio.get_running_loop().call_later
        self._checking = again(_READING_S if held_up else _CHECK_S, self._check) if self.connections else None
