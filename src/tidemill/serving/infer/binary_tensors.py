"""Binary tensors after the JSON header: the binary tensor data extension of the Open Inference Protocol.

The header `Inference-Header-Content-Length` gives the length of the JSON. Numbers are little-endian and row-major; a
text is its length in four bytes and then its UTF-8 (Triton's `extension_binary_data.md`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tidemill.core.errors import BadRequest

HEADER = "inference-header-content-length"
_NUMPY = {
    "FP64": "<f8", "FP32": "<f4", "FP16": "<f2",
    "INT64": "<i8", "INT32": "<i4", "INT16": "<i2", "INT8": "<i1",
    "UINT64": "<u8", "UINT32": "<u4", "UINT16": "<u2", "UINT8": "<u1",
}  # fmt: skip
_LENGTH = struct.Struct("<I")


def split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a request and the bytes behind it."""
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
        raise BadRequest("Inference-Header-Content-Length is no number")
    end = int(header_length)
    if not 0 < end <= len(body):
        raise BadRequest(
            "Inference-Header-Content-Length does not lie within the body", tip="it is the length of the JSON in bytes"
        )
    return body[:end], memoryview(body)[end:]


def values(data: memoryview, datatype: str, name: str) -> list[Any]:
    """The values of one tensor's bytes as Python's own; NaN stays NaN."""
    if datatype == "BYTES":
        return _texts(data, name)
    if datatype == "BOOL":
        if any(byte > 1 for byte in data):
            raise BadRequest(f"the tensor {name}: a BOOL is a byte 0 or 1")
        return [byte == 1 for byte in data]
    kind = np.dtype(_NUMPY[datatype])
    if len(data) % kind.itemsize:
        raise BadRequest(f"the tensor {name}: its {len(data)} bytes are no whole number of {datatype} values")
    found: list[Any] = np.frombuffer(data, kind).tolist()
    return found


def _texts(data: memoryview, name: str) -> list[str]:
    found, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise BadRequest(f"the tensor {name}: its bytes end within the length of a text")
        (size,) = _LENGTH.unpack_from(data, at)
        at += 4
        if at + size > len(data):
            raise BadRequest(f"the tensor {name}: its bytes end within a text")
        try:
            found.append(str(data[at : at + size], "utf-8"))
        except UnicodeDecodeError:
            raise BadRequest(f"the tensor {name}: row {len(found)} is no UTF-8") from None
        at += size
    return found


def content(values: Sequence[Any], datatype: str) -> bytes:
    """An output's values as bytes: `FP64` of numbers, `BYTES` of texts."""
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(_LENGTH.pack(len(one)) + one for one in encoded)
    return np.asarray(values, "<f8").tobytes()
