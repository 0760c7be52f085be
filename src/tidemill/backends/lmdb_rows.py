"""LMDB encoding of fresh rows: the key of an entry, the bytes of its value, and the overlay on a snapshot."""

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

#: The instant of the put, and the mark that it set.
STAMP = struct.Struct("<qQ")
_LONGEST_KEY = 500  # LMDB takes 511 bytes


def prefix(view: str) -> bytes:
    """What the places of a view's rows begin with."""
    return view.encode() + b"\0"


def place_of(view: str, key: str) -> bytes:
    """The place of one row; of a key that is too long for LMDB, that of its hash."""
    place = prefix(view) + key.encode()
    return place if len(place) <= _LONGEST_KEY else prefix(view) + b"\0" + sha256(key.encode()).digest()


def under(txn: Any, db: Any, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Places and values under a prefix, in their order, from `start` on."""
    with txn.cursor(db=db) as cursor:
        if not cursor.set_range(start or prefix):
            return
        for place, value in cursor:
            if not place.startswith(prefix):
                return
            yield place, value


def unpack(raw: bytes) -> tuple[int, int, dict[str, Any]]:
    """The instant of the put, its mark, and the row."""
    at, mark = STAMP.unpack_from(raw)
    return at, mark, msgspec.msgpack.decode(raw[STAMP.size :])[1]


def plain(value: Any) -> Any:
    """A value as MessagePack holds it: times as microseconds, arrays as lists."""
    if isinstance(value, datetime):
        return to_micros(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def fits(schema: pa.Schema, row: Mapping[str, Any]) -> bool:
    """Whether a snapshot of this schema could hold the row."""
    try:
        fit(schema, row)
    except TidemillError:
        return False
    return True


def overlaid(found: pa.Table, newer: Sequence[tuple[int, Mapping[str, Any]]]) -> pa.Table:
    """`found` with the fresh rows at their places."""
    places = np.arange(found.num_rows)
    places[[place for place, _ in newer]] = found.num_rows + np.arange(len(newer))
    fresh = pa.table(
        {field.name: pa.array([row.get(field.name) for _, row in newer], field.type) for field in found.schema},
        schema=found.schema,
    )
    return pa.concat_tables([found, fresh]).take(pa.array(places))


def sweep(folder: Path, keep: int, *, alone: bool = False) -> None:
    """Remove snapshots older than `keep`, the one before the present (readers hold theirs open, and look again), and
    what writers that were killed left half made. `alone`: `keep` is the present one, and nothing else stays; the caller
    holds a writing transaction, so that nobody is moving in.
    """
    for old in folder.iterdir() if folder.is_dir() else ():
        number = int(old.name) if old.name.isdigit() else None
        gone = number is not None and (number < keep or (alone and number != keep))
        if gone or (old.name.startswith("new-") and not _alive(old.name)):
            shutil.rmtree(old, ignore_errors=not alone)


def _alive(name: str) -> bool:
    return Path("/proc", name.split("-")[1]).exists()
