"""Allowed contents of a bundle: an allow-list by file content, so that a pickle is refused under any name.

All formats can be read without running code: NumPy arrays of plain numbers, JSON, Arrow files of plain
types, FAISS indexes, LightGBM trees as text, ONNX graphs of known operators, and, in a release's rule
modules, Python source. For arrays only the headers are checked here; the manifest's hashes cover the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import msgspec

from tidemill.core.errors import BundleCorrupt
from tidemill.models.formats import arrays, lightgbm_text_check, onnx_check
from tidemill.models.formats.arrow_tables import read_arrow

Holds = Literal["bundle", "modules"]

_JSON_BYTES = 512 * 1024 * 1024
_MODULE_BYTES = 1024 * 1024
#: The first four bytes of a FAISS index: flat by inner product or distance, and inverted lists. The back-end checks the
#: rest before FAISS reads it.
_FAISS = {b"IxFI", b"IxF2", b"IwFl"}


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
    try:
        arrays.array_header(file.read(10_000), path.stat().st_size)
    except ValueError as problem:
        return str(problem)
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
    try:
        read_arrow(path)
    except BundleCorrupt as problem:
        return problem.message
    return None


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
