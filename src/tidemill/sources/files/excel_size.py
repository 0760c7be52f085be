"""Size of an Excel file in memory, found before it is read: a zip bomb, or two cells at opposite ends of a sheet."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tidemill.core.errors import SourceDamaged, SourceUnknown
from tidemill.core.formatting import count

#: Decompressed bytes of all members, and cells of the rectangle of a sheet, which the reader holds in memory.
MOST_BYTES, MOST_CELLS = 1 << 30, 50_000_000
_PIECE = 1 << 20
#: Bytes of the local header of a zip member before its name, and the longest cell tag that is looked at.
_HEADER, _TAG = 30, 512
_STORED, _DEFLATED = 0, 8
#: The position of a cell that is not empty; a cell without one, which follows the one before it; and that of a row.
_CELL = re.compile(rb'<c [^<>]{0,200}?r="([A-Z]{1,3})(\d{1,7})"[^<>]{0,200}(?<!/)>')
_UNPLACED = re.compile(rb'<c(?:>| (?![^<>]*\br=")[^<>]*(?<!/)>)')
_ROW = re.compile(rb'<row [^<>]{0,200}?r="(\d{1,7})"')
#: Cells of columns after Z, and of rows after `_FEW_ROWS`, also empty ones.
_WIDE, _LOW = re.compile(rb' r="([A-Z]{2,3})\d'), re.compile(rb' r="[A-Z]{1,3}(\d{6,7})"')
_FEW_ROWS = 99_999
_TIP = "save it as CSV or Parquet, or split it"


def refuse_large(path: Path) -> None:
    """Raises `SourceUnknown` for an .xlsx larger than `MOST_BYTES` or `MOST_CELLS`, whatever its headers say.

    An .xls is not compressed, and has at most 65,536 rows and 256 columns.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            total = 0
            for member in archive.infolist():
                corner = (0, 0)
                for piece in _pieces(file, member):
                    total += len(piece.data)
                    if total > MOST_BYTES:
                        raise SourceUnknown(f"{path} has more than {MOST_BYTES:,} bytes decompressed", tip=_TIP)
                    corner = _at_most(corner, piece.whole)
                if member.filename.startswith("xl/worksheets/") and corner[0] * corner[1] > MOST_CELLS:
                    _refuse_many_cells(path, file, member)
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, NotImplementedError) as error:
        if isinstance(error, SourceUnknown):
            raise
        raise SourceDamaged(
            f"the Excel file {path} is truncated or damaged ({type(error).__name__}); no rows of it were ingested",
            tip="save it again, or save it as CSV",
        ) from None


def _refuse_many_cells(path: Path, file: BinaryIO, member: zipfile.ZipInfo) -> None:
    corner = (0, 0)
    for piece in _pieces(file, member):
        corner = _extended(corner, piece.whole)
        if corner[0] * corner[1] > MOST_CELLS:
            shown = f"{count(corner[0], 'row')} and {count(corner[1], 'column')}"
            raise SourceUnknown(f"a sheet of {path} has {shown}", tip=_TIP)


class _Piece(NamedTuple):
    """A part of the content of a member, and the same after the end of the part before it."""

    data: bytes
    whole: bytes


def _pieces(file: BinaryIO, member: zipfile.ZipInfo) -> Iterator[_Piece]:
    rest = b""
    for data in _inflated(file, member):
        yield _Piece(data, rest + data)
        rest = data[-_TAG:]


def _inflated(file: BinaryIO, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a member in pieces, to the end of its compressed data."""
    file.seek(member.header_offset)
    name, extra = struct.unpack("<HH", file.read(_HEADER)[26:])
    file.seek(name + extra, 1)
    left = member.compress_size
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    if member.compress_type not in (_STORED, _DEFLATED):
        raise NotImplementedError(f"compression {member.compress_type}")
    while left > 0 and (raw := file.read(min(left, _PIECE))):
        left -= len(raw)
        if member.compress_type == _STORED:
            yield raw
            continue
        while raw and not decoder.eof:
            yield decoder.decompress(raw, _PIECE)
            raw = decoder.unconsumed_tail


def _at_most(corner: tuple[int, int], piece: bytes) -> tuple[int, int]:
    """An upper bound of the last row and column, in a tenth of the time of the exact ones."""
    rows, columns = corner
    rows = max([rows, _FEW_ROWS, *map(int, _ROW.findall(piece)), *map(int, _LOW.findall(piece))])
    columns = max([columns, 26, *map(_column, set(_WIDE.findall(piece)))])
    return rows, max([columns, *(row.count(b"<c") for row in piece.split(b"<row"))])


def _extended(corner: tuple[int, int], piece: bytes) -> tuple[int, int]:
    """The last row and column that are used, as far as this piece."""
    rows, columns = corner
    found = _CELL.findall(piece)
    if found:
        rows = max(rows, max(int(row) for _, row in found))
        columns = max(columns, max(_column(letters) for letters in {letters for letters, _ in found}))
    if _UNPLACED.search(piece):
        rows = max([rows, *map(int, _ROW.findall(piece))])
        columns = max(columns, max(row.count(b"<c") for row in piece.split(b"<row")))
    return rows, columns


def _column(letters: bytes) -> int:
    """The number of a column.

    >>> _column(b"A"), _column(b"XFD")
    (1, 16384)
    """
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number
