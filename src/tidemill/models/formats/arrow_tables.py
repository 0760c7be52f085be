"""Arrow files, read message by message and checked (https://arrow.apache.org/docs/format/Columnar.html, IPC).

The footer, which only repeats where the messages are, is not read, so it cannot say something else than they do. Types
that may run code, dictionaries and compression are refused, and every offset is checked before it is followed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa

from tidemill.core.errors import BundleCorrupt

_START = b"ARROW1\0\0"


def read_arrow(file: Path) -> pa.Table:
    """The table in an Arrow file, memory-mapped. Raises `BundleCorrupt` with the reason if it is refused."""
    try:
        with pa.memory_map(str(file)) as source:
            return checked_table(source.read_buffer())
    except (OSError, ValueError) as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem


def checked_table(raw: pa.Buffer) -> pa.Table:
    """The table in the bytes of an Arrow file; raises `ValueError` with the reason if it is refused."""
    if raw.size < len(_START) or raw[: len(_START)].to_pybytes() != _START:
        raise ValueError("it is not an Arrow file")
    try:
        messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(raw.slice(len(_START))))
        header = messages.read_next_message()
        if header.type != "schema":
            raise ValueError("it does not start with a schema")
        if b"ARROW:extension:" in header.metadata.to_pybytes():
            raise ValueError("it has an extension type, which may run code")
        schema = pa.ipc.read_schema(header)
        if len(set(schema.names)) != len(schema.names):
            raise ValueError("a column name occurs twice")
        batches = []
        while (message := _next(messages)) is not None:
            batches.append(pa.ipc.read_record_batch(message, schema))
        table = pa.Table.from_batches(batches, schema)
        table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError, StopIteration, struct.error) as problem:
        raise ValueError(f"it is not a valid Arrow file: {str(problem)[:200]}") from problem
    return table


def _next(messages: pa.ipc.MessageReader) -> pa.Message | None:
    """The next record batch, `None` at the end."""
    try:
        message = messages.read_next_message()
    except StopIteration:
        return None
    if message.type != "record batch":
        raise ValueError(f"it has a {message.type}, which is not supported")
    if _is_compressed(message.metadata.to_pybytes()):
        raise ValueError("it is compressed, so its size in memory is unknown")
    return message


def _is_compressed(metadata: bytes) -> bool:
    """Whether field 3 of the record batch, which is field 2 of the message, is present: FlatBuffers' tables."""
    batch = _field(metadata, *struct.unpack_from("<I", metadata, 0), number=2)
    if batch is None:
        raise ValueError("it has an empty message")
    return _field(metadata, batch + struct.unpack_from("<I", metadata, batch)[0], number=3) is not None


def _field(metadata: bytes, table: int, *, number: int) -> int | None:
    """The place of a field of the table at `table`; `None` if the field is missing."""
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", metadata, fields)[0]:
        return None
    place: int = struct.unpack_from("<H", metadata, fields + 4 + 2 * number)[0]
    return table + place if place else None
