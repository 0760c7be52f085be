"""HTTP messages: RSGI (Granian's interface) on one side, plain records of requests and responses on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec

from tidemill.core.errors import BadRequest, TooLarge, WrongMedia
from tidemill.core.settings import Serve


class Headers(Protocol):
    """The headers of a request; names in lower case."""

    def get(self, key: str, default: str | None = None) -> str | None:
        """One header's value."""
        ...


class Scope(Protocol):
    """A request's metadata in RSGI."""

    proto: str
    method: str
    path: str
    query_string: str
    headers: Headers


class Wire(Protocol):
    """RSGI's side of one exchange: the request body in, the response out."""

    def __call__(self) -> Awaitable[bytes]: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Respond with a body."""
        ...

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Respond without a body."""
        ...


class HttpRequest(msgspec.Struct, frozen=True):
    """A request that has passed the access check."""

    #: Values of the placeholders in the route's path.
    parts: tuple[str, ...]
    query: str
    header: Callable[[str], str | None]
    body: bytes
    #: `time.perf_counter_ns` when the application received the request.
    started_ns: int


class HttpResponse(msgspec.Struct, frozen=True):
    """A response; `body` has the media type `media`."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media: str = "application/json"


def require_json(content_type: str | None) -> None:
    """Raises `WrongMedia` unless the body is declared as JSON, which a form on another site's page cannot do."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise WrongMedia("the body is not declared as JSON", tip="send Content-Type: application/json")


def require_tensors(header: Callable[[str], str | None]) -> None:
    """Raises `WrongMedia` unless the body is declared as JSON or octets, or not declared and not sent by a browser.

    Some clients of the Open Inference Protocol (for example NVIDIA's) declare no media type. A page of another site
    could also send such a body, without a preflight: a `fetch` of bytes has no media type. But a browser sends its
    origin with every POST (`Origin`, Fetch Standard 3.2, and `Sec-Fetch-Site`), so the access check refuses pages of
    other sites. So a body without a media type is accepted only without these headers, that is, from programs.
    """
    if header("content-encoding") not in (None, "identity"):
        raise WrongMedia("the body is compressed", tip="send it uncompressed")
    declared = header("content-type")
    if declared is None and header("origin") is None and header("sec-fetch-site") is None:
        return
    if (declared or "").partition(";")[0].strip().lower() != "application/octet-stream":
        require_json(declared)


#: A body of up to this many times the limit is read and discarded before it is refused: otherwise a caller that is
#: still sending would get a broken pipe instead of the error.
_DISCARDED = 8


async def body_of(scope: Scope, wire: Wire, limits: Serve) -> bytes:
    """The complete body: at most `max_body_bytes`, received within `body_timeout_s`."""
    length = scope.headers.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit()):
        raise BadRequest("Content-Length is not a number")
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            if length is not None and int(length) <= limits.max_body_bytes:
                return await wire()
            if length is not None and int(length) > _DISCARDED * limits.max_body_bytes:
                raise _too_large(limits)
            return await _bounded(wire, limits)
    except TimeoutError:
        raise BadRequest(f"the body did not arrive within {limits.body_timeout_s:g} s") from None


async def _bounded(wire: Wire, limits: Serve) -> bytes:
    chunks, size = [], 0
    async for chunk in wire:
        size += len(chunk)
        if size > _DISCARDED * limits.max_body_bytes:
            break
        if size <= limits.max_body_bytes:
            chunks.append(chunk)
    if size > limits.max_body_bytes:
        raise _too_large(limits)
    return b"".join(chunks)


def _too_large(limits: Serve) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.max_body_bytes:,} bytes", tip="send fewer rows at a time")
