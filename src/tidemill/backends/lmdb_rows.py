"""LMDB encoding of fresh rows: the LMDB key of a row, the bytes of its value, and the overlay on a snapshot."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.backends.mapped_rows import fit
from tidemill.core.clock import to_micros
from tidemill.core.errors import TidemillError

#: Time of the put, and the view's change counter after it.
STAMP = struct.Struct("<qQ")
_LONGEST_KEY = 500  # LMDB's maximum is 511 bytes


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


def unpack(raw: bytes) -> tuple[int, int, dict[str, Any]]:
    """The time of the put, its change counter, and the row."""
    at, mark = STAMP.unpack_from(raw)
    return at, mark, msgspec.msgpack.decode(raw[STAMP.size :])[1]


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
