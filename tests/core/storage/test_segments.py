"""Segments: what was written whole is read, and nothing else, whatever happens to the end of the file."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.clock import FixedClock
from tidemill.core.errors import FormatTooNew, SegmentDamaged
from tidemill.core.storage.segments import SegmentWriter, read_frames, segment_files, segment_is_open, tail_state

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
HEADER = 8


def written(folder: Path, *payloads: bytes) -> Path:
    writer = SegmentWriter(folder, CLOCK)
    for payload in payloads:
        writer.append(payload)
    writer.close()
    return segment_files(folder)[-1]


def payloads(path: Path) -> list[bytes]:
    return [frame.payload for frame in read_frames(path)]


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, b"one", b"two", b"three")
    assert payloads(path) == [b"one", b"two", b"three"]
    assert tail_state(path, list(read_frames(path))[-1].end) == "nothing"


def test_reading_goes_on_from_where_it_stopped(tmp_path: Path) -> None:
    path = written(tmp_path, b"one", b"two", b"three")
    first = next(iter(read_frames(path)))
    assert [frame.payload for frame in read_frames(path, first.end)] == [b"two", b"three"]


def naive_lengths_only(path: Path) -> Iterator[bytes]:
    """Wrong: believes any length, and no checksum."""
    content = path.read_bytes()
    at = HEADER
    while at + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, at)
        yield content[at + 8 : at + 8 + length]
        at += 8 + length


def naive_empty_frames(path: Path) -> Iterator[bytes]:
    """Wrong: takes an empty frame with its right checksum (0) for a frame."""
    content = path.read_bytes()
    at = HEADER
    while at + 8 <= len(content):
        length, checksum = struct.unpack_from("<II", content, at)
        payload = content[at + 8 : at + 8 + length]
        if len(payload) < length or crc32(payload) != checksum:
            return
        yield payload
        at += 8 + length


def cut_anywhere(reader: Callable[[Path], list[bytes]], path: Path, whole: list[bytes]) -> None:
    """Cut at every byte: only whole frames from the start may be read."""
    content = path.read_bytes()
    ends = [HEADER]
    for payload in whole:
        ends.append(ends[-1] + 8 + len(payload))
    for length in range(HEADER, len(content) + 1):
        path.write_bytes(content[:length])
        expected = whole[: sum(end <= length for end in ends) - 1]
        assert reader(path) == expected, f"cut at byte {length}"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=4))
def test_a_cut_tail_never_yields_more_than_whole_frames(
    tmp_path_factory: pytest.TempPathFactory, whole: list[bytes]
) -> None:
    cut_anywhere(payloads, written(tmp_path_factory.mktemp("cut"), *whole), whole)


def test_a_reader_that_believes_lengths_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        cut_anywhere(
            lambda path: list(naive_lengths_only(path)), written(tmp_path, b"abcdef", b"gh"), [b"abcdef", b"gh"]
        )


def zeros_after(reader: Callable[[Path], list[bytes]], path: Path) -> None:
    """A power cut can leave a file longer than what was written, filled with zeros."""
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert reader(path) == [b"one"]


def test_a_tail_of_zeros_is_no_frame(tmp_path: Path) -> None:
    zeros_after(payloads, written(tmp_path, b"one"))


def test_a_reader_that_takes_empty_frames_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        zeros_after(lambda path: list(naive_empty_frames(path)), written(tmp_path, b"one"))


def test_an_empty_payload_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        SegmentWriter(tmp_path, CLOCK).append(b"")


@pytest.mark.parametrize("offset", [HEADER + 8, HEADER + 10])
def test_a_flipped_byte_in_a_whole_frame_is_named(tmp_path: Path, offset: int) -> None:
    path = written(tmp_path, b"one", b"two")
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(SegmentDamaged, match="byte 8"):
        payloads(path)


@pytest.mark.parametrize("bit", range(32))
def test_a_flipped_bit_in_a_length_is_named_and_does_not_hide_what_follows(tmp_path: Path, bit: int) -> None:
    whole = [b"one", b"two", b"three" * 9, b"four"]
    path = written(tmp_path, *whole)
    second = list(read_frames(path))[1]
    content = bytearray(path.read_bytes())
    content[second.start + bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(SegmentDamaged, match=f"byte {second.start}"):
        payloads(path)
    skipped: list[tuple[int, int]] = []
    found = [frame.payload for frame in read_frames(path, skip=lambda *place: skipped.append(place))]
    assert found == [whole[0], *whole[2:]]
    assert skipped == [(second.start, second.end)]


@given(sizes=st.lists(st.integers(1, 70) | st.sampled_from([24, 56, 120]), min_size=1, max_size=9), data=st.data())
def test_a_flipped_bit_loses_the_frame_that_has_it_and_no_other(sizes: list[int], data: st.DataObject) -> None:
    whole = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), *whole)
        frames = list(read_frames(path))
        n = data.draw(st.integers(0, len(whole) - 1))
        bit = data.draw(st.integers(frames[n].start * 8, frames[n].end * 8 - 1))
        content = bytearray(path.read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        skipped: list[tuple[int, int]] = []
        found = [frame.payload for frame in read_frames(path, skip=lambda *place: skipped.append(place))]
    assert found == whole[:n] + whole[n + 1 :]
    assert skipped == [(frames[n].start, frames[n].end)]


def test_a_frame_within_a_damaged_payload_is_no_record(tmp_path: Path) -> None:
    inner = written(tmp_path / "inner", b"forged").read_bytes()[8:]
    path = written(tmp_path, b"one", b"text " + inner + b" text", b"three")
    content = bytearray(path.read_bytes())
    content[list(read_frames(path))[1].start + 8] ^= 1
    path.write_bytes(content)
    assert [frame.payload for frame in read_frames(path, skip=lambda *_: None)] == [b"one", b"three"]


def test_a_long_frame_behind_damage_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, b"one", b"two" * (6 << 20))
    with path.open("r+b") as file:
        file.seek(12)
        file.write(b"\xff")
    assert [len(frame.payload) for frame in read_frames(path, skip=lambda *_: None)] == [3 * (6 << 20)]


def test_what_is_appended_while_a_frame_is_read_hides_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, b"one", b"two", b"three")
    second, content = list(read_frames(path))[1], path.read_bytes()
    path.write_bytes(content[: second.end - 1])
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        path.write_bytes(content)
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    skipped: list[tuple[int, int]] = []
    assert [frame.payload for frame in read_frames(path, skip=lambda *place: skipped.append(place))] == [b"one"]
    assert skipped == []


def test_what_is_no_segment_and_a_newer_format_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"one")
    path.write_bytes(b"PAR1" + path.read_bytes()[4:])
    with pytest.raises(SegmentDamaged):
        payloads(path)
    path.write_bytes(b"TMSEG\x00\x02\x00")
    with pytest.raises(FormatTooNew):
        payloads(path)


def test_a_full_disk_takes_a_frame_whole_or_not_at_all(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, CLOCK)
    writer.append(b"x" * 100)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))  # the kernel then writes what fits, or refuses
    try:
        with pytest.raises(OSError):
            writer.append(b"y" * 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    writer.append(b"z")
    path = segment_files(tmp_path)[0]
    assert payloads(path) == [b"x" * 100, b"z"]


def test_many_frames_in_one_write_and_a_new_segment_at_the_limit(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, CLOCK, limit_bytes=20)
    writer.append(b"one", b"two")
    writer.append(b"three")
    assert [payloads(path) for path in segment_files(tmp_path)] == [[b"one", b"two"], [b"three"]]


def test_a_segment_is_open_until_its_writer_lets_go(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, CLOCK)
    writer.append(b"one")
    (path,) = segment_files(tmp_path)
    assert segment_is_open(path)
    writer.close()
    assert not segment_is_open(path)


WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from tidemill.core.clock import FixedClock
from tidemill.core.storage.segments import SegmentWriter
writer = SegmentWriter(Path(sys.argv[1]), FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
for i in range(1000):
    writer.append(b"frame %d" % i)
print("written", flush=True)
time.sleep(60)
"""


def test_a_killed_writer_loses_nothing_and_leaves_its_segment_closed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"written\n"
    (path,) = segment_files(tmp_path)
    assert segment_is_open(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not segment_is_open(path)
    assert len(payloads(path)) == 1000


def test_a_clock_that_stands_or_goes_back_replaces_no_segment(tmp_path: Path) -> None:
    for payload in (b"one", b"two", b"three"):
        written(tmp_path, payload)
    assert sorted(payload for path in segment_files(tmp_path) for payload in payloads(path)) == [
        b"one",
        b"three",
        b"two",
    ]
