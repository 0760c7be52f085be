"""Multi-pattern search: very many byte strings in one pass over the text.

Every eight bytes of the text are looked up in a table of the patterns' first eight bytes (a Bloom filter with one hash,
vectorised: about ten nanoseconds a byte for a million patterns). Only on a hit is the whole pattern compared, by its
64-bit hash. Patterns of fewer than eight bytes match only as whole words, digits only as whole numbers, and fewer than
sixteen hex digits not inside longer hex: otherwise every checksum would match short ids.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

_WINDOW = 8
_CHUNK = 1 << 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio (Knuth, TAOCP 3, 6.4)
_NUMBER = re.compile(rb"[0-9]+\Z")
_SHORT_HEX = re.compile(rb"(?:[0-9a-f]{1,15}|[0-9A-F]{1,15})\Z")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_DIGITS = frozenset(b"0123456789")

U64 = NDArray[np.uint64]


class _BloomFilter:
    """A Bloom filter with one hash: which of many 64-bit values may be among the known ones."""

    def __init__(self, known: U64) -> None:
        bits = max(16, int(len(known) * 16).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[(known * _MULTIPLIER) >> self._shift] = True

    def maybe(self, values: U64) -> NDArray[np.intp]:
        """Positions of the values that may be known; a sixteenth of the others are false positives."""
        return np.flatnonzero(self._table[(values * _MULTIPLIER) >> self._shift])


class PatternSearch:
    """Byte strings labelled with their form, indexed for the search."""

    def __init__(self, patterns: Iterable[tuple[str, bytes]]) -> None:
        self._forms: list[str] = []
        self._short: dict[int, dict[int, int]] = defaultdict(dict)
        self._longest = 1
        keys, lengths, hashes, codes = array("Q"), array("Q"), array("q"), array("B")
        code_of: dict[str, int] = {}
        for form, pattern in patterns:
            code = code_of.setdefault(form, len(code_of))
            size = len(pattern)
            self._longest = max(self._longest, size)
            if size < _WINDOW:
                if size:
                    self._short[size].setdefault(int.from_bytes(pattern, "little"), code)
                continue
            keys.append(int.from_bytes(pattern[:_WINDOW], "little"))
            lengths.append(size)
            hashes.append(hash(pattern))
            codes.append(code)
        self._forms = list(code_of)
        self._index(_u64(keys), _u64(lengths), np.asarray(hashes, np.int64), np.asarray(codes, np.uint8))
        self._word = np.zeros(256, bool)
        self._word[[*_DIGITS, *b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = True

    def _index(self, keys: U64, lengths: U64, hashes: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._codes = hashes[order], codes[order]
        pairs = np.unique(np.stack([keys, lengths], axis=1), axis=0) if len(keys) else _NO_PAIRS
        self._keys, first = np.unique(pairs[:, 0], return_index=True)  # sorted first eight bytes of long patterns
        self._first = np.append(first, len(pairs))
        self._lengths: list[int] = pairs[:, 1].tolist()
        self._filter = _BloomFilter(self._keys)
        self._short_filters = {size: _BloomFilter(_u64(array("Q", known))) for size, known in self._short.items()}

    def found(self, chunks: Iterable[bytes]) -> set[str]:
        """The forms of the patterns that occur in the concatenation of `chunks`."""
        found: set[str] = set()
        margin = self._longest + 1
        text, start = b"", 0  # `start` is 1 once the byte before the first new position is available
        for chunk in _cut(chunks):
            text += chunk
            stop = len(text) - margin
            if stop > start:
                self._search(text, start, stop, found)
                text, start = text[stop - 1 :], 1
        self._search(text, start, len(text), found)
        return found

    def _search(self, text: bytes, start: int, stop: int, found: set[str]) -> None:
        padded = text + bytes(2 * _WINDOW)
        for offset in range(_WINDOW):
            windows: U64 = np.frombuffer(padded, "<u8", (len(text) + _WINDOW - offset) // _WINDOW, offset)
            if len(self._keys):
                self._search_long(text, windows, offset, start, stop, found)
            for size in self._short:
                self._search_short(text, windows, offset, start, stop, size, found)

    def _search_long(self, text: bytes, windows: U64, offset: int, start: int, stop: int, found: set[str]) -> None:
        maybe = self._filter.maybe(windows)
        at = np.searchsorted(self._keys, windows[maybe])
        at[at == len(self._keys)] = 0
        sure = self._keys[at] == windows[maybe]
        seen: list[tuple[int, int, int]] = []
        for position, key in zip((maybe[sure] * _WINDOW + offset).tolist(), at[sure].tolist(), strict=True):
            if start <= position < stop:
                sizes = self._lengths[self._first[key] : self._first[key + 1]]
                seen.extend((hash(text[position : position + size]), position, size) for size in sizes)
        if seen:
            self._compare(text, seen, found)

    def _compare(self, text: bytes, seen: list[tuple[int, int, int]], found: set[str]) -> None:
        hashes = np.fromiter((entry[0] for entry in seen), np.int64, len(seen))
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        for hit in np.flatnonzero(self._hashes[at] == hashes).tolist():
            _, position, size = seen[hit]
            if not _is_part(text, position, size):
                found.add(self._forms[self._codes[at[hit]]])

    def _search_short(
        self, text: bytes, windows: U64, offset: int, start: int, stop: int, size: int, found: set[str]
    ) -> None:
        known = self._short[size]
        mask = np.uint64((1 << (8 * size)) - 1)
        masked = windows & mask
        maybe = self._short_filters[size].maybe(masked)
        positions = maybe[np.isin(masked[maybe], _u64(array("Q", known)))] * _WINDOW + offset
        positions = positions[(positions >= start) & (positions < stop) & (positions + size <= len(text))]
        around = np.frombuffer(b" " + text + b" ", np.uint8)
        whole = ~self._word[around[positions]] & ~self._word[around[positions + 1 + size]]
        for position in positions[whole].tolist():
            found.add(self._forms[known[int.from_bytes(text[position : position + size], "little")]])


_NO_PAIRS: U64 = np.zeros((0, 2), np.uint64)


def _u64(values: array[int]) -> U64:
    return np.asarray(values, np.uint64)


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), _CHUNK):
            yield chunk[start : start + _CHUNK]


def _is_part(text: bytes, position: int, size: int) -> bool:
    """Whether digits are part of a longer number, or a few hex digits inside longer hex."""
    pattern = text[position : position + size]
    around = (text[position - 1] if position else 32, text[position + size] if position + size < len(text) else 32)
    if _NUMBER.match(pattern):
        return any(byte in _DIGITS for byte in around)
    return bool(_SHORT_HEX.match(pattern)) and all(byte in _HEX for byte in around)
