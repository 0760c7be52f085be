"""Event log in append-only segments (`core.storage.segments`): each stream is a folder of them.

Every writer has its own segments, so writers never wait for each other, and readers take no lock. A partition is a
segment. Every segment has its own position, because an earlier segment may still grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tidemill.core.backend import BackendContext
from tidemill.core.clock import Clock, SystemClock
from tidemill.core.errors import UsageError
from tidemill.core.ports import DamagedPlace, EventBatch, LoggedEvent
from tidemill.core.storage.group_commit import GroupCommit
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files, segment_is_open

#: The position before the first event.
_START = "0:0"


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

    def read(
        self, stream: str, after: Mapping[str, str] = {}, limit: int = 10_000, reached: Mapping[str, str] = {}
    ) -> EventBatch:
        found: list[LoggedEvent] = []
        positions: dict[str, str] = {}  # without segments that were removed: a segment's name is never reused
        damaged: list[DamagedPlace] = []
        for path in segment_files(self._folder(stream)):
            segment = _SegmentReader(path, after.get(path.name, _START), reached.get(path.name, _START))
            if len(found) < limit:
                found += segment.read(limit - len(found))
                damaged += segment.damaged
            if segment.end:
                positions[path.name] = segment.position
        return EventBatch(tuple(found), positions, tuple(damaged))

    def _folder(self, stream: str) -> Path:
        if not stream or stream.startswith(".") or "/" in stream or "\0" in stream:
            raise UsageError(f"{stream!r} is not a valid name of a stream", tip="use letters, digits and underscores")
        return self._root / stream


class _SegmentReader:
    """Reads one segment from a position; `reached` is the position after an earlier read."""

    def __init__(self, path: Path, after: str, reached: str) -> None:
        self._path = path
        self._reached = _parsed(reached)
        self.end, self._number = _parsed(after)
        self.damaged: list[DamagedPlace] = []

    @property
    def position(self) -> str:
        return f"{self.end}:{self._number}"

    def read(self, limit: int) -> list[LoggedEvent]:
        """Up to `limit` events; `damaged` has the damage before and between them."""
        found: list[LoggedEvent] = []
        closed = not segment_is_open(self._path)  # checked before reading: a closed segment has its last frame already
        size = self._path.stat().st_size
        if size <= self.end:
            return found
        for frame in read_frames(self._path, self.end, skip=self._skip):
            self.end, self._number = frame.end, self._number + 1
            found.append(LoggedEvent(self._path.name, self._number, frame.payload))
            if len(found) == limit:
                return found
        if closed and self.end < size:
            self._skip(self.end, size, torn=True)
        return found

    def _skip(self, start: int, stop: int, *, torn: bool = False) -> None:
        with self._path.open("rb") as file:
            file.seek(start)
            content = file.read(stop - start)
        name = f"bytes {start}-{stop}"
        self.damaged.append(DamagedPlace(self._path.name, self._number + 1, name, content, torn))
        self.end, self._number = stop, self._number + self._lost(stop)

    def _lost(self, stop: int) -> int:
        """The number of events in a place that ends at `stop`: one, unless an earlier read knew those behind it."""
        end, number = self._reached
        if end < stop:
            return 1 if self.end else 0  # the header of a segment is no event
        behind = sum(1 for frame in read_frames(self._path, stop, skip=lambda *_: None) if frame.end <= end)
        return max(0, number - self._number - behind)


def _parsed(position: str) -> tuple[int, int]:
    """Where the next frame of a segment starts, and how many events precede it."""
    end, _, number = position.partition(":")
    return int(end), int(number)
