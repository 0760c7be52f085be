"""Worker process of the API: an HTTP server with a site, and the loop that keeps it up to date."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable

import uvloop

from tidemill.serving.live.folder_watch import FolderWatch
from tidemill.serving.process.worker_site import WorkerSite

_log = logging.getLogger(__name__)


def run_worker(make: Callable[[], WorkerSite], *, host: str, port: int) -> None:
    """Serve until SIGTERM; SIGUSR1 starts the drain (unready, connections closed after each response)."""
    sys.setswitchinterval(0.0005)  # a swap or reload in a thread delays a response by at most 0.5 ms
    site = make()
    site.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)  # a request allocates some hundred objects, and none is part of a cycle
    try:
        uvloop.run(_serve(site, host, port))
    finally:
        site.close()


async def _serve(site: WorkerSite, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _drain, site)
    await site.server.listen(host, port)
    polling = asyncio.create_task(_poll(site))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, polling}, return_when=asyncio.FIRST_COMPLETED)
    await site.server.stop()
    polling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await polling


def _drain(site: WorkerSite) -> None:
    site.server.draining = True


async def _poll(site: WorkerSite) -> None:
    """Load what has changed, when a state file changes and, for the store, after a timeout."""
    with contextlib.closing(FolderWatch()) as watch:
        await _follow(site, watch)


async def _follow(site: WorkerSite, watch: FolderWatch) -> None:
    changed = asyncio.Event()

    def wake() -> None:
        watch.drain()
        changed.set()

    watch.add(site.folders())
    loop, watched = asyncio.get_running_loop(), watch.fileno()
    if watched >= 0:
        loop.add_reader(watched, wake)
    try:
        while True:
            changed.clear()
            try:
                site.poll()
                watch.add(site.folders())
                if watch.fileno() < 0 <= watched:  # closed: the number may be another file's soon
                    loop.remove_reader(watched)
                    watched = -1
            except OSError as error:  # a full disk or a missing folder must not stop serving
                _log.error("polling the state files failed: %s", error)
            with contextlib.suppress(TimeoutError):
                # `wait_for` of Python 3.11 forgets a cancellation that comes together with a change
                async with asyncio.timeout(0.05 if site.loading else watch.timeout_s):
                    await changed.wait()
    finally:
        if watched >= 0:
            loop.remove_reader(watched)
