"""The event log in segments: the suite, and what a torn or damaged segment does to readers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tidemill.backends.segment_events import SegmentEvents
from tidemill.core.backend import BackendContext
from tidemill.core.clock import FixedClock
from tidemill.core.ports import EventLog
from tidemill.core.storage.segments import SegmentWriter, segment_files
from tidemill.testing.event_log import EventLogSuite, payloads_of

START = datetime(2026, 1, 1, tzinfo=UTC)


class TestSegmentEvents(EventLogSuite):
    def make(self, root: Path) -> EventLog:
        return SegmentEvents(root)


class TestSmallSegments(EventLogSuite):
    """Every few events another segment: positions go across segments."""

    def make(self, root: Path) -> EventLog:
        return SegmentEvents(root, segment_bytes=20)


class _ReadsByTheLastSegment(SegmentEvents):
    """Wrong: what a writer of an earlier segment adds is missed."""

    def read(self, stream, after=None, limit=10_000):
        found, last = super().read(stream, after or {}, limit), max(after or {}, default="")
        return type(found)(tuple(event for event in found.events if event.partition >= last), found.positions)


class _Wrong(EventLogSuite):
    __test__ = False

    def make(self, root: Path) -> EventLog:
        return _ReadsByTheLastSegment(root)


def test_the_suite_catches_a_log_that_misses_a_writer(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        _Wrong().test_a_reader_goes_on_from_a_position(tmp_path, 100)


def test_it_reads_what_was_written_before_there_was_a_port(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / ".tidemill" / "events" / "reviews", FixedClock(START))
    writer.append(b"one", b"two")
    writer.close()
    log = SegmentEvents.from_url("./.tidemill/events", BackendContext(project=tmp_path))
    assert payloads_of(log) == [b"one", b"two"]


def test_a_torn_tail_is_passed_over_and_the_next_segment_goes_on(tmp_path: Path) -> None:
    log = SegmentEvents(tmp_path, FixedClock(START))
    writer = log.writer("reviews")
    writer.write(b"one", b"two")
    writer.close()
    (path,) = segment_files(tmp_path / "reviews")
    path.write_bytes(path.read_bytes()[:-1])
    found = log.read("reviews")
    assert [event.payload for event in found.events] == [b"one"]
    SegmentEvents(tmp_path, FixedClock(START + timedelta(days=1))).writer("reviews").write(b"three")
    after = log.read("reviews", found.positions)
    assert [event.payload for event in after.events] == [b"three"]
    assert log.read("reviews", after.positions).events == ()


def test_damage_is_reported_and_hides_no_other_partition(tmp_path: Path) -> None:
    log = SegmentEvents(tmp_path)
    log.writer("reviews").write(b"one", b"two")
    (path,) = segment_files(tmp_path / "reviews")
    log.writer("reviews").write(b"three")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = log.read("reviews")
    assert [event.payload for event in found.events] == [b"one", b"three"]
    assert list(found.damaged) == [path.name] and "checksum" in found.damaged[path.name]
    again = log.read("reviews", found.positions)
    assert again.events == () and list(again.damaged) == [path.name]


def test_segments_that_were_removed_leave_no_trace_in_a_position(tmp_path: Path) -> None:
    log = SegmentEvents(tmp_path)
    writer = log.writer("reviews")
    writer.write(b"one")
    positions = log.read("reviews").positions
    for path in segment_files(tmp_path / "reviews"):
        path.unlink()
    assert log.read("reviews", positions).positions == {}
