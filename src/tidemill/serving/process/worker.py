"""Worker process of the API: Granian's embedded RSGI server with a site, and the loop that keeps it up to date."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from tidemill.serving.live.folder_watch import FolderWatch
from tidemill.serving.process.worker_site import WorkerSite

_log = logging.getLogger(__name__)

#: Time for running requests to finish after the stop signal.
_FINISH_S = 10.0


def run_worker(make: Callable[[], WorkerSite], *, host: str, port: int, max_in_flight: int) -> None:
    """Serve until SIGTERM; SIGUSR1 starts the drain (unready, connections closed after each response)."""
    sys.setswitchinterval(0.0005)  # a swap or reload in a thread delays a response by at most 0.5 ms
    site = make()
    site.start()
    gc.collect()
    gc.freeze()
    try:
        asyncio.run(_serve(site, host, port, max_in_flight))
    finally:
        site.close()


async def _serve(site: WorkerSite, host: str, port: int, max_in_flight: int) -> None:
    server = Server(
        site.app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=1024,
        backpressure=2 * max_in_flight,  # above the app's own limit, so that its 429 comes first
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
    )
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _drain, site)
    polling = asyncio.create_task(_poll(site))
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopped, polling}, return_when=asyncio.FIRST_COMPLETED)
    _drain(site)
    if not serving.done():
        await _finish(site)
        server.stop()  # type: ignore[no-untyped-call]  # untyped in Granian
    polling.cancel()
    for task in (serving, polling):
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _drain(site: WorkerSite) -> None:
    site.app.draining = True


async def _finish(site: WorkerSite) -> None:
    """Wait until the requests in progress are finished."""
    for _ in range(int(_FINISH_S / 0.01)):
        if not site.app.in_flight:
            return
        await asyncio.sleep(0.01)


async def _poll(site: WorkerSite) -> None:
    """Load what has changed, when a state file changes and, for the store, after a timeout."""
    watch, changed = FolderWatch(), asyncio.Event()

    def wake() -> None:
        watch.drain()
        changed.set()

    watch.add(site.folders())
    loop, watched = asyncio.get_running_loop(), watch.fileno()
    if watched >= 0:
        loop.add_reader(watched, wake)
    while True:
        changed.clear()
        try:
            site.poll()
            watch.add(site.folders())
            if watch.fileno() < 0 <= watched:  # it gave up: its descriptor is closed, and may be another file's soon
                loop.remove_reader(watched)
                watched = -1
        except OSError as error:  # a full disk or a missing folder must not stop serving
            _log.error("polling the state files failed: %s", error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), 0.05 if site.loading else watch.timeout_s)
