"""HTTP application of one API worker: route, access, response; maps every error to status and code."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Coroutine
from typing import Any

from tidemill.core.errors import OriginRefused, TidemillError, TooBusy, WrongMethod
from tidemill.core.library_errors import require_error
from tidemill.serving.http.access import Access
from tidemill.serving.http.error_responses import body, body_v2, status, unexpected
from tidemill.serving.http.http_messages import Answer, HttpRequest, HttpResponse, require_media
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.routes import Routes

_log = logging.getLogger(__name__)
#: The name of the route in counters where there is none.
_NONE = "none"


class App:
    """Answers requests: at once where the route's handler does, else by a coroutine."""

    def __init__(self, routes: Routes, access: Access, counters: Counters) -> None:
        self._routes = routes
        self._access = access
        self._counters = counters

    def __call__(self, request: HttpRequest) -> Answer:
        name = _NONE
        try:
            if not request.method:
                assert request.fault is not None
                raise request.fault
            try:
                route, request.parts = self._routes.find(request.method, request.path)
                name = route.name
            finally:  # without a route too: another site does not learn which paths there are
                self._access(name, request.headers)
            if request.fault is not None and (route.takes_body or not isinstance(request.fault, TooBusy)):
                raise request.fault
            if route.takes_body:
                require_media(request.headers, route.accepts, undeclared=route.undeclared)
            answer = route.handler(request)
            if not isinstance(answer, HttpResponse):
                return self._awaited(name, request, answer)
        except BaseException as error:
            require_error(error)
            answer = self._problem(error, name, request)
        self._counters.request(name, answer.status)
        return answer

    async def _awaited(
        self, name: str, request: HttpRequest, answer: Coroutine[Any, Any, HttpResponse]
    ) -> HttpResponse:
        try:
            response = await answer
        except BaseException as error:
            require_error(error)
            response = self._problem(error, name, request)
        self._counters.request(name, response.status)
        return response

    def _problem(self, error: BaseException, name: str, request: HttpRequest) -> HttpResponse:
        if not isinstance(error, TidemillError):
            self._counters.add("failures")
            # The message of another library's exception may quote a value, so only type and traceback are logged.
            frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
            _log.error("%s while handling %s:\n%s", type(error).__name__, name, frames)
            error = unexpected()
        code = status(error)
        headers: list[tuple[str, str]] = [("cache-control", "no-store")]
        if isinstance(error, WrongMethod):
            headers.append(("allow", self._routes.allowed(request.path)))
        if code in (429, 503):
            headers.append(("retry-after", "1"))
        content = body_v2(error) if request.path.startswith("/v2/") else body(error)
        return HttpResponse(code, content, tuple(headers), close=isinstance(error, OriginRefused))
