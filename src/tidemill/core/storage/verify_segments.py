"""Verification of segment files: every frame of every segment is read against its checksum."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.storage.segment_list import FILE, listed_segments
from tidemill.core.storage.segments import read_frames, segment_files, segment_is_open, tail_state
from tidemill.core.storage.verification import Verification

_REMEDY = f"restore it from a backup, or delete {FILE} beside it to accept the loss"


def verify_segments(base: Path, stream: str, found: Verification) -> None:
    """Read the segments in the folder `stream` below `base`; `found` gets paths relative to `base`."""
    listed: dict[str, int | None] = {}
    if (base / stream / FILE).is_file() and found.content(f"{stream}/{FILE}") is not None:
        with found.attempt(f"{base / stream / FILE}, the list of segments"):
            listed = listed_segments(base / stream)
    segments = segment_files(base / stream)
    for name in sorted(listed.keys() - {path.name for path in segments}):
        if name in listed_segments(base / stream):  # it is not being deleted
            found.problem(f"{base / stream / name} is missing, with its records; {_REMEDY}")
    for path in segments:
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
            written = listed.get(path.name)
            if written is not None and size < written:
                found.problem(f"{path} has {size} of {written} bytes: its last records are missing; {_REMEDY}")
            elif not is_open and tail_state(path, end) == "torn":
                found.skip(
                    f"{size - end} bytes at the end of {path}",
                    "no whole record: a write that was cut off before it was acknowledged, or a damaged last record",
                )
    for path in sorted((base / stream / "damaged").glob("*")):
        found.skip(f"{stream}/damaged/{path.name}", "bytes that do not match their checksums, set aside")
