"""Binary tensors after the JSON header: the binary tensor data extension of the Open Inference Protocol.

The header `Inference-Header-Content-Length` is the length of the JSON. Numbers are little-endian and row-major; a
string is its length in four bytes, then its UTF-8 (Triton's `extension_binary_data.md`).
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
    """The JSON of a request and the bytes after it."""
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
        raise BadRequest("Inference-Header-Content-Length is not a number")
    end = int(header_length)
    if not 0 < end <= len(body):
        raise BadRequest(
            "Inference-Header-Content-Length is outside the body", tip="it is the length of the JSON in bytes"
        )
    return body[:end], memoryview(body)[end:]


def values(data: memoryview, datatype: str, name: str) -> list[Any]:
    """The values of a binary tensor as Python values; NaN stays NaN."""
    if datatype == "BYTES":
        return _texts(data, name)
    if datatype == "BOOL":
        if any(byte > 1 for byte in data):
            raise BadRequest(f"the tensor {name}: a BOOL must be a byte 0 or 1")
        return [byte == 1 for byte in data]
    kind = np.dtype(_NUMPY[datatype])
    if len(data) % kind.itemsize:
        raise BadRequest(f"the tensor {name}: {len(data)} bytes are not a multiple of the {datatype} size")
    decoded: list[Any] = np.frombuffer(data, kind).tolist()
    return decoded


def _texts(data: memoryview, name: str) -> list[str]:
    texts, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise BadRequest(f"the tensor {name}: its bytes end inside the length of a text")
        (size,) = _LENGTH.unpack_from(data, at)
        at += 4
        if at + size > len(data):
            raise BadRequest(f"the tensor {name}: its bytes end inside a text")
        try:
            texts.append(str(data[at : at + size], "utf-8"))
        except UnicodeDecodeError:
            raise BadRequest(f"the tensor {name}: row {len(texts)} is not valid UTF-8") from None
        at += size
    return texts


def content(values: Sequence[Any], datatype: str) -> bytes:
    """An output's values as bytes: `FP64` for numbers, `BYTES` for strings."""
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)
    return np.asarray(values, "<f8").tobytes()
