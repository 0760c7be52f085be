"""Memory-mapped hash table of rows: reads one row in about two microseconds, and columns of many rows as Arrow.

A snapshot is a folder: `slots.bin`, an open-addressing hash table of 64-bit slots (24 bits of the key's hash, 40 bits
of the record's offset plus one; 0 is empty), probed linearly without wrapping around; `records.bin`, records of a
header (length, CRC-32 of all after it, length of the key), the key and the row in MessagePack; `rows.arrow`, the same
rows as columns; and `about.json`. Opening decodes no rows; a changed byte is detected when the snapshot is opened or
the record is read.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.errors import CorruptFile, GraphError, TypeMismatch, UnknownName, nearest
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.storage.durable_files import sync_file

_HEADER = struct.Struct("<III")  # bytes of the record, CRC-32 of all after this field, bytes of the key
_START, _KEY_SIZE = struct.Struct("<II"), struct.Struct("<I")
_CHECKED = _START.size  # the CRC covers a record from this byte on
_MIX, _WORD = 0x9E3779B1, 0xFFFFFFFF  # Knuth's multiplicative hash: CRC-32 alone clusters on numbered names
_PLACE_BITS = 40
_PLACE = (1 << _PLACE_BITS) - 1
_BATCH = 16_384
_GATHERED = 131_072
#: Decoding a map with its keys is five times as fast as decoding a list and adding the keys.
_row = msgspec.msgpack.Decoder(dict[str, Any]).decode
_FEW = 64


class SnapshotHeader(VersionedRecord, frozen=True):
    """Content of a snapshot's `about.json`."""

    KIND: ClassVar[str] = "snapshot of rows"
    REQUIRED: ClassVar[tuple[str, ...]] = ("key", "rows", "sizes")

    version: str = ""
    key: str = ""
    rows: int = 0
    #: Bits of the index of a key's home slot.
    bits: int = 0
    #: Size of each file in bytes, to detect truncation on opening; and CRC-32 of the files without internal checksums.
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    checks: dict[str, int] = msgspec.field(default_factory=dict)
    #: CRC-32 of all records, for `verify`; `None` in a snapshot of an older version.
    records: int | None = None


class MappedRows:
    """An opened snapshot, memory-mapped: its files may be unlinked while it is in use."""

    def __init__(self, folder: Path, check: int) -> None:
        self.folder = folder
        self.about = _about(folder / "about.json", check)
        for name, size in self.about.sizes.items():
            if (folder / name).stat().st_size != size:
                raise CorruptFile(f"{folder / name} does not have the {size} bytes that were written")
        for name, expected in self.about.checks.items():
            if zlib.crc32(_map(folder / name)) != expected:
                raise CorruptFile(f"{folder / name} differs from what was written")
        self._records = _map(folder / "records.bin")
        self._slots = memoryview(_map(folder / "slots.bin")).cast("Q")
        self._shift = 32 - self.about.bits
        self.table: pa.Table = pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow"))).read_all()
        #: The columns, without the key.
        self.schema: pa.Schema = pa.schema([field for field in self.table.schema if field.name != self.about.key])

    def verify(self) -> None:
        """Read every record. Raises `CorruptFile` if one does not match its checksum."""
        if self.about.records is not None:
            if zlib.crc32(self._records) != self.about.records:
                raise CorruptFile(f"{self.folder / 'records.bin'} differs from what was written")
            return
        place = 0
        while place < len(self._records):
            self._record(place, b"")
            size, *_ = _HEADER.unpack_from(self._records, place)
            place += max(size, _HEADER.size)

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of `key`, or `None`. Raises `CorruptFile` if the record does not match its checksum."""
        wanted = key.encode()
        hashed = zlib.crc32(wanted)
        slots, tag = self._slots, hashed & 0xFFFFFF
        at = ((hashed * _MIX) & _WORD) >> self._shift
        while slot := slots[at]:
            if slot >> _PLACE_BITS == tag:
                found = self._record((slot & _PLACE) - 1, wanted)
                if found is not None:
                    return _row(found)
            at += 1
        return None

    def _record(self, place: int, wanted: bytes) -> bytes | None:
        size, check, key_size = _HEADER.unpack_from(self._records, place)
        body = self._records[place + _CHECKED : place + size]
        if size <= _HEADER.size or zlib.crc32(body) != check:  # the CRC of zeros' empty body is 0
            raise CorruptFile(f"{self.folder / 'records.bin'}: the record at byte {place} is damaged")
        start = _HEADER.size - _CHECKED
        return body[start + key_size :] if body[start : start + key_size] == wanted else None

    def take(self, keys: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, NDArray[np.bool_]]:
        """The columns for many keys in their order, null where missing, and a bool array of the keys present."""
        for column in columns:
            if column not in self.schema.names:
                raise UnknownName(f"no column {column!r} in this view", tip=nearest(column, self.schema.names))
        if len(keys) <= _FEW:
            return self._take_few(keys, columns)
        places = pc.index_in(pa.array(keys, pa.string()), value_set=self.table[self.about.key].combine_chunks())
        found = self.table.select(list(columns)).take(places)
        return found, places.is_valid().to_numpy(zero_copy_only=False)

    def _take_few(self, keys: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, NDArray[np.bool_]]:
        rows = [self.get(key) for key in keys]  # faster for few keys: `index_in` would hash all keys of the view
        schema = pa.schema([self.schema.field(name) for name in columns])
        made = [
            pa.array([None if row is None else row[name] for row in rows], schema.field(name).type) for name in columns
        ]
        return pa.Table.from_arrays(made, schema=schema), np.array([row is not None for row in rows], np.bool_)

    def without(self, keys: Collection[str]) -> pa.Table | None:
        """The rows without `keys`, or `None` if the snapshot has none of these keys."""
        gone = pc.is_in(self.table[self.about.key], value_set=pa.array(list(keys), pa.string()))
        return self.table.filter(pc.invert(gone)) if pc.any(gone).as_py() else None

    def keys(self) -> list[str]:
        """All keys, in arbitrary order."""
        found: list[str] = self.table[self.about.key].to_pylist()
        return found


def fit(schema: pa.Schema, row: Mapping[str, Any]) -> None:
    """Raise `UnknownName` for a column that is not in `schema`, and `TypeMismatch` for a value of another type."""
    for name, value in row.items():
        index = schema.get_field_index(name)
        if index < 0:
            raise UnknownName(f"no column {name!r} in this view", tip=nearest(name, schema.names))
        try:
            pa.scalar(value, schema.field(index).type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            # the message does not contain the value, which may be personal data
            kind = schema.field(index).type
            raise TypeMismatch(f"the column {name!r} is {kind}, but the value is {type(value).__name__}") from None


def build(folder: Path, key: str, rows: pa.Table | pa.RecordBatchReader, version: str) -> int:
    """Write a snapshot of `rows`, one per value of the column `key`, into `folder`, fsynced; return its checksum.

    Times are stored as integer microseconds. Raises `GraphError` if a key is missing or occurs twice. Of a reader's
    rows, 24 bytes each and 131,072 of them are in memory.
    """
    batches = [rows] if isinstance(rows, pa.Table) else _gathered(rows)
    schema = plain_schema(rows.schema, key)
    hashes, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    with (
        (folder / "records.bin").open("wb") as records,
        pa.OSFile(str(folder / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in batches:
            some = plain_columns(batch, schema, key)
            hashes.append(np.fromiter((zlib.crc32(text.encode()) for text in some[key].to_pylist()), np.uint64))
            places.append(_write_records(records, key, some))
            writer.write_table(some)
    hash_of, place_of = np.concatenate(hashes), np.concatenate(places)
    _require_one_row_of_each(folder / "rows.arrow", key, hash_of)
    bits = max(1, (2 * len(hash_of)).bit_length())  # at most half full
    (folder / "slots.bin").write_bytes(_slots(hash_of, place_of, bits).tobytes())
    names = ("records.bin", "slots.bin", "rows.arrow")
    sizes = {name: (folder / name).stat().st_size for name in names}
    checks = {name: zlib.crc32(_map(folder / name)) for name in ("slots.bin", "rows.arrow")}
    whole = zlib.crc32(_map(folder / "records.bin"))
    about = msgspec.json.encode(
        SnapshotHeader(
            version=version, key=key, rows=len(hash_of), bits=bits, sizes=sizes, checks=checks, records=whole
        )
    )
    (folder / "about.json").write_bytes(about)
    for name in (*names, "about.json", "."):
        sync_file(folder / name)
    return zlib.crc32(about)


def _gathered(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The rows in tables of about `_GATHERED`: columns of many small batches are slow to read."""
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= _GATHERED:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _require_one_row_of_each(file: Path, key: str, hashes: NDArray[np.uint64]) -> None:
    """Raise `GraphError` if a key occurs twice: only keys with equal hashes are compared."""
    order = np.argsort(hashes)
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    if not len(same):
        return
    places = np.unique(np.r_[order[same], order[same + 1]])
    keys = pa.ipc.open_file(pa.memory_map(str(file))).read_all()[key].take(pa.array(places))
    if pc.count_distinct(keys).as_py() != len(places):
        raise GraphError(f"some values of {key} have several rows, but a view has one row per {key}")


def plain_schema(schema: pa.Schema, key: str) -> pa.Schema:
    """The schema with types of plain values. Raises `UnknownName` and `TypeMismatch` if the key is no text column."""
    if key not in schema.names:
        raise UnknownName(f"there is no key column {key!r}", tip=nearest(key, schema.names))
    made = pa.schema([pa.field(field.name, _plain(field.name, field.type)) for field in schema])
    if made.field(key).type != pa.string():
        raise TypeMismatch(f"the key {key!r} is {made.field(key).type}, but a string is required")
    return made


def plain_columns(rows: pa.Table, schema: pa.Schema, key: str) -> pa.Table:
    """Convert `rows` to the types of `schema`: times to microseconds, text to `string`."""
    made = [_cast(rows[field.name], field.type) for field in schema]
    table = pa.Table.from_arrays(made, schema=schema).combine_chunks()
    if table[key].null_count:
        raise GraphError(f"{table[key].null_count} rows have no {key}, but a view has one row per {key}")
    return table


def _plain(name: str, kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind):
        return _plain(name, kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_plain(name, kind.value_type))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_timestamp(kind):
        return pa.int64()
    if types.is_date32(kind):
        return pa.int32()
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return kind
    raise TypeMismatch(
        f"the column {name!r} is {kind}", tip="features are strings, numbers, booleans, times, or lists of these"
    )


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column.cast(kind)


def _write_records(file: BinaryIO, key: str, rows: pa.Table) -> NDArray[np.uint64]:
    """Write the records at the end of a file and return the offset of each."""
    encode = msgspec.msgpack.Encoder().encode
    places = np.empty(rows.num_rows, np.uint64)
    place = file.tell()
    for number, row in enumerate(_rows(rows)):
        name = row.pop(key).encode()
        body = _KEY_SIZE.pack(len(name)) + name + encode(row)
        file.write(_START.pack(_CHECKED + len(body), zlib.crc32(body)))
        file.write(body)
        places[number] = place
        place += _CHECKED + len(body)
    return places


def _rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as dicts, converted in batches to bound memory."""
    for start in range(0, rows.num_rows, _BATCH):
        yield from rows.slice(start, _BATCH).to_pylist()


def _slots(hashes: NDArray[np.uint64], places: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """The slots of the hash table: keys sorted by home slot, each in its home slot or in the next free one."""
    home = ((hashes * np.uint64(_MIX)) & np.uint64(_WORD)) >> np.uint64(32 - bits)
    order = np.argsort(home, kind="stable")
    count = np.arange(len(order), dtype=np.int64)
    at = np.maximum.accumulate(home[order].astype(np.int64) - count) + count
    last = int(at[-1]) if len(at) else 0
    slots = np.zeros(max(1 << bits, last + 1) + 1, np.uint64)  # an empty slot at the end terminates every probe
    slots[at] = ((hashes[order] & np.uint64(0xFFFFFF)) << np.uint64(_PLACE_BITS)) | (places[order] + np.uint64(1))
    return slots


def _about(path: Path, check: int) -> SnapshotHeader:
    text = path.read_bytes()
    if zlib.crc32(text) != check:
        raise CorruptFile(f"{path} differs from what was written")
    return decode_record(text, SnapshotHeader, str(path))


def _map(path: Path) -> mmap.mmap | bytes:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
