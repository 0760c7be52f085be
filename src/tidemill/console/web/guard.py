"""Guard in front of every page: access by route, by default from this machine only, and security headers.

The policy allows scripts, styles and images of the own origin only: no inline code, no frames, no forms, no other
site. Every response has it, including errors.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.core.errors import AccessError
from tidemill.serving.http.access import Access

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

        refusal = self._refusal(self._route(scope), Headers(scope=scope))
        try:
            await (refusal or self._app)(scope, receive, guarded)
        except Exception:
            # Starlette re-raises after sending a 500, which is logged; an error without a response propagates.
            if not answered:
                raise

    def _route(self, scope: Scope) -> str:
        """The name of the route, also for a method that it does not have; `none` if there is none."""
        routes = (route for route in self._app.routes if isinstance(route, Route))
        return next((route.name for route in routes if route.matches(scope)[0] is not Match.NONE), "none")

    def _refusal(self, route: str, headers: Headers) -> ASGIApp | None:
        hosts = [*headers.getlist("host"), *headers.getlist("x-forwarded-host")]
        if len(headers.getlist("host")) != 1 or not self._pass(route, ((host, None, None) for host in hosts)):
            return PlainTextResponse("The console accepts requests for the names of this machine only. [TM902]\n", 400)
        origins: list[str | None] = [*headers.getlist("origin")] or [None]
        site = headers.get("sec-fetch-site")
        if not self._pass(route, ((hosts[0], origin, site) for origin in origins)):
            return PlainTextResponse("Cross-site requests are refused. [TM902]\n", 403)
        return None

    def _pass(self, route: str, asked: Iterable[tuple[str | None, str | None, str | None]]) -> bool:
        try:
            for host, origin, site in asked:
                self._access(route, host, origin, site)
        except AccessError:
            return False
        return True
