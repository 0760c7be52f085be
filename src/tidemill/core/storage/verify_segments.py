"""Verification of segment files: every frame of every segment is read against its checksum."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.storage.segments import read_frames, segment_files, segment_is_open, tail_state
from tidemill.core.storage.verification import Verification


def verify_segments(base: Path, stream: str, found: Verification) -> None:
    """Read the segments in the folder `stream` below `base`; `found` gets paths relative to `base`."""
    for path in segment_files(base / stream):
        name = f"{stream}/{path.name}"
        with found.attempt(name):
            is_open = segment_is_open(path)
            size, end = path.stat().st_size, 0
            damaged: list[tuple[int, int]] = []
            for frame in read_frames(path, skip=lambda start, after: damaged.append((start, after))):  # noqa: B023
                end = frame.end
            for start, after in damaged:
                found.problem(f"{path}: bytes {start} to {after} do not match their checksum")
            end = max([end, *(after for _, after in damaged)])
            found.read(name, end if is_open else size)
            if not is_open and tail_state(path, end) == "torn":
                found.skip(
                    f"{size - end} bytes at the end of {path}",
                    "no whole record: a write that was cut off before it was acknowledged, or a damaged last record",
                )
    for path in sorted((base / stream / "damaged").glob("*")):
        found.skip(f"{stream}/damaged/{path.name}", "bytes that do not match their checksums, set aside")
