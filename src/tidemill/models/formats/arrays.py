"""Arrays of a bundle: `.npy` files without pickles, opened by memory map."""

from __future__ import annotations

import math
import re
import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import BundleCorrupt, BundleRefused

_MOST_HEADER = 10_000
_OBJECTS = "it contains Python objects, which NumPy stores as a pickle"
#: Format version -> the bytes of the header's length.
_LENGTHS = {b"\x01\x00": (2, "<H"), b"\x02\x00": (4, "<I")}
_HEADER = re.compile(
    r"\{'descr': '(?P<descr>\|b1|\|[iu]1|<[iuf][248]|<[mM]8\[(?:[YMWDhms]|[mun]s)\])', "
    r"'fortran_order': (?P<order>True|False), 'shape': \((?P<shape>|\d{1,18},|\d{1,18}(, \d{1,18}){1,31})\), \} *\n",
    re.ASCII,
)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one array; arrays of objects are refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def rows_at(array: npt.NDArray[Any], places: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """The rows at these indices, in their order; a row of zeros for index -1."""
    rows = np.zeros((len(places), *array.shape[1:]), array.dtype)
    rows[places >= 0] = array[places[places >= 0]]
    return rows


def open_array(
    path: Path, dtype: npt.DTypeLike | None = None, shape: tuple[int | None, ...] | None = None
) -> npt.NDArray[Any]:
    """Open one array memory-mapped and read-only, of this type and shape if given; a length of `None` is any.

    Raises `BundleCorrupt` if it is missing, its size is wrong, or it is not an array of plain numbers, and
    `BundleRefused` if it contains objects.
    """
    try:
        with path.open("rb") as file:
            raw = mmap(file.fileno(), 0, access=ACCESS_READ)
        header = array_header(raw[:_MOST_HEADER], len(raw))
        numbers: npt.NDArray[Any] = np.frombuffer(raw, header.dtype, math.prod(header.shape), header.offset)
        array = numbers.reshape(header.shape, order="F" if header.by_column else "C")
    except (OSError, ValueError) as problem:
        error = BundleRefused if str(problem) == _OBJECTS else BundleCorrupt
        raise error(f"{path} cannot be opened as an array: {problem}") from problem
    if dtype is not None and array.dtype != dtype:
        raise BundleCorrupt(f"{path} has numbers of type {array.dtype}; expected {np.dtype(dtype)}")
    if shape is not None:
        fits = [n in (None, found) for n, found in zip(shape, array.shape, strict=False)]
        if array.ndim != len(shape) or not all(fits):
            raise BundleCorrupt(f"{path} has the shape {array.shape}; expected {shape}")
    return array


class ArrayHeader(NamedTuple):
    """The header of an array file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    #: Whether the first index varies fastest.
    by_column: bool
    #: Number of bytes before the numbers.
    offset: int


def array_header(start: bytes, size: int) -> ArrayHeader:
    """The header of an array file of `size` bytes that begins with `start`; `ValueError` with the reason if refused.

    Only what NumPy itself writes for plain numbers and times is accepted, so that no other reader can find
    another type, another shape, or objects, which would be pickles.
    """
    if start[:6] != b"\x93NUMPY":
        raise ValueError("it is not a NumPy array")
    if start[6:8] not in _LENGTHS or len(start) < 12:
        raise ValueError("it is a NumPy array of an unknown format version")
    width, form = _LENGTHS[start[6:8]]
    length, offset = struct.unpack_from(form, start, 8)[0], 8 + width
    if length > _MOST_HEADER - offset:
        raise ValueError(f"its header has {length:,} bytes; the limit is {_MOST_HEADER - offset:,}")
    found = _HEADER.fullmatch(start[offset : offset + length].decode("latin1"))
    if b"|O'" in start[: offset + length]:
        raise ValueError(_OBJECTS)
    if found is None or (offset + length) % 16 or len(start) < offset + length:
        raise ValueError("its header is not a valid NumPy header of plain numbers")
    shape = tuple(int(one) for one in re.findall(r"\d+", found["shape"]))
    header = ArrayHeader(np.dtype(found["descr"]), shape, found["order"] == "True", offset + length)
    if header.offset + math.prod(shape) * header.dtype.itemsize != size or not header.dtype.itemsize:
        raise ValueError(f"its size does not match its header ({header.dtype} of shape {shape})")
    return header
