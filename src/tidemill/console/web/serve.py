"""Serves the console on a local port with Granian's embedded ASGI server until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.web.console_app import create_app
from tidemill.serving.http.access import refuse_foreign_bind


def show(stores: ConsoleStores, *, host: str, port: int) -> None:
    """Serve the console of `stores` on `host:port` until a signal; `AddressRefused` if others could reach it."""
    refuse_foreign_bind(host)
    asyncio.run(_until_stopped(embedded(stores, host=host, port=port)))


def embedded(stores: ConsoleStores, *, host: str, port: int) -> Server:
    """The server that `show` runs, for a caller with its own event loop: `await server.serve()`, `server.stop()`."""
    return Server(
        create_app(stores, port=port),
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
    )


async def _until_stopped(server: Server) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving, stopped = asyncio.create_task(server.serve()), asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]  # Granian leaves this one untyped
    stopped.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
