"""Check of a FAISS index file without FAISS, whose reader trusts the sizes and ids of a file.

Only the two kinds that `FaissSearch` writes are accepted: flat, and inverted lists of float32 vectors. Every byte
besides the vectors and ids must be the one that FAISS would write for their numbers, and each id must occur once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

#: The first four bytes by metric: inner product (0) and L2 distance (1).
_FLAT = {b"IxFI": 0, b"IxF2": 1}
_LISTS = b"IwFl"
_HEADER = struct.Struct("<4siqqqBi")
_MOST_WIDTH, _UNUSED = 1 << 16, 1 << 20


def faiss_refusal_reason(file: Path, count: int) -> str | None:
    """Why FAISS must not read the index in `file`, which has `count` vectors; `None` if it may."""
    try:
        with file.open("rb") as raw, mmap(raw.fileno(), 0, access=ACCESS_READ) as data:
            reason = next(_problems(_Bytes(data), count), None)
    except (struct.error, ValueError):  # `mmap` refuses an empty file
        return "it is truncated"
    return reason


class _Bytes:
    """The bytes of a file from front to back."""

    def __init__(self, data: mmap) -> None:
        self._data, self.place = data, 0

    def values(self, kind: str) -> tuple[Any, ...]:
        """Little-endian values of these types, as in `struct`."""
        kind = f"<{kind}"
        found = struct.unpack_from(kind, self._data, self.place)
        self.place += struct.calcsize(kind)
        return found

    def array(self, dtype: str, n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The next `n` numbers, copied."""
        if n < 0 or n * 8 > self.rest:
            raise ValueError
        found = np.frombuffer(self._data, dtype, n, self.place).copy()
        self.place += found.nbytes
        return found

    @property
    def rest(self) -> int:
        """The number of bytes that follow."""
        return len(self._data) - self.place


def _problems(data: _Bytes, count: int) -> Iterator[str]:
    kind, width, total, *fixed, metric = data.values(_HEADER.format[1:])
    if kind not in (*_FLAT, _LISTS):
        yield f"it starts with {kind!r}, which is not an index that this back-end writes"
    if fixed != [_UNUSED, _UNUSED, 1] or metric not in (0, 1) or not 0 < width <= _MOST_WIDTH:
        yield "its header is not one that FAISS writes"
    if total != count:
        yield f"it has {total} vectors, but was written with {count}"
    if kind in _FLAT:
        yield from _vectors(data, kind, metric, total * width)
    else:
        yield from _inverted_lists(data, width, total, metric)
    if data.rest:
        yield f"{data.rest:,} bytes follow its end"


def _vectors(data: _Bytes, kind: bytes, metric: int, numbers: int) -> Iterator[str]:
    (stated,) = data.values("Q")
    if stated != numbers or 4 * numbers > data.rest or _FLAT.get(kind) != metric:
        yield "its vectors do not match its header"
    data.place += 4 * numbers


def _inverted_lists(data: _Bytes, width: int, total: int, metric: int) -> Iterator[str]:
    lists, probes = data.values("QQ")
    kind, cell_width, cells, *fixed, cell_metric = data.values(_HEADER.format[1:])
    same = (cell_width, cells, cell_metric, fixed) == (width, lists, metric, [_UNUSED, _UNUSED, 1])
    if not same or kind not in _FLAT or not lists:
        yield "the index of its cells does not match its header"
    if not 1 <= probes <= lists:
        yield f"it probes {probes:,} of {lists:,} cells"
    yield from _vectors(data, kind, metric, lists * width)
    if data.values("BQ4sQQ") != (0, 0, b"ilar", lists, 4 * width):
        yield "its lists do not match its header"
    (form, stated), sizes = data.values("4sQ"), np.zeros(min(lists, data.rest // 8), np.int64)
    if form == b"full" and stated == lists:
        sizes = data.array("<i8", lists)
    elif form == b"sprs" and stated % 2 == 0 and stated <= 2 * lists == 2 * len(sizes):
        places, filled = data.array("<i8", stated).reshape(-1, 2).T
        if len(places) and (places[0] < 0 or places[-1] >= lists or (np.diff(places) <= 0).any()):
            yield "its lists are not in order"
        sizes[places] = filled
    else:
        yield "its lists are of an unknown form"
    if (sizes < 0).any() or (sizes > total).any() or sizes.sum() != total or total * (4 * width + 8) != data.rest:
        yield "the sizes of its lists do not match its number of vectors"
    yield from _ids(data, width, total, sizes[sizes > 0].tolist())


def _ids(data: _Bytes, width: int, total: int, sizes: list[int]) -> Iterator[str]:
    seen = np.zeros(total, np.bool_)
    for size in sizes:
        data.place += 4 * width * size
        ids = data.array("<i8", size)
        if ids.min() < 0 or ids.max() >= total:
            yield "an id is out of bounds"
        seen[ids] = True
    if not seen.all():
        yield "an id is missing"
