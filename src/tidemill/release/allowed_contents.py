"""Allowed contents of a bundle: an allow-list by file content, so that a pickle is refused under any name.

All formats can be read without running code: NumPy arrays of plain numbers and strings, JSON, Arrow files without
extension types, FAISS indexes, LightGBM trees as text, ONNX graphs of known operators, and, in a release's rule
modules, Python source. For arrays only the headers are checked here; the manifest's hashes cover the rest.
"""

from __future__ import annotations

import ast
import math
import struct
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.models.formats import lightgbm_text_check, onnx_check

Holds = Literal["bundle", "modules"]

_NPY_HEADER_BYTES = 10_000
_JSON_BYTES = 512 * 1024 * 1024
_MODULE_BYTES = 1024 * 1024
#: The first four bytes of a FAISS index: flat, scalar-quantised and product-quantised, with and without IVF.
_FAISS = {
    b"IxFI",
    b"IxF2",
    b"IxFl",
    b"IxSQ",
    b"IxPq",
    b"IwFl",
    b"IwSq",
    b"IwSQ",
    b"IwPQ",
    b"IxMp",
    b"IxM2",
    b"IxPT",
    b"IxRF",
}


def refusal_reason(path: Path, name: str, holds: Holds) -> str | None:
    """Why the file at `path`, named `name` in the bundle, is not allowed; `None` if it is allowed.

    `holds` selects the allow-list: the files of a `bundle`, or the `modules` of a release's custom rules.
    """
    with path.open("rb") as file:
        if _is_pickle(file, path.stat().st_size):
            return "it is a pickle, which runs code when it is read"
        check = _FORMATS[holds].get(PurePosixPath(name).suffix)
        if check is None:
            return f"only {', '.join(sorted(_FORMATS[holds]))} files are allowed"
        return check(file, path)


def _is_pickle(file: BinaryIO, size: int) -> bool:
    start = file.read(2)
    file.seek(max(size - 1, 0))
    end = file.read(1)
    file.seek(0)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5 and end == b"."


def _npy(file: BinaryIO, path: Path) -> str | None:
    if file.read(6) != b"\x93NUMPY":
        return "it is not a NumPy array"
    version = file.read(2)
    width = {b"\x01\x00": 2, b"\x02\x00": 4}.get(version)
    raw = file.read(width or 0)
    if width is None or len(raw) != width:
        return "it is a NumPy array of an unknown format version"
    length = struct.unpack("<H" if width == 2 else "<I", raw)[0]
    if length > _NPY_HEADER_BYTES:
        return f"its header has {length:,} bytes; the limit is {_NPY_HEADER_BYTES:,}"
    try:
        header = ast.literal_eval(file.read(length).decode("latin1"))
        dtype, shape = np.dtype(header["descr"]), tuple(int(n) for n in header["shape"])
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError):
        return "its header is not a valid NumPy header"
    if dtype.hasobject:
        return "it has Python objects, which NumPy stores as a pickle"
    if any(n < 0 for n in shape) or file.tell() + math.prod(shape) * dtype.itemsize != path.stat().st_size:
        return f"its size does not match its header ({dtype} of shape {shape})"
    return None


def _json(file: BinaryIO, path: Path) -> str | None:
    if path.stat().st_size > _JSON_BYTES:
        return f"it is larger than {_JSON_BYTES:,} bytes"
    data = file.read()
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return "it is not valid JSON"
    return None


def _arrow(file: BinaryIO, path: Path) -> str | None:
    if file.read(8) != b"ARROW1\0\0":
        return "it is not an Arrow file"
    try:
        with pa.memory_map(str(path)) as source:
            schema = pa.ipc.open_file(source).schema
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return "it is not a valid Arrow file"
    extended = [field.name for field in schema if _has_extension(field)]
    return f"column {extended[0]!r} has an extension type, which may run code" if extended else None


def _has_extension(field: pa.Field) -> bool:
    return b"ARROW:extension:name" in (field.metadata or {}) or _is_extended(field.type)


def _is_extended(kind: pa.DataType) -> bool:
    """Whether a type is an extension, or holds one in its children or in the values of a dictionary."""
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _is_extended(kind.value_type)
    return any(_has_extension(kind.field(i)) for i in range(kind.num_fields))


def _faiss(file: BinaryIO, path: Path) -> str | None:
    magic = file.read(4)
    return None if magic in _FAISS else f"it starts with {magic!r}, which is not a known FAISS index"


def _trees(file: BinaryIO, path: Path) -> str | None:
    return lightgbm_text_check.lightgbm_refusal_reason(file.read(lightgbm_text_check.MOST_BYTES + 1))


def _graph(file: BinaryIO, path: Path) -> str | None:
    return onnx_check.onnx_refusal_reason(file.read(onnx_check.MOST_BYTES + 1))


def _module(file: BinaryIO, path: Path) -> str | None:
    if path.stat().st_size > _MODULE_BYTES:
        return f"it is larger than {_MODULE_BYTES:,} bytes"
    try:
        ast.parse(file.read().decode())
    except (UnicodeDecodeError, SyntaxError, ValueError, RecursionError, MemoryError):
        return "it is not valid Python source"
    return None


_FORMATS: dict[Holds, dict[str, Callable[[BinaryIO, Path], str | None]]] = {
    "bundle": {".npy": _npy, ".json": _json, ".arrow": _arrow, ".faiss": _faiss, ".txt": _trees, ".onnx": _graph},
    "modules": {".py": _module},
}
