"""Guard in front of every page: access by route, by default from this machine only, and security headers.

The policy allows scripts, styles and images of the own origin only: no inline code, no frames, no forms, no other
site. Every response has it, including errors.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.core.errors import AccessError
from tidemill.core.library_errors import require_error
from tidemill.serving.http.access import Access
from tidemill.serving.http.error_responses import status

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), usb=()",
}


class Guard:
    """Wraps an application; `access` is called with the name of the route and the headers, and raises to refuse."""

    def __init__(self, app: Starlette, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        answered = False

        async def guarded(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            elif scope["method"] == "HEAD":
                message["body"] = b""
            await send(message)

        refusal = self._refusal(self._route(scope), _joined(scope))
        try:
            await (refusal or self._app)(scope, receive, guarded)
        except BaseException as error:
            require_error(error)
            # Starlette re-raises after sending a 500, which is logged; an error without a response propagates.
            if not answered:
                raise

    def _route(self, scope: Scope) -> str:
        """The name of the route, also for a method that it does not have; `none` if there is none."""
        routes = (route for route in self._app.routes if isinstance(route, Route))
        return next((route.name for route in routes if route.matches(scope)[0] is not Match.NONE), "none")

    def _refusal(self, route: str, headers: dict[str, str]) -> ASGIApp | None:
        try:
            self._access(route, headers)
        except AccessError as error:
            return PlainTextResponse(f"{error}\n", status(error))
        return None


def _joined(scope: Scope) -> dict[str, str]:
    """The headers by name; values of repeated ones are joined with commas (RFC 9110 5.3)."""
    joined: dict[str, str] = {}
    for name, value in Headers(scope=scope).items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
