"""The event log in segments: the suite, and what a torn or damaged segment does to readers."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.backends.segment_events import SegmentEvents
from tidemill.core.backend import BackendContext
from tidemill.core.clock import FixedClock
from tidemill.core.ports import EventLog
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files
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
    assert [event.payload for event in found.events] == [b"one"] and [place.torn for place in found.damaged] == [True]
    SegmentEvents(tmp_path, FixedClock(START + timedelta(days=1))).writer("reviews").write(b"three")
    after = log.read("reviews", found.positions)
    assert [event.payload for event in after.events] == [b"three"]
    assert log.read("reviews", after.positions).events == ()


def flip(path: Path, byte: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def test_damage_is_reported_once_and_hides_no_other_event(tmp_path: Path) -> None:
    log = SegmentEvents(tmp_path)
    log.writer("reviews").write(b"one", b"two", b"three")
    (path,) = segment_files(tmp_path / "reviews")
    log.writer("reviews").write(b"four")
    second = list(read_frames(path))[1]
    flip(path, second.end - 1)
    found = log.read("reviews")
    assert [(event.number, event.payload) for event in found.events] == [(1, b"one"), (3, b"three"), (1, b"four")]
    (place,) = found.damaged
    assert (place.partition, place.number, place.torn) == (path.name, 2, False)
    assert place.content == path.read_bytes()[second.start : second.end]
    again = log.read("reviews", found.positions)
    assert again.events == () and again.damaged == () and again.positions == found.positions


@pytest.mark.parametrize("bit", range(6 * 8))
def test_a_flipped_bit_in_the_magic_of_a_segment_costs_no_event(tmp_path: Path, bit: int) -> None:
    log = SegmentEvents(tmp_path)
    log.writer("reviews").write(b"one", b"two")
    (path,) = segment_files(tmp_path / "reviews")
    flip(path, bit // 8, bit % 8)
    found = log.read("reviews")
    assert [(event.number, event.payload) for event in found.events] == [(1, b"one"), (2, b"two")]
    assert [place.name for place in found.damaged] == ["bytes 0-8"]
    assert log.read("reviews", found.positions).damaged == ()


def test_a_file_that_is_no_segment_is_set_aside_and_hides_nothing(tmp_path: Path) -> None:
    log = SegmentEvents(tmp_path)
    log.writer("reviews").write(b"one")
    (tmp_path / "reviews" / "0.seg").write_bytes(b"PAR1 and more")
    found = log.read("reviews")
    assert [event.payload for event in found.events] == [b"one"]
    assert b"".join(place.content for place in found.damaged) == b"PAR1 and more"
    assert log.read("reviews", found.positions).damaged == ()


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    first=st.integers(0, 100),
    length=st.integers(1, 120),
    reached=st.integers(0, 12),
)
def test_events_behind_new_damage_keep_their_numbers(sizes: list[int], first: int, length: int, reached: int) -> None:
    """However many events the damaged bytes held, if an earlier read had numbered events behind them."""
    with tempfile.TemporaryDirectory() as folder:
        log = SegmentEvents(Path(folder))
        writer = log.writer("reviews")
        writer.write(*[bytes([65 + i]) * size for i, size in enumerate(sizes)])
        before = {event.payload: event.number for event in log.read("reviews").events}
        earlier = log.read("reviews", limit=reached).positions if reached else {}
        (path,) = segment_files(Path(folder) / "reviews")
        frames = list(read_frames(path))
        content = path.read_bytes()
        start = 8 + first % (len(content) - 8)
        stop = min(start + length, len(content))
        path.write_bytes(content[:start] + bytes(255 - byte for byte in content[start:stop]) + content[stop:])
        intact = {frame.payload for frame in frames if frame.end <= start or frame.start >= stop}
        after = {event.payload: event.number for event in log.read("reviews", reached=earlier).events}
    assert intact <= set(after) and set(after) <= set(before)
    if earlier and stop <= int(earlier[path.name].split(":")[0]):
        assert {payload: before[payload] for payload in after} == after


def test_segments_that_were_removed_leave_no_trace_in_a_position(tmp_path: Path) -> None:
    log = SegmentEvents(tmp_path)
    writer = log.writer("reviews")
    writer.write(b"one")
    positions = log.read("reviews").positions
    for path in segment_files(tmp_path / "reviews"):
        path.unlink()
    assert log.read("reviews", positions).positions == {}
