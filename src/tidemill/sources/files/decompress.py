"""Decompression of a file, detected by content; truncation and corruption are errors."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import zstandard
from isal import igzip, igzip_lib

from tidemill.core.errors import SourceDamaged, SourceUnknown
from tidemill.sources.files.dialect import BOM

Format = Literal["csv", "json", "parquet", "excel", "empty"]

_BAD_DEFLATE: Any = igzip_lib.IsalError
CHUNK = 8 * 1024 * 1024
#: Bytes by which line ends are found.
_HEAD = 64 * 1024
#: Bytes of a zstd file that are decompressed at once: a few bytes may become 128 KiB.
_ZSTD_INPUT = 16 * 1024
#: First bytes of formats that are not read; a text may begin like one, so control characters must follow.
_FOREIGN = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"ARROW1": "an Arrow file",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
#: First bytes of Excel's formats: .xls, and .xlsx, which is a zip with this folder.
_XLS, _ZIP, _XLSX = b"\xd0\xcf\x11\xe0", b"PK\x03\x04", "xl/"
#: Bytes that no text has: control characters without those that move the cursor.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def compression(path: Path) -> Literal["gzip", "zstd", "none"]:
    """The compression of a file by its first bytes; its name and extension are ignored."""
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    return "zstd" if head == b"\x28\xb5\x2f\xfd" else "none"


def chunks(path: Path, size: int = CHUNK, *, limit: int | None = None) -> Iterator[bytes]:
    """The decompressed content in pieces; `SourceDamaged` where it is truncated or fails its checksum.

    Of a file that is not compressed, at most `limit` bytes: what it had when it was looked at.
    Lines that end with carriage returns alone, as those of an old Mac, end with line feeds.
    """
    pieces = _decompressed(path, size, limit)
    first = next(pieces, b"")
    if _ends_with_returns(first):
        pieces, first = (piece.replace(b"\r", b"\n") for piece in pieces), first.replace(b"\r", b"\n")
    if first:
        yield first
    yield from pieces


def _ends_with_returns(head: bytes) -> bool:
    """Whether lines end with carriage returns alone, by the beginning of a text."""
    lines = head[:_HEAD].rstrip(b"\r\n")
    return b"\r" in lines and b"\n" not in lines and not _CONTROL.search(lines[:1024])


def _decompressed(path: Path, size: int, limit: int | None) -> Iterator[bytes]:
    kind = compression(path)
    with path.open("rb") as file:
        if kind == "gzip":
            yield from _gunzip(path, file, size)
        elif kind == "zstd":
            yield from _unzstd(path, file)
        else:
            while piece := file.read(size if limit is None else min(size, limit - file.tell())):
                yield piece


def _gunzip(path: Path, file: BinaryIO, size: int) -> Iterator[bytes]:
    try:
        with igzip.open(file) as stream:  # type: ignore[no-untyped-call]  # isal types its arguments loosely
            while piece := stream.read(size):
                yield piece
    except (EOFError, OSError, _BAD_DEFLATE) as error:
        raise _damaged(path, "gzip", error) from None


def _unzstd(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Frame by frame, because the library's own reader ends silently at a truncated frame."""
    frame, rest = None, b""
    try:
        while rest or (rest := file.read(_ZSTD_INPUT)):
            frame = frame or zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
            if piece := frame.decompress(rest):
                yield piece
            rest, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        raise _damaged(path, "zstd", error) from None
    if frame is not None:
        raise _damaged(path, "zstd", EOFError())


def _damaged(path: Path, kind: str, error: BaseException) -> SourceDamaged:
    what = "is truncated" if isinstance(error, EOFError) else "fails its checksum or has another format"
    return SourceDamaged(
        f"the {kind} file {path} {what}; no rows of it were ingested",
        tip="run again when it is complete, or deliver it again",
    )


def sniff(path: Path, head: bytes) -> Format:
    """The format of a file, by the beginning of its decompressed content; text is UTF-8."""
    if head.startswith(_UTF_16):
        raise SourceUnknown(f"{path} is UTF-16 text", tip="add `encoding=utf-16` to its URL, or save it as UTF-8")
    if binary := sniff_binary(path, head):
        return binary
    text = head.removeprefix(BOM).lstrip()
    if not text:
        return "empty"
    if text[:1] == b"[":
        raise SourceUnknown(f"{path} is one JSON array", tip="write one object per line: `jq -c '.[]'`")
    return "json" if text[:1] == b"{" else "csv"


def sniff_binary(path: Path, head: bytes) -> Literal["parquet", "excel"] | None:
    """The format if it is not text; `SourceUnknown` for one that is not read."""
    if not _CONTROL.search(head[:1024]):
        return None
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_XLS) or (head.startswith(_ZIP) and _has_sheets(path)):
        return "excel"
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise SourceUnknown(
                f"{path} is {name}, which is not supported",
                tip="deliver CSV or JSON lines (plain, gzip or zstd), Parquet or Excel",
            )
    return None


def is_text(head: bytes) -> bool:
    """Whether there are hardly any control characters."""
    return len(_CONTROL.findall(head)) * 100 <= len(head)


def _has_sheets(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as opened:
            return any(name.startswith(_XLSX) for name in opened.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


class Digests:
    """Running sha256 of content: of all of it, up to its last line end, and up to each of `marks` (bytes)."""

    def __init__(self, marks: Iterable[int] = ()) -> None:
        self._hash = hashlib.sha256()
        self._to_line_end = self._hash.copy()
        self._marks = set(marks)
        self.bytes = 0
        #: mark -> hex digest of the content before it, and the byte that follows it (`b""` at the end).
        self.at: dict[int, str] = {}
        self.following: dict[int, bytes] = {}

    def update(self, data: bytes) -> None:
        """Add the next piece."""
        if self.following.get(self.bytes) == b"":
            self.following[self.bytes] = data[:1]
        line_end, fed = data.rfind(b"\n") + 1, 0
        here = {mark - self.bytes for mark in self._marks if 0 < mark - self.bytes <= len(data)}
        for point in sorted(here | {line_end}):
            self._hash.update(memoryview(data)[fed:point])
            fed = point
            if point in here:
                self.at[self.bytes + point] = self._hash.hexdigest()
                self.following[self.bytes + point] = data[point : point + 1]
            if point == line_end and line_end:
                self._to_line_end = self._hash.copy()
        self._hash.update(memoryview(data)[fed:])
        self.bytes += len(data)

    def hex(self, *, whole: bool = True) -> str:
        """Digest of everything so far, or of everything up to the last line end."""
        return (self._hash if whole else self._to_line_end).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes on disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
