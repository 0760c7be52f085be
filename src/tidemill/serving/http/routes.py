"""Routes of the server: method, path and handler. Access decides for a route before its handler is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import NotServed, WrongMethod, nearest
from tidemill.serving.http import requests
from tidemill.serving.http.http_messages import JSON, Answer, HttpRequest

Handler = Callable[[HttpRequest], Answer]
#: Paths of POST requests whose route is kept, and their length; callers choose the paths, so both are bounded.
_KEPT, _SHORT = 1_024, 256


class Operation(msgspec.Struct, frozen=True):
    """What the OpenAPI document says about a route; bodies are given as the types that read and write them."""

    summary: str
    #: The JSON body of a request, and of a response with `status`.
    body: Any = None
    answer: Any = None
    status: int = 200
    media: str = JSON
    #: Further statuses that are no error, and the type of their bodies.
    others: Mapping[int, Any] = {}
    #: JSON schema of each query parameter.
    query: Mapping[str, Mapping[str, Any]] = {}
    #: Whether a request needs its body.
    required: bool = True


class Route(msgspec.Struct, frozen=True):
    """One path, which may have placeholders like `{model}`."""

    name: str
    method: str
    path: str
    handler: Handler
    operation: Operation
    #: The media types of a body, the usual one first, and whether a program need not declare it.
    accepts: tuple[str, ...] = (JSON,)
    undeclared: bool = False

    @property
    def takes_body(self) -> bool:
        """Whether a body is read; it must be of a type that the route accepts."""
        return self.method == "POST"


class Routes:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._by_length: dict[int, list[tuple[list[str | None], Route]]] = {}
        self._known: dict[tuple[str, str], tuple[Route, tuple[str, ...]]] = {}
        for route in routes:
            pattern = [None if part.startswith("{") else part for part in route.path.split("/")]
            self._by_length.setdefault(len(pattern), []).append((pattern, route))

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route and the values of its placeholders; `NotServed` for an unknown path, else `WrongMethod`."""
        known = self._known.get((method, path))
        if known is None:
            known = self._find(method, path)
            if known[0].takes_body and len(self._known) < _KEPT and len(path) <= _SHORT:
                self._known[method, path] = known
        return known

    def _find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        parts = path.split("/")
        matching = self._matching(parts)
        for pattern, route in matching:
            if route.method == method:
                found = [part for wanted, part in zip(pattern, parts, strict=True) if wanted is None]
                return route, tuple(requests.unescaped(part, "path") for part in found)
        if matching:
            raise WrongMethod(f"this path accepts {self.allowed(path)} only")
        raise NotServed(
            "there is no such path", tip=nearest("/".join(parts[:3]), {route.path for route in self.routes})
        )

    def allowed(self, path: str) -> str:
        """The methods that a path accepts, for `Allow`."""
        return ", ".join(sorted(route.method for _, route in self._matching(path.split("/"))))

    def _matching(self, parts: list[str]) -> list[tuple[list[str | None], Route]]:
        return [
            (pattern, route)
            for pattern, route in self._by_length.get(len(parts), ())
            if all(wanted is None or wanted == part for wanted, part in zip(pattern, parts, strict=True))
        ]
