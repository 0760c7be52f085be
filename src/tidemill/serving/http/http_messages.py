"""HTTP messages: plain records of requests and responses, and the media types of a body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import TidemillError, WrongMedia


class HttpRequest(msgspec.Struct):
    """A complete request, or the part of one that cannot be answered, with the reason in `fault`."""

    method: str
    #: The path as sent, percent-encoded.
    path: str
    query: str = ""
    #: Values by name in lower case; those of repeated headers are joined with commas.
    headers: dict[str, str] = {}
    body: bytes = b""
    #: `time.perf_counter_ns` when its headers were complete.
    started_ns: int = 0
    keep_alive: bool = False
    #: Why its body is not here: too large, too slow, too many requests; with an empty `method`, not HTTP at all.
    fault: TidemillError | None = None
    #: Values of the placeholders in the route's path, once the route is known.
    parts: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """One header's value; `name` in lower case."""
        return self.headers.get(name)


class HttpResponse(msgspec.Struct, frozen=True):
    """A response; `body` has the media type `media`."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media: str = "application/json"
    #: Whether the connection is closed after it.
    close: bool = False


#: A response, or a coroutine that returns it where something has to be waited for.
Answer = HttpResponse | Coroutine[Any, Any, HttpResponse]
#: Answers every request, and raises nothing.
Application = Callable[[HttpRequest], Answer]


JSON, OCTETS, CSV = "application/json", "application/octet-stream", "text/csv"
_NAMES = {JSON: "JSON", OCTETS: "octets", CSV: "CSV"}


def media_of(headers: dict[str, str]) -> str:
    """The media type of a body without its parameters; empty if it is not declared."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media(headers: dict[str, str], accepted: Sequence[str], *, undeclared: bool) -> None:
    """Raises `WrongMedia` unless the body is declared as one of `accepted`, which a form of another site cannot do.

    Some clients of the Open Inference Protocol (for example NVIDIA's) declare no media type. A page of another site
    could also send such a body, without a preflight: a `fetch` of bytes has no media type. But a browser sends its
    origin with every POST (`Origin`, Fetch Standard 3.2, and `Sec-Fetch-Site`), so the access check refuses pages of
    other sites. So with `undeclared` a body without a media type is accepted only without these headers, that is, from
    programs.
    """
    if headers.get("content-encoding") not in (None, "identity"):
        raise WrongMedia("the body is compressed", tip="send it uncompressed")
    declared = headers.get("content-type")
    if declared in accepted or media_of(headers) in accepted:
        return
    if undeclared and declared is None and "origin" not in headers and "sec-fetch-site" not in headers:
        return
    names = " or ".join(_NAMES[one] for one in accepted)
    raise WrongMedia(f"the body is not declared as {names}", tip=f"send Content-Type: {accepted[0]}")
