"""Blocks of complete lines, a few megabytes each, with their line numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

#: A longer line is refused and not held in memory.
LINE_LIMIT = 16 * 1024 * 1024
_KEPT = 64 * 1024
#: Bytes compared at a time, so that the answers stay in the processor's cache.
_COMPARED = 256 * 1024

#: Given the bytes so far, where the last whole record ends (0: nowhere yet).
Cut = Callable[[bytes], int]


class LineBlock(NamedTuple):
    """Lines `first` to `first + lines - 1` (from 1). Only the last line of a file may lack its line end."""

    data: bytes
    first: int
    lines: int
    #: `data` is only the beginning of one line that is longer than `LINE_LIMIT`.
    too_long: bool = False


def count_byte(data: bytes, byte: int) -> int:
    """How often a byte occurs; several times faster than `bytes.count` where it occurs often."""
    array = np.frombuffer(data, np.uint8)
    return sum(int(np.count_nonzero(array[at : at + _COMPARED] == byte)) for at in range(0, array.size, _COMPARED))


def after_line(data: bytes) -> int:
    """Behind the last line end."""
    return data.rfind(b"\n") + 1


def after_record(data: bytes) -> int:
    """Behind the last line end that does not lie between quotes (RFC 4180)."""
    if b'"' not in data:
        return after_line(data)
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10)
    outside = ends[np.searchsorted(np.flatnonzero(array == 34), ends) % 2 == 0]
    if outside.size:
        return int(outside[-1]) + 1
    return after_line(data) if len(data) > LINE_LIMIT else 0  # a quote was never closed: the parser says which line


class LineReader:
    """Cuts pieces of content into blocks, and says how many lines and bytes they were.

    What follows the last line end is given out as a line of its own where `take_tail` says so, and left otherwise
    (`waiting`).
    """

    def __init__(self, pieces: Iterable[bytes], cut: Cut, *, first: int = 1, take_tail: bool = True) -> None:
        self._pieces, self._cut, self._take_tail = pieces, cut, take_tail
        self.lines = first - 1
        self.bytes = 0
        self.waiting = False
        self.open_end = False

    def __iter__(self) -> Iterator[LineBlock]:
        rest = b""
        skipping = False
        for piece in self._pieces:
            if not skipping and b'"' not in rest and (end := self._cut(piece)):  # no quote is open: one copy, not two
                yield self._block(b"".join((rest, memoryview(piece)[:end])))
                rest = piece[end:]
                continue
            data = rest + piece if rest else piece
            if skipping:
                end = data.find(b"\n") + 1
                self.bytes += end or len(data)
                skipping, data = not end, data[end:] if end else b""
                self.lines += 1 if end else 0
            if len(data) > LINE_LIMIT and b"\n" not in data:
                yield LineBlock(data[:_KEPT], self.lines + 1, 1, too_long=True)
                self.bytes += len(data)
                rest, skipping = b"", True
                continue
            end = self._cut(data)
            if end:
                yield self._block(data[:end])
            rest = data[end:]
        if skipping:
            self.lines += 1
            self.open_end = True
        if rest:
            yield from self._last(rest)

    def _last(self, rest: bytes) -> Iterator[LineBlock]:
        """The end of the content: whole lines that no record closed, and perhaps a line without its end."""
        end = len(rest) if self._take_tail else after_line(rest)
        self.waiting = end < len(rest)
        self.open_end = bool(end) and not rest[:end].endswith(b"\n")
        if end:
            yield self._block(rest[:end])

    def _block(self, data: bytes) -> LineBlock:
        first = self.lines + 1
        count = count_byte(data, 10) + (not data.endswith(b"\n"))
        self.lines += count
        self.bytes += len(data)
        return LineBlock(data, first, count)
