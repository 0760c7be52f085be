"""LMDB pages: every value in the pages of a file, including deleted entries (format 1 of LMDB 0.9, `mdb.c`).

The pages are parsed here because an environment cannot be opened twice in one process, and because a cursor does not
return the content of freed pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LEAF, _FIXED_SIZE_KEYS, _ON_OVERFLOW_PAGES = 0x02, 0x20, 0x01
_HEADER = 16


def lmdb_values(data: bytes) -> Iterator[bytes]:
    """The values of all leaf pages; `ValueError` or `struct.error` where the file is corrupt or not an LMDB file."""
    (size,) = struct.unpack_from("<I", data, 40)
    if size not in {1 << power for power in range(9, 17)}:
        raise ValueError(f"the page size is {size}")
    for page in range(0, len(data) - size + 1, size):
        flags, lower = struct.unpack_from("<HH", data, page + 10)
        if flags & _LEAF and not flags & _FIXED_SIZE_KEYS:
            for slot in range(page + _HEADER, min(page + lower, page + size), 2):
                yield _value(data, size, page + struct.unpack_from("<H", data, slot)[0])


def _value(data: bytes, page_size: int, node: int) -> bytes:
    if node + 8 > len(data):  # an overflow page that looks like a leaf
        return b""
    low, high, flags, key_size = struct.unpack_from("<HHHH", data, node)
    size, start = low | high << 16, node + 8 + key_size
    if flags & _ON_OVERFLOW_PAGES and start + 8 <= len(data):
        start = struct.unpack_from("<Q", data, start)[0] * page_size + _HEADER
    return data[start : start + size]
