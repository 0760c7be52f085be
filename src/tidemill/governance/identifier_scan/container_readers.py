"""Container readers: the contents of compressed, columnar and database files, nested ones too.

Containers are detected by their first bytes, never by their name. Corruption is reported, not skipped: a file that
could not be decoded does not count as clean.
"""

from __future__ import annotations

import io
import os
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from tidemill.governance.identifier_scan.lmdb_pages import lmdb_values

_CHUNK = 1 << 20
_DEEPEST = 4
_LARGEST_INNER = 1 << 30
#: Files that databases lock. They stay open here: when any descriptor of such a file is closed, the kernel drops the
#: locks of this process, and with them those of a store that it has open.
_LOCKED = ("-shm", "lock.mdb")

# Exceptions that the container readers raise for corrupt files, and zipfile for encrypted ones and unknown methods.
_BROKEN = (
    *(OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(struct.error, zlib.error, zipfile.BadZipFile, pa.ArrowException, sqlite3.Error, zstandard.ZstdError),
)


class UndecodedContainer(Exception):
    """A container that cannot be decoded to its end."""


Content = tuple[str, Iterable[bytes]]


def container_kind(head: bytes) -> str | None:
    """The kind of container that starts with these bytes (32 are enough), or `None`."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return "lmdb" if head[16:20] == b"\xde\xc0\xef\xbe" else None


def file_contents(path: Path, *, numbers: bool) -> Iterator[Content]:
    """`(store, chunks)`: the file's own bytes, then the contents of its containers.

    `numbers` also yields integers as text, for identifiers that are numbers. Raises `UndecodedContainer` after
    everything that could be decoded.
    """
    descriptor, name = os.open(path, os.O_RDONLY | os.O_CLOEXEC), None
    try:
        with open(descriptor, "rb", closefd=False) as file:
            name = container_kind(file.read(32))
            file.seek(0)
            yield name or "file", iter(lambda: file.read(_CHUNK), b"")
    finally:
        if name != "sqlite" and not path.name.endswith(_LOCKED):
            os.close(descriptor)
    if name == "sqlite":
        yield from _guarded(name, lambda: _sqlite(_database(path), numbers, 1))
    elif name is not None:
        yield from _opened(name, path.read_bytes(), numbers, 1)


def _opened(name: str, data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    if depth > _DEEPEST:
        raise UndecodedContainer(f"{name} nested in {_DEEPEST} other containers")
    yield from _guarded(name, lambda: _READERS[name](data, numbers, depth))


def _guarded(name: str, read: Callable[[], Iterator[Content]]) -> Iterator[Content]:
    try:
        yield from read()
    except _BROKEN as error:
        raise UndecodedContainer(f"{name}: {error}") from error


class _DecompressedStream:
    """Chunks of a stream that may be truncated or corrupt: `error` is then set after the last valid chunk."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except _BROKEN as error:
            self.error = error


def _inner(outer: str, chunks: Iterator[bytes], numbers: bool, depth: int) -> Iterator[Content]:
    """A stream from inside a container: itself, and its contents if it is a container too."""
    stream = _DecompressedStream(chunks)
    rest = iter(stream)
    first = next(rest, b"")
    name = container_kind(first[:32])
    if name is None:
        yield outer, _chain(first, rest)
    else:
        data = _whole(first, rest)
        yield outer, [data]
        for inner, content in _opened(name, data, numbers, depth + 1):
            yield f"{outer}/{inner}", content
    if stream.error is not None:
        raise UndecodedContainer(f"{outer}: {stream.error}")


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _whole(first: bytes, rest: Iterable[bytes]) -> bytes:
    data = bytearray(first)
    for chunk in rest:
        data += chunk
        if len(data) > _LARGEST_INNER:
            raise UndecodedContainer(f"a nested container is larger than {_LARGEST_INNER} bytes")
    return bytes(data)


def _values(outer: str, values: Iterable[bytes], numbers: bool, depth: int) -> Iterator[Content]:
    """The contents of values in a database or column that are containers themselves."""
    for value in values:
        name = container_kind(value[:32])
        if name is not None:
            for inner, content in _opened(name, value, numbers, depth + 1):
                yield f"{outer}/{inner}", content


def _gzip(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    yield from _inner("gzip", _gunzip(data), numbers, depth)


def _gunzip(data: bytes) -> Iterator[bytes]:
    while data[:2] == b"\x1f\x8b":  # members may follow each other
        stream = zlib.decompressobj(31)
        while not stream.eof:
            chunk = stream.decompress(data, _CHUNK)
            data = stream.unconsumed_tail
            if not chunk and not data and not stream.eof:
                raise EOFError("the stream ends early")
            yield chunk
        data = stream.unused_data


def _zstd(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    yield from _inner("zstd", _unzstd(data), numbers, depth)


def _unzstd(data: bytes) -> Iterator[bytes]:
    while data[:4] == b"\x28\xb5\x2f\xfd":  # frames may follow each other
        stream = zstandard.ZstdDecompressor().decompressobj()
        start = 0
        while not stream.eof:
            if start >= len(data):
                raise EOFError("the stream ends early")
            yield stream.decompress(data[start : start + _CHUNK // 16])
            start += _CHUNK // 16
        data = stream.unused_data + data[start:]


def _zip(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                yield from _inner("zip", _reading(file.read), numbers, depth)


def _reading(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(_CHUNK):
        yield chunk


def _parquet(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    file = pq.ParquetFile(pa.BufferReader(data))
    for group in range(file.num_row_groups):
        for column in file.read_row_group(group, use_threads=False).columns:
            for part in column.chunks:
                yield from _column("parquet", part, numbers, depth)


def _arrow(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    reader = pa.ipc.open_file(pa.BufferReader(data))
    for number in range(reader.num_record_batches):
        for column in reader.get_batch(number).columns:
            yield from _column("arrow", column, numbers, depth)


def _column(outer: str, values: Any, numbers: bool, depth: int) -> Iterator[Content]:
    kind_ = values.type
    if pa.types.is_dictionary(kind_):
        yield from _column(outer, values.dictionary, numbers, depth)
    elif pa.types.is_struct(kind_):
        for field in values.flatten():
            yield from _column(outer, field, numbers, depth)
    elif pa.types.is_map(kind_):
        yield from _column(outer, values.keys, numbers, depth)
        yield from _column(outer, values.items, numbers, depth)
    elif pa.types.is_nested(kind_):
        yield from _column(outer, values.flatten(), numbers, depth)
    elif _is_text(kind_):
        yield outer, [_lines(values)]
        if not (pa.types.is_string(kind_) or pa.types.is_large_string(kind_)):
            yield from _values(outer, (v for v in values.cast(pa.large_binary()).to_pylist() if v), numbers, depth)
    elif numbers and (pa.types.is_integer(kind_) or pa.types.is_decimal(kind_)):
        yield outer, [_lines(values.cast(pa.string()))]


def _is_text(kind_: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    more = (pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind_) for test in (*tests, *more))


def _lines(values: Any) -> bytes:
    """The values with a line end between them, so that no match spans two of them."""
    present = values.drop_null().cast(pa.large_binary())
    if not len(present):
        return b""
    rows = pa.LargeListArray.from_arrays(pa.array([0, len(present)], pa.int64()), present)
    joined: bytes = pc.binary_join(rows, pa.scalar(b"\n", pa.large_binary()))[0].as_py()
    return joined


def _npy(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error):  # pickled strings are plain UTF-8, which the file's own bytes contain
            return
        raise
    yield from _array(values, numbers)


def _array(values: np.ndarray[Any, Any], numbers: bool) -> Iterator[Content]:
    if values.dtype.names:
        for name in values.dtype.names:
            yield from _array(values[name], numbers)
    elif values.dtype.kind == "U" or (numbers and values.dtype.kind in "iu"):
        yield "npy", ["\n".join(map(str, values.ravel().tolist())).encode("utf-8", "surrogatepass")]


def _database(path: Path) -> sqlite3.Connection:
    # The rows of a write-ahead log are read too; without one, SQLite must not create files next to the database.
    log = path.with_name(path.name + "-wal")
    options = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True)


def _sqlite_bytes(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    connection = sqlite3.connect(":memory:")
    # An in-memory database has no write-ahead log; bytes 18 and 19 of the header state whether it uses one.
    connection.deserialize(data[:18] + b"\x01\x01" + data[20:])
    return _sqlite(connection, numbers, depth)


def _sqlite(connection: sqlite3.Connection, numbers: bool, depth: int) -> Iterator[Content]:
    try:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall()
        for (name,) in tables:
            quoted = name.decode().replace('"', '""')
            rows = connection.execute(f'SELECT * FROM "{quoted}"')
            while batch := rows.fetchmany(5_000):
                values = [value for row in batch for value in row]
                yield "sqlite", [b"\n".join(_bytes(values, numbers))]
                yield from _values("sqlite", (v for v in values if isinstance(v, bytes)), numbers, depth)
    finally:
        connection.close()


def _bytes(values: Iterable[Any], numbers: bool) -> Iterator[bytes]:
    for value in values:
        if isinstance(value, bytes):
            yield value
        elif numbers and isinstance(value, int):
            yield str(value).encode()


def _lmdb(data: bytes, numbers: bool, depth: int) -> Iterator[Content]:
    """Values that are containers; all other values appear unchanged in the file's own bytes."""
    yield from _values("lmdb", lmdb_values(data), numbers, depth)


_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\x93NUMPY", "npy"),
    (b"SQLite format 3\0", "sqlite"),
    (b"PK\x03\x04", "zip"),
)
_READERS: dict[str, Callable[[bytes, bool, int], Iterator[Content]]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "parquet": _parquet,
    "arrow": _arrow,
    "npy": _npy,
    "sqlite": _sqlite_bytes,
    "lmdb": _lmdb,
    "zip": _zip,
}
