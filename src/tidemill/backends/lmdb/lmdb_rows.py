"""LMDB encoding of fresh rows: the LMDB key of a row, the bytes of its value, and the overlay on a snapshot."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.backends.lmdb.mapped_rows import fit
from tidemill.core.clock import to_micros
from tidemill.core.errors import CorruptFile, TidemillError

#: Time of the put, and the view's change counter after it.
STAMP = struct.Struct("<qQ")
_THREE, _UINT32, _CHECK = b"\x93", 0xCE, struct.Struct(">BI")  # MessagePack's codes of an array and an integer
_DAMAGED = "a fresh row of the online store does not match its checksum"
_LONGEST_KEY = 500  # LMDB's maximum is 511 bytes
_KEY_AT = STAMP.size + len(_THREE)
_SHORT = 32
_STARTS = [_THREE + bytes([0xA0 | size]) for size in range(_SHORT)]  # an array of three that starts with a short text


class FreshRow(NamedTuple):
    """A row that was put after the snapshot: the time of the put, its change counter, its key and its columns."""

    at: int
    mark: int
    key: str
    row: dict[str, Any]


def prefix(view: str) -> bytes:
    """The prefix of the LMDB keys of a view's rows."""
    return view.encode() + b"\0"


def place_of(view: str, key: str) -> bytes:
    """The LMDB key of one row; uses the hash of a key that is too long for LMDB."""
    place = prefix(view) + key.encode()
    return place if len(place) <= _LONGEST_KEY else prefix(view) + b"\0" + sha256(key.encode()).digest()


def under(txn: Any, db: Any, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """LMDB keys and values with a prefix, in order, from `start` on."""
    with txn.cursor(db=db) as cursor:
        if not cursor.set_range(start or prefix):
            return
        for place, value in cursor:
            if not place.startswith(prefix):
                return
            yield place, value


def pack(at: int, mark: int, key: str, row: Mapping[str, Any]) -> bytes:
    """The value of one row: its stamp, then a MessagePack array of key, row and the CRC-32 of all before it."""
    body = STAMP.pack(at, mark) + _THREE + msgspec.msgpack.encode(key) + msgspec.msgpack.encode(row)
    return body + _CHECK.pack(_UINT32, crc32(body))


def unpack(raw: bytes) -> FreshRow:
    """Decode a value. Raises `CorruptFile` if it does not match its checksum; one of an older version has none."""
    try:
        at, mark = STAMP.unpack_from(raw)
        key, row, *check = msgspec.msgpack.decode(raw[STAMP.size :])
    except (struct.error, msgspec.DecodeError, ValueError, TypeError):
        raise CorruptFile(_DAMAGED) from None
    if check and crc32(raw[: -_CHECK.size]) != check[0]:
        raise CorruptFile(_DAMAGED)
    return FreshRow(at, mark, key, row)


def is_intact(place: bytes, raw: bytes) -> bool:
    """Whether a value matches its checksum, and its LMDB key is that of its row. Does not decode the row, if it can."""
    end = place.find(b"\0")
    size = len(place) - end - 1
    if size < _SHORT and len(raw) > _KEY_AT + _CHECK.size and raw[_KEY_AT - 1 : _KEY_AT + 1] == _STARTS[size]:
        is_own = raw.startswith(place[end + 1 :], _KEY_AT + 1)
        return is_own and raw[-5] == _UINT32 and crc32(raw[:-5]) == int.from_bytes(raw[-4:])
    try:
        return place_of(place[:end].decode(), unpack(raw).key) == place
    except (CorruptFile, UnicodeDecodeError):
        return False


def plain(value: Any) -> Any:
    """Convert a value for MessagePack: times to microseconds, arrays to lists."""
    if isinstance(value, datetime):
        return to_micros(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def fits(schema: pa.Schema, row: Mapping[str, Any]) -> bool:
    """Whether the row fits a snapshot with this schema."""
    try:
        fit(schema, row)
    except TidemillError:
        return False
    return True


def overlaid(found: pa.Table, newer: Sequence[tuple[int, Mapping[str, Any]]]) -> pa.Table:
    """`found` with the fresh rows (`newer`: position -> row) in place of the rows at these positions."""
    places = np.arange(found.num_rows)
    places[[place for place, _ in newer]] = found.num_rows + np.arange(len(newer))
    fresh = pa.table(
        {field.name: pa.array([row.get(field.name) for _, row in newer], field.type) for field in found.schema},
        schema=found.schema,
    )
    return pa.concat_tables([found, fresh]).take(pa.array(places))


def sweep(folder: Path, keep: int, *, alone: bool = False) -> None:
    """Delete snapshots older than `keep`, which is the previous one (readers keep theirs open, or retry), and partial
    snapshots of killed writers. With `alone`, `keep` is the current snapshot and all others are deleted; the caller
    holds a write transaction, so that no writer can swap in another one meanwhile.
    """
    for old in folder.iterdir() if folder.is_dir() else ():
        number = int(old.name) if old.name.isdecimal() else None
        gone = number is not None and (number < keep or (alone and number != keep))
        if gone or (old.name.startswith("new-") and not _alive(old.name)):
            shutil.rmtree(old, ignore_errors=not alone)


def _alive(name: str) -> bool:
    return Path("/proc", name.split("-")[1]).exists()
