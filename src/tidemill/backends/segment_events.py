"""Event log in append-only segments (`core.storage.segments`): each stream is a folder of them.

Every writer has its own segments, so writers never wait for each other, and readers take no lock. A partition is a
segment. Every segment has its own position, because an earlier segment may still grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tidemill.core.backend import BackendContext
from tidemill.core.clock import Clock, SystemClock
from tidemill.core.errors import SegmentDamaged, UsageError
from tidemill.core.ports import EventBatch, LoggedEvent
from tidemill.core.storage.group_commit import GroupCommit
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files


class SegmentEventWriter:
    """Writes one stream to its own segments, with a new segment after `segment_bytes`."""

    def __init__(self, folder: Path, clock: Clock, *, segment_bytes: int, durable: bool) -> None:
        self._segments = SegmentWriter(folder, clock, limit_bytes=segment_bytes, durable=durable)
        self._commits = GroupCommit(self._segments)

    def write(self, *payloads: bytes) -> None:
        self._segments.append(*payloads)

    async def append(self, *payloads: bytes) -> None:
        await self._commits.append(*payloads)

    def close(self) -> None:
        self._commits.close()


class SegmentEvents:
    """Streams as folders below `root`. Segment names contain the time of `clock`, so that they increase with time."""

    def __init__(self, root: Path, clock: Clock | None = None, *, segment_bytes: int = 64 << 20) -> None:
        self._root = root
        self._clock = clock or SystemClock()
        self._segment_bytes = segment_bytes

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> SegmentEvents:
        """Open the log in the folder of `url`."""
        return cls(context.path(url))

    def writer(self, stream: str, *, durable: bool = True) -> SegmentEventWriter:
        folder = self._folder(stream)
        return SegmentEventWriter(folder, self._clock, segment_bytes=self._segment_bytes, durable=durable)

    def read(self, stream: str, after: Mapping[str, str] = {}, limit: int = 10_000) -> EventBatch:
        found: list[LoggedEvent] = []
        positions: dict[str, str] = {}  # without segments that were removed: a segment's name is never reused
        damaged: dict[str, str] = {}
        for path in segment_files(self._folder(stream)):
            end, number = _parsed(after.get(path.name, "0:0"))
            if len(found) < limit and path.stat().st_size > end:
                try:
                    for frame in read_frames(path, end):
                        end, number = frame.end, number + 1
                        found.append(LoggedEvent(path.name, number, frame.payload))
                        if len(found) == limit:
                            break
                except SegmentDamaged as error:
                    damaged[path.name] = error.message
            if number:
                positions[path.name] = f"{end}:{number}"
        return EventBatch(tuple(found), positions, damaged)

    def _folder(self, stream: str) -> Path:
        if not stream or stream.startswith(".") or "/" in stream or "\0" in stream:
            raise UsageError(f"{stream!r} is not a valid name of a stream", tip="use letters, digits and underscores")
        return self._root / stream


def _parsed(position: str) -> tuple[int, int]:
    """Where the next frame of a segment starts, and how many frames precede it."""
    end, _, number = position.partition(":")
    return int(end), int(number)
