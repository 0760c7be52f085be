"""The list of segments shows those that are gone, and accuses nobody of those that it never had."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.core.clock import FixedClock
from tidemill.core.storage.segment_list import FILE, listed_segments, unlist_segments
from tidemill.core.storage.segments import SegmentWriter, segment_files
from tidemill.core.storage.verification import Verification
from tidemill.core.storage.verify_segments import verify_segments

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def segments(tmp_path: Path) -> list[Path]:
    """A closed segment, and one whose writer was killed."""
    for day in (1, 2):
        writer = SegmentWriter(tmp_path / "reviews", FixedClock(datetime(2026, 1, day, tzinfo=UTC)))
        writer.append(b"first", b"second")
        writer.close() if day == 1 else writer.abandon()
    return segment_files(tmp_path / "reviews")


def problems(root: Path) -> list[str]:
    found = Verification("posted events", root)
    verify_segments(root, "reviews", found)
    return [problem.text for problem in found.problems]


def test_a_removed_segment_and_a_cut_one_are_named(segments: list[Path], tmp_path: Path) -> None:
    closed, killed = segments
    assert listed_segments(closed.parent) == {closed.name: closed.stat().st_size, killed.name: None}
    assert problems(tmp_path) == []
    content = closed.read_bytes()
    for size in (len(content) - 1, len(content) - 14, 8, 0):  # in a frame, behind one, without any, empty
        closed.write_bytes(content[:size])
        (problem,) = problems(tmp_path)
        assert f"{closed} has {size} of {len(content)} bytes" in problem
    closed.unlink()
    killed.unlink()
    assert [f"{path} is missing" in says for path, says in zip(segments, problems(tmp_path), strict=True)] == [True] * 2
    (closed.parent / FILE).unlink()  # the loss is accepted
    assert problems(tmp_path) == []


def test_a_segment_that_is_deleted_on_purpose_is_not_missed(segments: list[Path], tmp_path: Path) -> None:
    unlist_segments(segments[0].parent, [segments[0].name])
    segments[0].unlink()
    assert problems(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"segments":{"x":1},"check":"00000000"}', b'{"segments":{}}'])
def test_a_damaged_list_is_named_and_begun_anew(segments: list[Path], tmp_path: Path, damage: bytes) -> None:
    (segments[0].parent / FILE).write_bytes(damage)
    assert len(problems(tmp_path)) == 1
    writer = SegmentWriter(tmp_path / "reviews", CLOCK)
    writer.append(b"third")
    writer.close()
    assert problems(tmp_path) == []


def test_segments_that_are_not_durable_are_not_listed(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, CLOCK, durable=False)
    writer.append(b"x")
    writer.close()
    assert listed_segments(tmp_path) == {}
