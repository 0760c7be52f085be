"""HTTP/1.1 connection: reads requests, keeps their limits and deadlines, and writes the responses.

The parser is llhttp (through httptools), which Node.js uses; it refuses ambiguous lengths and malformed headers. A
request whose answer needs no waiting is answered in the callback that completes it, without a task. Requests of one
connection are answered in their order. Standard: RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from tidemill.core.errors import BadRequest, TidemillError, TooBusy, TooLarge
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from tidemill.serving.http.http_server import HttpServer

_log = logging.getLogger(__name__)

#: Largest request line and headers together, bytes.
_MAX_HEAD = 32_768
#: A body of up to this many times the limit is read and discarded before it is refused: otherwise a caller that is
#: still sending would get a broken pipe instead of the error.
_DISCARDED = 8
#: Seconds for the headers of a request, for an idle connection, for a caller to read a response, and for it to close
#: a connection that this side has ended.
_HEAD_S, _IDLE_S, _READ_S, LINGER_S = 10.0, 75.0, 60.0, 2.0
#: A body must grow by so many bytes in so many seconds, or end.
_BODY_GROWTH, _GROWTH_S = 2_000, 8.0
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WITHOUT_LENGTH = frozenset({204, 304})
_BUSY = TooBusy("the server is at its limit of concurrent requests", tip="retry in a second")
_HEAD_TOO_LARGE = TooLarge(f"the headers are larger than {_MAX_HEAD:,} bytes")


class Connection(asyncio.Protocol):
    """One connection. Reads are paused while a complete request waits for the answer to an earlier one."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport
        #: The request whose body is arriving, and complete requests without an answer.
        self._request: HttpRequest | None = None
        self._waiting: deque[HttpRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._deadline = math.inf
        #: When the body that is arriving must be complete; its size at `progress`, the time of its last growth.
        self._complete_by, self._grown, self.progress = math.inf, 0, 0.0
        #: The caller's IP address.
        self.address = ""
        self._writable = self._reading = True
        #: Nothing more is read as a request, because the bytes that follow have no known meaning.
        self._unreadable = False
        #: The last response is sent; what still arrives is discarded.
        self._ended = False
        #: The caller has ended its side.
        self._half_closed = False
        self._begin()

    def _begin(self) -> None:
        """Before a request."""
        self._in_head = False
        self._head_size = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""
        self._size = 0

    @property
    def arriving(self) -> bool:
        """Whether the body of a request is arriving."""
        return self._request is not None

    @property
    def held(self) -> int:
        """Bytes of the body that is arriving."""
        return len(self._body) if self._request is not None else 0

    @property
    def unfinished(self) -> bool:
        """Whether no complete request waits for its answer."""
        return self._task is None and not self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""
        self.progress = time.monotonic()
        self._deadline = self._server.now + _IDLE_S
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._forget()

    def eof_received(self) -> bool:
        self._half_closed = True
        return self._task is not None and not self._ended  # keep the connection open for the answers

    def pause_writing(self) -> None:
        self._writable = False
        self._deadline = self._server.now + _READ_S

    def resume_writing(self) -> None:
        self._writable = True
        self._deadline = self._server.now + _IDLE_S
        self._advance()

    def close(self) -> None:
        """Close after what has been written."""
        self._ended = True
        self._transport.close()

    def give_up(self) -> None:
        """Make room for others: refuse the request that is arriving, or close an idle connection."""
        if self._ended or not self._writable:
            self._transport.abort()
        elif self._request is not None or self._in_head:
            self._refuse(_BUSY)
        else:
            self.close()

    def check(self, now: float) -> None:
        """If the deadline has passed, close, or refuse the request that is arriving."""
        if now < self._deadline:
            return
        if self._ended or not self._writable:
            self._transport.abort()
        elif not self.unfinished:
            return
        elif self._request is not None:
            limit = self._server.limits.body_timeout_s
            rate = f"at {_BODY_GROWTH:,} bytes in {_GROWTH_S:g} s, or " if now < self._complete_by else ""
            self._refuse(BadRequest(f"the body did not arrive {rate}within {limit:g} s"))
        elif self._in_head:
            self._refuse(BadRequest(f"the headers did not arrive within {_HEAD_S:g} s"))
        else:
            self.close()

    def data_received(self, data: bytes) -> None:
        if self._ended or self._unreadable:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:  # answered as HTTP/1.1, RFC 9110 7.8
            self._unreadable = True
            if self._waiting:
                self._waiting[-1].keep_alive = False
        except HttpParserError as error:
            if isinstance(error, HttpParserCallbackError):
                _log.error("a request could not be read: %s", type(error.__context__).__name__)
            self._refuse(BadRequest("the request is not valid HTTP/1.1"))
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > _MAX_HEAD:
                self._refuse(_HEAD_TOO_LARGE)
        elif self._request is not None:
            self._body_grew()
        self._advance()

    def _body_grew(self) -> None:
        """After a part of a body, set the time by which more of it must be here."""
        if self._size - self._grown >= _BODY_GROWTH:
            self._grown, self.progress = self._size, time.monotonic()
            self._deadline = min(self._complete_by, self.progress + _GROWTH_S)
        self._server.make_room()

    def on_message_begin(self) -> None:
        self._begin()
        self._in_head = True
        self.progress = self._server.now
        self._deadline = self.progress + _HEAD_S

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are ignored
            key, text, headers = name.decode("latin-1").lower(), value.decode("latin-1"), self._headers
            self._head_size += len(name) + len(value)
            headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        server, headers, self._in_head = self._server, self._headers, False
        self._complete_by = server.now + server.limits.body_timeout_s
        self._grown, self._deadline = 0, min(self._complete_by, server.now + _GROWTH_S)
        path, query = self._target()
        method = self._parser.get_method().decode("latin-1")
        request = self._request = HttpRequest(method, path, query, headers, started_ns=time.perf_counter_ns())
        length = int(headers.get("content-length", "0"))
        if not path or self._parser.get_http_version() not in ("1.1", "1.0"):
            request.fault = BadRequest("the request line is not valid for HTTP/1.1")
        elif self._head_size + len(self._url) > _MAX_HEAD:
            request.fault = _HEAD_TOO_LARGE
        elif length > server.limits.max_body_bytes:
            request.fault = self._too_large()
        elif "expect" in headers and headers["expect"].lower() == "100-continue" and self.unfinished:
            self._transport.write(_CONTINUE)
        if length > _DISCARDED * server.limits.max_body_bytes:
            self._leave_unread(request)

    def on_body(self, chunk: bytes) -> None:
        request, limit = self._request, self._server.limits.max_body_bytes
        if request is None:
            return
        self._size += len(chunk)
        if self._size > limit:
            request.fault = request.fault or self._too_large()
        if request.fault is not None:
            self._drop_body()
        elif self._body:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += chunk  # not a list: callers choose how small the chunks are
            self._server.held += len(chunk)
        else:
            self._body = chunk
            self._server.held += len(chunk)
        if self._size > _DISCARDED * limit:
            self._leave_unread(request)

    def on_message_complete(self) -> None:
        request, self._request, server = self._request, None, self._server
        if request is not None:
            server.in_flight += 1
            if server.in_flight > server.limits.max_in_flight or not server.has_room(self._size):
                request.fault = request.fault or _BUSY
                self._drop_body()
            request.body, self._body = bytes(self._body), b""
            request.keep_alive = self._parser.should_keep_alive()
            self._waiting.append(request)

    def _drop_body(self) -> None:
        self._server.held -= len(self._body)
        self._body = b""

    def _target(self) -> tuple[str, str]:
        """Path and query of the request target; an empty path if it is not valid."""
        url = self._url
        try:
            if not url.startswith(b"/"):  # absolute form: its host and the header must agree, RFC 9112 3.2.2
                parsed = parse_url(url)
                if parsed.schema not in (b"http", b"https") or not parsed.host or parsed.userinfo:
                    return "", ""
                host = parsed.host.decode("ascii") + (f":{parsed.port}" if parsed.port else "")
                header = self._headers.get("host", host)
                self._headers["host"] = host if header == host else f"{host}, {header}"
                url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
            path, _, query = url.decode("ascii").partition("?")
        except (UnicodeDecodeError, HttpParserError):
            return "", ""
        return path, query

    def _too_large(self) -> TooLarge:
        limit = self._server.limits.max_body_bytes
        return TooLarge(f"the body is larger than {limit:,} bytes", tip="send fewer rows at a time")

    def _leave_unread(self, request: HttpRequest) -> None:
        """Answer a request without the rest of its body, and end the connection."""
        self._request, self._unreadable = None, True
        self._drop_body()
        self._server.in_flight += 1
        request.keep_alive = False
        self._waiting.append(request)

    def _refuse(self, fault: TidemillError) -> None:
        """Answer what cannot be read as a request, and end the connection."""
        request = self._request
        if request is None:
            request = HttpRequest("", "", started_ns=time.perf_counter_ns())
        request.fault, self._in_head = fault, False
        self._leave_unread(request)
        self._advance()

    def _advance(self) -> None:
        """Answer the complete requests in their order, as far as that is possible now."""
        waiting = self._waiting
        while waiting and self._task is None and self._writable:
            request = waiting.popleft()
            answer = self._server.application(request)
            if isinstance(answer, HttpResponse):
                self._send(request, answer)
            else:
                self._task = asyncio.get_running_loop().create_task(self._finish(request, answer))
        if bool(waiting) == self._reading and not self._transport.is_closing():
            self._reading = not waiting
            self._deadline = self._server.now + self._server.limits.body_timeout_s
            self._transport.resume_reading() if self._reading else self._transport.pause_reading()

    async def _finish(self, request: HttpRequest, answer: Coroutine[Any, Any, HttpResponse]) -> None:
        try:
            response = await answer
        finally:
            self._task = None
        self._send(request, response)
        self._advance()

    def _send(self, request: HttpRequest, response: HttpResponse) -> None:
        server = self._server
        server.in_flight -= 1
        server.held -= len(request.body)
        if self._transport.is_closing():
            return
        status, body = response.status, response.body
        last = self._half_closed and not self._waiting
        keep_alive = request.keep_alive and not (server.draining or response.close or last)
        lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
        if not keep_alive:
            lines += "connection: close\r\n"
        elif "connection" in request.headers:  # HTTP/1.0 asks for it
            lines += "connection: keep-alive\r\n"
        if body:
            lines += f"content-type: {response.media}\r\ncontent-length: {len(body)}\r\n"
        elif status not in _WITHOUT_LENGTH:
            lines += "content-length: 0\r\n"
        head = f"{_STATUS[status]}date: {server.date}\r\nx-content-type-options: nosniff\r\n{lines}\r\n"
        self._transport.write(head.encode("latin-1") + (b"" if request.method == "HEAD" else body))
        self.progress = server.now
        self._deadline = self.progress + (_IDLE_S if keep_alive else LINGER_S)
        if not keep_alive:
            self._end()

    def _end(self) -> None:
        """End this side; the connection closes when the caller ends its own, or at the deadline.

        Closing at once would let the kernel reset it, and the caller lose the response, while it is still sending
        (RFC 9112 9.6).
        """
        self._ended = True
        self._forget()
        if self._half_closed:
            self._transport.close()
        else:
            self._transport.write_eof()

    def _forget(self) -> None:
        """Drop the requests that get no answer."""
        self._server.in_flight -= len(self._waiting)
        self._server.held -= sum(len(request.body) for request in self._waiting)
        self._drop_body()
        self._waiting.clear()
        self._request = None
