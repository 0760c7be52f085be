"""LMDB page check: whether every page of an environment's trees is whole, before LMDB follows its pointers.

LMDB trusts its file: a pointer that leads out of it kills the process, and a changed one can lead to other rows. This
reads the B+ trees of the newest transaction in the format of LMDB 0.9, with a map of its own: pages within the file, of
the expected kind, used once; nodes within their pages, and as many as the tree has entries.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import CorruptFile

_HEADER = struct.Struct("<QHHHH")  # page number, padding, flags, lower, upper
_META = struct.Struct("<IIQQ")  # magic number, version, address, size of the map
_TREE = struct.Struct("<IHHQQQQQ")  # padding, flags, depth, pages of three kinds, entries, root
_TAIL = struct.Struct("<QQ")  # last page, transaction
_NODE_BYTES = 8  # of a node's header: size of the data in two parts, flags, size of the key, 16 bits each
_TREES = _HEADER.size + _META.size
_END = _TREES + 2 * _TREE.size
_MAGIC, _NO_PAGE = 0xBEEFC0DE, (1 << 64) - 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE, _KIND = 1, 2, 4, 8, 0x6F
_BIG, _SUBTREE = 1, 2
_INTEGER_KEYS, _DEEPEST = 0x08, 32
_LEAST_PAGE = 512
_AT_ONCE = 512  # pages
_Ints = NDArray[np.int64]


def check_pages(file: Path, transaction: int | None = None) -> None:
    """Raise `CorruptFile` if a tree of the file is damaged.

    While a read transaction is open, pass its number: its pages do not change. Without one, the newest is read.
    """
    size = file.stat().st_size
    if size < 2 * _LEAST_PAGE:
        raise CorruptFile(f"{file} was truncated to {size} bytes")
    with file.open("rb") as opened:
        for last in (False, False, False, True):
            check = _Check(file, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
            try:
                check.run(transaction)
                break
            except CorruptFile:
                # if another process has committed meanwhile, it may have used pages again that were being read
                if last or check.transactions() == check.seen:
                    raise


class _Nodes(NamedTuple):
    """The nodes of many pages: int64 arrays (n_nodes,), with places and sizes in bytes."""

    page_starts: _Ints
    values: _Ints
    sizes: _Ints
    flags: _Ints


class _Check:
    def __init__(self, file: Path, pages: mmap.mmap) -> None:
        self._file, self._pages = file, pages
        self._words = np.frombuffer(pages, "<u2", len(pages) // 2)
        self._used: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._last = 0
        #: The transactions of the meta pages when the check began.
        self.seen: list[int] = []
        #: The size of a page: the padding of the first tree's description.
        (self._page,) = struct.unpack_from("<I", pages, _TREES)
        if self._page not in (1 << bits for bits in range(9, 17)) or len(pages) < 2 * self._page:
            raise self._damaged("meta page 0 is not valid")

    def run(self, transaction: int | None) -> None:
        self.seen = self.transactions()
        metas = [self._meta(number) for number in (0, 1)]
        number_0, number_1 = (number for *_, number in metas)
        # transactions alternate between the two meta pages
        if abs(number_0 - number_1) > 1 or (number_0 and number_0 % 2) or (number_1 and not number_1 % 2):
            raise self._damaged("the numbers of its transactions do not follow each other")
        newest = int(number_1 > number_0) if transaction is None else transaction % 2
        trees, self._last, number = metas[newest]
        if transaction is not None and number != transaction:
            return  # another process has committed twice since: its own check applies
        if (self._last + 1) * self._page > len(self._pages):
            raise self._damaged(f"it was truncated to {len(self._pages)} bytes")
        self._used = np.zeros(self._last + 1, np.bool_)
        free, main = trees
        taken: list[int] = []
        self._tree(free, lambda value: taken.extend(_numbers(value)))
        self._tree(main)
        if any(not 1 < one <= self._last for one in taken) or len(set(taken)) < len(taken) or self._used[taken].any():
            raise self._damaged("its list of free pages is not valid")

    def transactions(self) -> list[int]:
        """The transactions of both meta pages now."""
        return [int(_TAIL.unpack_from(self._pages, number * self._page + _END)[1]) for number in (0, 1)]

    def _meta(self, number: int) -> tuple[tuple[bytes, bytes], int, int]:
        start = number * self._page
        page, _, flags, *_ = _HEADER.unpack_from(self._pages, start)
        magic, version, _, _ = _META.unpack_from(self._pages, start + _HEADER.size)
        if page != number or flags & _KIND != _META_PAGE or magic != _MAGIC or version != 1:
            raise self._damaged(f"meta page {number} is not valid")
        at = start + _TREES
        trees = self._pages[at : at + _TREE.size], self._pages[at + _TREE.size : at + 2 * _TREE.size]
        last, transaction = _TAIL.unpack_from(self._pages, start + _END)
        return trees, last, transaction

    def _tree(self, tree: bytes, take: Callable[[bytes], None] | None = None) -> None:
        """Check a tree, and the trees that are values in it; `take` gets every value."""
        _, flags, depth, _, _, _, entries, root = _TREE.unpack(tree)
        if root == _NO_PAGE:
            if entries or depth:
                raise self._damaged("a tree with entries has no root")
            return
        if flags & ~_INTEGER_KEYS or not 0 < depth < _DEEPEST:
            raise self._damaged("the description of a tree is not valid")
        level = np.array([root], np.uint64)
        for _ in range(1, depth):
            level = np.concatenate([self._children(level[at : at + _AT_ONCE]) for at in range(0, len(level), _AT_ONCE)])
        found = sum(self._leaves(level[at : at + _AT_ONCE], take) for at in range(0, len(level), _AT_ONCE))
        if found != entries:
            raise self._damaged(f"a tree has {found} entries of {entries}")

    def _children(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Check branch pages; returns the numbers of the pages below them."""
        nodes = self._nodes(numbers, _BRANCH)
        self._require(nodes.values <= self._page, nodes, "a node outside of it")
        return (nodes.sizes | nodes.flags << 32).astype(np.uint64)

    def _leaves(self, numbers: NDArray[np.uint64], take: Callable[[bytes], None] | None) -> int:
        """Check leaf pages; returns the number of their entries."""
        nodes = self._nodes(numbers, _LEAF)
        within = nodes.values + np.where(nodes.flags & _BIG, 8, nodes.sizes)
        is_whole = (within <= self._page) & (nodes.flags & ~(_BIG | _SUBTREE) == 0)
        self._require(is_whole, nodes, "a value outside of it")
        for one in range(len(nodes.flags)) if take else np.flatnonzero(nodes.flags).tolist():
            at = int(nodes.page_starts[one] + nodes.values[one])
            self._value(at, int(nodes.sizes[one]), int(nodes.flags[one]), take)
        return len(nodes.flags)

    def _nodes(self, numbers: NDArray[np.uint64], kind: int) -> _Nodes:
        """The nodes of pages of one kind, after checking their headers and places."""
        starts = self._claim(numbers, kind)
        lower, upper = (self._words[starts // 2 + at].astype(np.int64) for at in (6, 7))
        is_valid = (lower >= _HEADER.size) & (lower <= upper) & (upper <= self._page) & (lower % 2 == 0)
        if kind == _BRANCH:
            is_valid &= lower > _HEADER.size
        if not is_valid.all():
            raise self._damaged(f"page {numbers[~is_valid][0]} is not valid")
        counts = (lower - _HEADER.size) // 2
        of_page = np.repeat(np.arange(len(starts)), counts)
        nth = np.arange(len(of_page)) - np.repeat(np.cumsum(counts) - counts, counts)
        page_starts = starts[of_page]
        places = self._words[(page_starts + _HEADER.size) // 2 + nth].astype(np.int64)
        is_inside = (places >= upper[of_page]) & (places <= self._page - _NODE_BYTES) & (places % 2 == 0)
        if not is_inside.all():
            raise self._damaged(f"page {numbers[of_page[~is_inside]][0]} has a node outside of it")
        at = (page_starts + places) // 2
        low, high, flags, key_size = (self._words[at + part].astype(np.int64) for part in range(4))
        return _Nodes(page_starts, places + _NODE_BYTES + key_size, low | high << 16, flags)

    def _require(self, is_valid: NDArray[np.bool_], nodes: _Nodes, what: str) -> None:
        if not is_valid.all():
            raise self._damaged(f"page {nodes.page_starts[~is_valid][0] // self._page} has {what}")

    def _value(self, at: int, size: int, flags: int, take: Callable[[bytes], None] | None) -> None:
        value = self._pages[at : at + size] if not flags & _BIG else self._overflow(at, size)
        if flags & _SUBTREE:
            if size != _TREE.size:
                raise self._damaged("the description of a tree is not valid")
            self._tree(value)
        elif take is not None:
            take(value)

    def _overflow(self, at: int, size: int) -> bytes:
        """A value that has pages of its own."""
        (page,) = struct.unpack_from("<Q", self._pages, at)
        start = int(self._claim(np.array([page], np.uint64), _OVERFLOW)[0])
        (n,) = struct.unpack_from("<I", self._pages, start + 12)
        if not _HEADER.size + size <= n * self._page or page + n - 1 > self._last:
            raise self._damaged(f"page {page} is not valid")
        self._used[page : page + n] = True
        return self._pages[start + _HEADER.size : start + _HEADER.size + size]

    def _claim(self, numbers: NDArray[np.uint64], kind: int) -> _Ints:
        """The starts of pages, to which no other pointers lead."""
        is_inside = (numbers > 1) & (numbers <= self._last)
        if not is_inside.all():
            raise self._damaged(f"a pointer leads to page {numbers[~is_inside][0]}")
        if self._used[numbers].any() or len(np.unique(numbers)) < len(numbers):
            raise self._damaged("two pointers lead to one page")
        self._used[numbers] = True
        starts: _Ints = numbers.astype(np.int64) * self._page
        own = sum(self._words[starts // 2 + part].astype(np.uint64) << np.uint64(16 * part) for part in range(4))
        is_valid = (own == numbers) & (self._words[starts // 2 + 5] & _KIND == kind)
        if not is_valid.all():
            raise self._damaged(f"page {numbers[~is_valid][0]} is not valid")
        return starts

    def _damaged(self, what: str) -> CorruptFile:
        return CorruptFile(f"{self._file} is damaged: {what}")


def _numbers(value: bytes) -> tuple[int, ...]:
    """The pages in one entry of the list of free pages: their number, then each."""
    count = len(value) // 8
    listed: tuple[int, ...] = struct.unpack(f"<{count}Q", value[: 8 * count])
    return listed[1:]
