"""One flush for many: nobody is told "done" before the disk was, and a failed flush is heard by all who waited."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.core.clock import FixedClock
from tidemill.core.storage.group_commit import GroupCommit
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


def everything(folder: Path) -> list[bytes]:
    return [frame.payload for path in segment_files(folder) for frame in read_frames(path)]


def test_many_appends_share_flushes_and_each_waits_for_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each flush, what is on disk is noted; an append may only return once a flush that began after it has ended."""
    flushed: list[int] = []
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        real(descriptor)
        flushed.append(size)

    monkeypatch.setattr(os, "fdatasync", slow)
    returned: list[tuple[int, int]] = []

    async def one(log: GroupCommit, i: int) -> None:
        await log.append(b"x" * 10)
        returned.append((i, max(flushed, default=0)))

    async def all_of_them() -> None:
        log = GroupCommit(SegmentWriter(tmp_path, CLOCK))
        await asyncio.gather(*(one(log, i) for i in range(200)))
        log.close()

    asyncio.run(all_of_them())
    assert len(everything(tmp_path)) == 200
    assert all(size >= 8 + 18 * (i + 1) for i, size in returned)
    assert len(flushed) < 20


def test_a_failed_flush_is_heard_and_the_segment_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [True]
    real = os.fdatasync

    def flush(descriptor: int) -> None:
        if failing[0]:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", flush)

    async def story() -> None:
        log = GroupCommit(SegmentWriter(tmp_path, CLOCK))
        results = await asyncio.gather(log.append(b"a"), log.append(b"b"), return_exceptions=True)
        assert all(isinstance(result, OSError) for result in results)
        failing[0] = False
        await log.append(b"c")
        log.close()

    asyncio.run(story())
    assert [[frame.payload for frame in read_frames(path)] for path in segment_files(tmp_path)] == [
        [b"a", b"b"],
        [b"c"],
    ]


def test_a_caller_that_went_away_takes_nobody_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        log = GroupCommit(SegmentWriter(tmp_path, CLOCK))
        gone = asyncio.create_task(log.append(b"gone"))
        stays = asyncio.create_task(log.append(b"stays"))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        log.close()

    asyncio.run(story())
    assert everything(tmp_path) == [b"gone", b"stays"]


def test_who_appends_during_a_flush_that_fails_hears_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def flush(descriptor: int) -> None:
        begun.set()
        go_on.wait(5)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", flush)

    async def story() -> None:
        log = GroupCommit(SegmentWriter(tmp_path, CLOCK))
        first = asyncio.create_task(log.append(b"first"))
        await asyncio.to_thread(begun.wait, 5)
        second = asyncio.create_task(log.append(b"second"))
        await asyncio.sleep(0)
        go_on.set()
        results = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5)
        assert all(isinstance(result, OSError) for result in results)

    asyncio.run(story())
