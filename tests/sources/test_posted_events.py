"""Posted events as a source: every event once, on its day, in the same place of the numbering at every reading."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from source_reader import earlier_state, files_of, taken

from tidemill.backends.segment_events import SegmentEvents
from tidemill.core.clock import LAST_US, FixedClock, to_micros
from tidemill.core.contract.contract import Event, event_time, field, item, subject
from tidemill.core.records.posted_event import PostedEvent, SealedSubject, encode_event
from tidemill.core.row_ids import POSTED_NUMBERS, split_row_id
from tidemill.core.source_read import REFUSED, ReadRequest, SourceRead, SourceState, good_schema
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files
from tidemill.sources.files.file_state import FileState, file_source_state
from tidemill.sources.posted_events import EventSource

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIRST_NUMBER = POSTED_NUMBERS.start


class Review(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: float = field(ge=1, le=5)
    note: str | None = None
    reviewed_at: datetime = event_time(zone="UTC")


class Later(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: int = field()
    stars: int = field()
    reviewed_at: datetime = event_time(zone="UTC")


def event(i: int, day: int = 0) -> bytes:
    at = to_micros(START + timedelta(days=day, seconds=i))
    row = {"item_id": f"i{i}", "rating": 4.0, "note": None, "reviewed_at": at}
    return encode_event(
        PostedEvent(received_at=at, row=row, people={"user_id": SealedSubject("s" * 26, f"user{i}".encode()[::-1])})
    )


def write(folder: Path, *payloads: bytes) -> SegmentWriter:
    writer = SegmentWriter(folder, FixedClock(START))
    writer.append(*payloads)
    return writer


def unseal(sealed: bytes) -> bytes:
    return sealed[::-1]


def look(
    folder: Path,
    until: int | None,
    *,
    after: int | None = None,
    state: SourceState | None = None,
    **more: Any,
) -> SourceRead:
    source = EventSource(SegmentEvents(folder.parent), folder.name, Review.contract, unseal=unseal)
    days = [None if day is None else START.date() + timedelta(days=day) for day in (until, after)]
    return source.read(ReadRequest(until=days[0], after=days[1], state=state, **more))


def items(found: SourceRead) -> list[str]:
    return found.good["item_id"].to_pylist()


def test_rows_are_typed_unsealed_and_numbered(tmp_path: Path) -> None:
    write(tmp_path, event(1), event(2)).close()
    found = look(tmp_path, 0)
    assert found.good.schema.equals(good_schema(Review.contract)) and found.refused.schema.equals(REFUSED)
    first = found.good.to_pylist()[0]
    assert first["user_id"] == "user1" and first["rating"] == 4.0 and first["_day"] == date(2026, 1, 1)
    assert first["reviewed_at"] == START + timedelta(seconds=1)
    assert [split_row_id(row) for row in found.good["_row"].to_pylist()] == [(FIRST_NUMBER, 1), (FIRST_NUMBER, 2)]
    assert taken(found) == {FIRST_NUMBER: 2}


@pytest.mark.parametrize("at", [2**63 - 1, -(2**62), LAST_US + 1])
def test_a_time_out_of_range_is_refused(tmp_path: Path, at: int) -> None:
    row = {"item_id": "i2", "rating": 4.0, "note": None, "reviewed_at": at}
    people = {"user_id": SealedSubject("s" * 26, b"user2")}
    write(tmp_path, event(1), encode_event(PostedEvent(received_at=0, row=row, people=people))).close()
    found = look(tmp_path, 0)
    assert items(found) == ["i1"]
    assert found.refused["reason"].to_pylist() == ["`reviewed_at` is outside the years 100 to 9899"]


def test_a_segment_that_grows_brings_what_is_new(tmp_path: Path) -> None:
    writer = write(tmp_path, event(1))
    first = look(tmp_path, 0)
    writer.append(event(2, day=1))
    second = look(tmp_path, 1, after=0, state=first.state)
    assert items(second) == ["i2"] and files_of(second)[0].number == files_of(first)[0].number
    third = look(tmp_path, 2, after=1, state=second.state)
    assert items(third) == [] and third.stats.lines == 0
    writer.close()


def test_a_late_event_comes_with_the_next_day_and_once(tmp_path: Path) -> None:
    writer = write(tmp_path, event(1))
    first = look(tmp_path, 1)
    writer.append(event(2, day=0), event(3, day=2))
    second = look(tmp_path, 2, after=1, state=first.state)
    assert items(second) == ["i2", "i3"]
    writer.close()


def test_events_after_the_last_day_wait_and_come_when_it_is_due(tmp_path: Path) -> None:
    write(tmp_path, event(1), event(2, day=1)).close()
    first = look(tmp_path, 0)
    assert items(first) == ["i1"] and first.stats.pending == 1
    second = look(tmp_path, 1, after=0, state=first.state)
    assert items(second) == ["i2"]


def everything_once(read: Callable[..., SourceRead], folder: Path) -> None:
    """Four days in three segments, read day by day: each event exactly once, each at one place."""
    writer = write(folder, event(0), event(1, day=1))
    seen: list[tuple[str, int]] = []
    state: SourceState | None = None
    for day in range(4):
        found = read(folder, day, after=day - 1 if day else None, state=state)
        seen += zip(items(found), found.good["_row"].to_pylist(), strict=True)
        state = found.state
        writer.append(event(10 + day, day=day), event(20 + day, day=day + 1))
        if day == 1:
            writer.rotate()
    final = read(folder, 9, after=3, state=state)
    seen += zip(items(final), final.good["_row"].to_pylist(), strict=True)
    writer.close()
    names = [name for name, _ in seen]
    assert sorted(names) == sorted({f"i{i}" for i in (0, 1, 10, 11, 12, 13, 20, 21, 22, 23)})
    again = look(folder, None)
    assert dict(zip(items(again), again.good["_row"].to_pylist(), strict=True)) == dict(seen)


def test_every_event_comes_exactly_once(tmp_path: Path) -> None:
    everything_once(look, tmp_path)


def test_a_reader_without_positions_is_caught(tmp_path: Path) -> None:
    def by_day_only(folder: Path, until: int, after: int | None, state: SourceState | None) -> SourceRead:
        """Wrong: takes the days that are due and never the late ones."""
        all_taken = file_source_state("events", (), {FIRST_NUMBER + i: 99 for i in range(5)})
        return look(folder, until, after=after, state=all_taken)

    with pytest.raises(AssertionError):
        everything_once(by_day_only, tmp_path)


def test_days_end_in_the_stream_s_zone(tmp_path: Path) -> None:
    at = to_micros(datetime(2026, 1, 1, 23, 30, tzinfo=UTC))
    row = {"item_id": "i", "rating": 4.0, "note": None, "reviewed_at": at}
    write(
        tmp_path, encode_event(PostedEvent(received_at=at, row=row, people={"user_id": SealedSubject("s", b"u")}))
    ).close()
    assert look(tmp_path, 0).good.num_rows == 1
    assert look(tmp_path, 0, zone="Europe/Berlin").stats.pending == 1


def test_an_event_that_no_longer_fits_the_contract_is_refused_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, event(1), b"\xc1 no event").close()
    source = EventSource(SegmentEvents(tmp_path.parent), tmp_path.name, Later.contract, unseal=unseal)
    found = source.read(ReadRequest(until=START.date()))
    assert found.good.num_rows == 0
    first, second = found.refused.to_pylist()
    assert "rating" in first["reason"] and first["line"] == 1 and first["file"] == segment_files(tmp_path)[0].name
    assert "not an event" in second["reason"] and second["raw"] == b"\xc1 no event"


def test_numbers_and_positions_of_other_sources_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, event(1)).close()
    other = FileState(number=7, path="reviews.csv", size=1, mtime_ns=1, lines=9, prefix_sha256="", content_bytes=1)
    found = look(tmp_path, 0, state=earlier_state([other], {"7": 9}))
    assert [file.number for file in files_of(found)] == [FIRST_NUMBER] and 7 not in taken(found)


def damage(path: Path, *numbers: int) -> None:
    """Flip a bit in the payload of these frames, from 0."""
    frames, content = list(read_frames(path)), bytearray(path.read_bytes())
    for number in numbers:
        content[frames[number].end - 1] ^= 1
    path.write_bytes(content)


def test_a_damaged_event_is_refused_with_its_bytes_once_and_hides_no_other(tmp_path: Path) -> None:
    writer = write(tmp_path, event(1), event(2), event(3, day=1))
    (path,) = segment_files(tmp_path)
    frame = list(read_frames(path))[1]
    damage(path, 1)
    found = look(tmp_path, 0)
    assert items(found) == ["i1"] and found.damaged == ()
    (row,) = found.refused.to_pylist()
    assert row["reason"] == f"damaged on disk: bytes {frame.start}-{frame.end}" and row["_day"] is None
    assert row["raw"] == path.read_bytes()[frame.start : frame.end] and (row["file"], row["line"]) == (path.name, 2)
    assert found.notes == (f"{tmp_path.name}: 1 posted event damaged on disk; the bytes are in quarantine",)
    writer.append(event(4, day=1))
    later = look(tmp_path, 1, after=0, state=found.state)
    assert items(later) == ["i3", "i4"] and later.refused.num_rows == 0 and later.notes == ()
    assert files_of(later)[0].number == files_of(found)[0].number
    writer.close()


@pytest.mark.parametrize("lost", [(1,), (1, 2, 3), (0, 1, 2, 3, 4), (1, 3), (2, 3, 5)])
def test_damage_between_two_reads_loses_and_repeats_no_other_event(tmp_path: Path, lost: tuple[int, ...]) -> None:
    """Events that wait for their day are read again: damage before them must not shift what was taken."""
    writer = write(tmp_path, *[event(i, day=i % 2) for i in range(8)])
    first = look(tmp_path, 0)
    assert items(first) == ["i0", "i2", "i4", "i6"]
    (path,) = segment_files(tmp_path)
    damage(path, *lost)
    writer.append(*[event(i) for i in range(10, 20)])  # late: only their numbers say that they are new
    second = look(tmp_path, 1, after=0, state=first.state)
    whole = [f"i{i}" for i in (1, 3, 5, 7) if i not in lost]
    assert items(second) == [*whole, *[f"i{i}" for i in range(10, 20)]]
    assert len(set(first.good["_row"].to_pylist()) & set(second.good["_row"].to_pylist())) == 0
    assert 1 <= second.refused.num_rows <= len(lost)
    third = look(tmp_path, 2, after=1, state=second.state)
    assert items(third) == [] and third.refused.num_rows == 0
    writer.close()


def test_an_incomplete_last_event_is_noted_once_and_refuses_nothing(tmp_path: Path) -> None:
    write(tmp_path, event(1), event(2, day=1), event(3)).close()
    (path,) = segment_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    found = look(tmp_path, 0)
    assert items(found) == ["i1"] and found.refused.num_rows == 0
    assert len(found.notes) == 1 and "incomplete last events" in found.notes[0] and path.name in found.notes[0]
    again = look(tmp_path, 1, after=0, state=found.state)
    assert items(again) == ["i2"] and again.notes == ()


def test_no_folder_is_no_events(tmp_path: Path) -> None:
    assert look(tmp_path / "never", 0).good.num_rows == 0


def test_a_stream_s_files_and_its_posted_events_number_apart(tmp_path: Path) -> None:
    """Both bring rows to one stream; a file that comes after events were posted takes no number of theirs."""
    from tidemill.sources import FileSource

    write(tmp_path / "events", event(1)).close()
    posted = look(tmp_path / "events", 0)
    (tmp_path / "a.csv").write_text("u,i,4,2026-01-01T12:00:00Z\n")
    url = "file:a.csv?columns=user_id,item_id,rating,reviewed_at:iso"
    source = FileSource(url, Review.contract, tmp_path)
    both = earlier_state(files_of(posted), {str(number): line for number, line in taken(posted).items()})
    found = source.read(ReadRequest(until=START.date(), state=both))
    assert [file.number for file in files_of(found)] == [1] and found.good.num_rows == 1


def remove_segments(folder: Path) -> str:
    (path,) = segment_files(folder)
    path.unlink()
    return path.name


def test_a_segment_that_is_removed_after_it_was_ingested_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, event(1), event(2)).close()
    state = look(tmp_path, 0).state
    for day in (1, 2, 3):
        remove_segments(tmp_path)
        write(tmp_path, event(day + 2, day=day)).close()
        found = look(tmp_path, day, after=day - 1, state=state)
        assert items(found) == [f"i{day + 2}"] and not found.notes
        assert [split_row_id(row) for row in found.good["_row"].to_pylist()] == [(FIRST_NUMBER + day, 1)]
        state = found.state


def test_a_segment_that_is_removed_before_it_was_ingested_is_missed(tmp_path: Path) -> None:
    write(tmp_path, event(1), event(2, day=1)).close()
    found = look(tmp_path, 0)
    gone = remove_segments(tmp_path)
    later = look(tmp_path, 1, after=0, state=found.state)
    assert items(later) == [] and len(later.notes) == 1 and gone in later.notes[0]
    assert not look(tmp_path, 2, after=1, state=later.state).notes
