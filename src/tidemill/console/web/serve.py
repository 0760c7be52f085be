"""Serves the console on a local port until SIGTERM or Ctrl-C, with the API's HTTP server and an adapter to ASGI."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any
from urllib.parse import unquote

import uvloop
from starlette.types import ASGIApp, Message

from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.web.console_app import create_app
from tidemill.core.library_errors import require_error
from tidemill.core.settings import Serve
from tidemill.serving.http.access import refuse_foreign_bind
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.http_server import HttpServer

_log = logging.getLogger(__name__)


def show(stores: ConsoleStores, *, host: str, port: int) -> None:
    """Serve the console of `stores` on `host:port` until a signal; `AddressRefused` if others could reach it."""
    refuse_foreign_bind(host)
    uvloop.run(_until_stopped(embedded(stores, port=port), host, port))


def embedded(stores: ConsoleStores, *, port: int) -> HttpServer:
    """The server that `show` runs, for a caller with its own event loop (`listen`, `stop`)."""
    return HttpServer(AsgiAdapter(create_app(stores, port=port)), Serve())


async def _until_stopped(server: HttpServer, host: str, port: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.listen(host, port, shared=False)
    await stop.wait()
    await server.stop()


class AsgiAdapter:
    """An ASGI application as an application of `HttpServer`; its responses are sent whole. Standard: ASGI 3, HTTP."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.fault is not None:
            return HttpResponse(400, f"{request.fault.message}\n".encode(), media="text/plain; charset=utf-8")
        path = request.path.encode()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": request.method, "path": unquote(request.path), "raw_path": path,
            "query_string": request.query.encode(),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()],
            "client": None, "server": None,
        }  # fmt: skip
        sent: list[Message] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            require_error(error)
            _log.error("%s while showing a page, without a response", type(error).__name__)
            return HttpResponse(500)
        start = sent[0]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
        headers.pop("content-length", None)
        media = headers.pop("content-type", "")
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return HttpResponse(start["status"], body, tuple(headers.items()), media)
