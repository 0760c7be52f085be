"""Group commit: one fsync for many writes. Writes that arrive during a flush share the next flush.

`await append(…)` returns when its frames are on disk. The flush runs in a thread, so it does not block the event loop.
After a failed flush the kernel may have dropped the pages and report the next flush as a success, so the segment is
abandoned and every waiting writer gets the error.
"""

from __future__ import annotations

import asyncio
import os

from tidemill.core.storage.segments import SegmentWriter


class GroupCommit:
    """A segment writer whose appends are durable against a power cut when they return."""

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._waiting: list[asyncio.Future[None]] = []
        self._flush: asyncio.Task[None] | None = None

    async def append(self, *payloads: bytes) -> None:
        """Write one frame per payload and wait until they are on disk. Raises `OSError` on failure."""
        self._writer.append(*payloads)
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if self._flush is None:
            self._flush = loop.create_task(self._flush_all())
        await mine

    def close(self) -> None:
        """Flush and close the open segment."""
        self._writer.close()

    async def _flush_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                try:
                    await self._flush_open(loop)
                except OSError as error:
                    self._writer.abandon()
                    later, self._waiting = self._waiting, []  # their frames are in the abandoned segment, too
                    _settle([*waiting, *later], error)
                else:
                    _settle(waiting, None)
        finally:
            self._flush = None

    async def _flush_open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Flush the open segment. Also raises `OSError` if a full disk prevented opening one."""
        descriptor = os.dup(self._writer.fileno())  # a concurrent rotation closes (and flushes) the original
        try:
            await loop.run_in_executor(None, os.fdatasync, descriptor)
        finally:
            os.close(descriptor)


def _settle(waiting: list[asyncio.Future[None]], error: OSError | None) -> None:
    for future in waiting:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
