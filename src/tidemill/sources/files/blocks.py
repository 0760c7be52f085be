"""Blocks of complete lines, a few megabytes each, with their line numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

#: A longer line is refused and not kept in memory.
LINE_LIMIT = 16 * 1024 * 1024
_KEPT = 64 * 1024
#: Bytes compared at a time, so that the result fits the CPU cache.
_COMPARED = 256 * 1024

#: Bytes so far -> the end of the last complete record (0: none yet).
Cut = Callable[[bytes], int]


class LineBlock(NamedTuple):
    """Lines `first` to `first + lines - 1` (from 1). Only the last line of a file may lack a line end."""

    data: bytes
    first: int
    lines: int
    #: `data` is only the beginning of one line that is longer than `LINE_LIMIT`.
    too_long: bool = False


def count_byte(data: bytes, byte: int) -> int:
    """The number of occurrences of a byte; several times faster than `bytes.count` for a frequent byte."""
    array = np.frombuffer(data, np.uint8)
    return sum(int(np.count_nonzero(array[at : at + _COMPARED] == byte)) for at in range(0, array.size, _COMPARED))


def after_line(data: bytes) -> int:
    """The offset after the last line end."""
    return data.rfind(b"\n") + 1


def after_record(data: bytes) -> int:
    """The offset after the last line end outside quotes (RFC 4180)."""
    if b'"' not in data:
        return after_line(data)
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10)
    outside = ends[np.searchsorted(np.flatnonzero(array == 34), ends) % 2 == 0]
    if outside.size:
        return int(outside[-1]) + 1
    return after_line(data) if len(data) > LINE_LIMIT else 0  # an unclosed quote: the parser reports the line


class LineReader:
    """Splits pieces of content into blocks, and counts their lines and bytes.

    With `take_tail`, the bytes after the last line end are the last line; otherwise they are left (`waiting`).
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
            if not skipping and b'"' not in rest and (end := self._cut(piece)):  # no open quote: one copy, not two
                yield from self._blocks(b"".join((rest, memoryview(piece)[:end])))
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
                yield from self._blocks(data[:end])
            rest = data[end:]
        if skipping:
            self.lines += 1
            self.open_end = True
        if rest:
            yield from self._last(rest)

    def _last(self, rest: bytes) -> Iterator[LineBlock]:
        """The rest of the content: lines of an incomplete record, and possibly a line without a line end."""
        end = len(rest) if self._take_tail else after_line(rest)
        self.waiting = end < len(rest)
        self.open_end = bool(end) and not rest[:end].endswith(b"\n")
        if end:
            yield from self._blocks(rest[:end])

    def _blocks(self, data: bytes) -> Iterator[LineBlock]:
        """The lines of `data` as one block, or as several around each line that is too long."""
        begin = end = 0
        while len(data) > LINE_LIMIT and end < len(data):
            start, end = end, data.find(b"\n", end) + 1 or len(data)
            if end - start > LINE_LIMIT:
                if start > begin:
                    yield self._block(data[begin:start])
                long = self._block(data[start:end])
                yield long._replace(data=long.data[:_KEPT], too_long=True)
                begin = end
        if begin < len(data):
            yield self._block(data[begin:])

    def _block(self, data: bytes) -> LineBlock:
        first = self.lines + 1
        count = count_byte(data, 10) + (not data.endswith(b"\n"))
        self.lines += count
        self.bytes += len(data)
        return LineBlock(data, first, count)
