"""HTTP application of one API worker (RSGI): access, limits, route, response; maps every error to status and code."""

from __future__ import annotations

import logging
import time
import traceback

from tidemill.core.errors import OriginRefused, TidemillError, TooBusy, WrongMethod
from tidemill.core.settings import Serve
from tidemill.serving.http.access import Access
from tidemill.serving.http.error_responses import body, body_v2, status, unexpected
from tidemill.serving.http.http_messages import (
    HttpRequest,
    HttpResponse,
    Scope,
    Wire,
    body_of,
    require_json,
    require_tensors,
)
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.routes import Routes

_log = logging.getLogger(__name__)
_CLOSE = ("connection", "close")
#: Browsers must not interpret a response as another media type.
_ALWAYS = (("x-content-type-options", "nosniff"),)


class App:
    """Handles requests. `draining` closes connections, so that clients reconnect, possibly to another worker."""

    def __init__(self, routes: Routes, access: Access, limits: Serve, counters: Counters) -> None:
        self._routes = routes
        self._access = access
        self._limits = limits
        self._counters = counters
        self.in_flight = 0
        self.draining = False

    async def __rsgi__(self, scope: Scope, wire: Wire) -> None:
        if scope.proto != "http":
            return
        started = time.perf_counter_ns()
        self.in_flight += 1
        name = "none"
        try:
            name, response = await self._respond(scope, wire, started)
        finally:
            self.in_flight -= 1
        self._send(wire, response)
        self._counters.request(name, response.status)

    async def _respond(self, scope: Scope, wire: Wire, started: int) -> tuple[str, HttpResponse]:
        name = "none"
        try:
            header = scope.headers.get
            self._access(header("host"), header("origin"), header("sec-fetch-site"))
            route, parts = self._routes.find(scope.method, scope.path)
            name = route.name
            if self.in_flight > self._limits.max_in_flight and route.takes_body:
                raise TooBusy("the server is at its limit of concurrent requests", tip="retry in a second")
            content = b""
            if route.takes_body:
                require_tensors(header) if route.tensors else require_json(header("content-type"))
                content = await body_of(scope, wire, self._limits)
            return name, await route.handler(HttpRequest(parts, scope.query_string, header, content, started))
        except TidemillError as error:
            return name, self._problem(error, scope)
        except Exception as error:
            self._counters.add("failures")
            # The message of another library's exception may quote a value, so only type and traceback are logged.
            frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
            _log.error("%s while handling %s:\n%s", type(error).__name__, name, frames)
            return name, self._problem(unexpected(), scope)

    def _problem(self, error: TidemillError, scope: Scope) -> HttpResponse:
        code = status(error)
        headers: list[tuple[str, str]] = [("cache-control", "no-store")]
        if isinstance(error, WrongMethod):
            headers.append(("allow", self._routes.allowed(scope.path)))
        if code in (429, 503):
            headers.append(("retry-after", "1"))
        if scope.method == "POST" and (code == 413 or isinstance(error, OriginRefused)):
            headers.append(_CLOSE)  # its body was not read
        content = body_v2(error) if scope.path.startswith("/v2/") else body(error)
        return HttpResponse(code, content, tuple(headers))

    def _send(self, wire: Wire, response: HttpResponse) -> None:
        headers = [*_ALWAYS, *response.headers]
        if self.draining:
            headers.append(_CLOSE)
        if response.body:
            headers.append(("content-type", response.media))
            wire.response_bytes(response.status, headers, response.body)
        else:
            wire.response_empty(response.status, headers)
