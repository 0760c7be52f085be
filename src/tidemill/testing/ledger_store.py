"""Contract suite of `LedgerStore` back-ends: ordered, atomic and isolated appends, and no stale lease."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.core.errors import LeaseLost
from tidemill.core.ports import LedgerStore, StoredEntry


class LedgerStoreSuite:
    """Subclass it, name the class `Test…`, and override `open`."""

    def open(self, place: Path) -> LedgerStore:
        """A store at `place`. Calls with the same place, from any process, give the same store."""
        raise NotImplementedError

    def test_an_empty_store_has_no_lines(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        assert store.last() is None
        assert list(store.lines()) == []
        assert store.damage() == []

    def test_lines_come_back_as_they_were_made(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        made = [store.append(line_after(act=act)) for act in ("open", "publish", "publish")]
        assert list(store.lines()) == made
        assert store.last() == made[-1]
        assert [line.seq for line in made] == [1, 2, 3]
        assert made[0].body == b"\x00 any bytes \xff 1"

    def test_a_reopened_store_knows_what_was_acknowledged(self, tmp_path: Path) -> None:
        made = self.open(tmp_path).append(line_after())
        assert self.open(tmp_path).last() == made

    def test_lines_are_found_by_number_and_by_index(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        for number in range(1_200):  # more than a store reads per page
            store.append(line_after(act=f"act {number % 3}", about=f"about {number % 2}"))
        assert [line.seq for line in store.lines(1_197)] == [1_198, 1_199, 1_200]
        found = list(store.lines(where={"act": "act 0", "about": "about 1"}))
        assert [line.seq for line in found] == list(range(4, 1_201, 6))
        backwards = store.lines(backwards=True, where={"act": "act 0", "about": "about 1"})
        assert [line.seq for line in backwards] == list(range(4, 1_201, 6))[::-1]
        assert [line.seq for line in store.lines(1_190, backwards=True)] == list(range(1_200, 1_190, -1))

    def test_an_unknown_index_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="colour"):
            list(self.open(tmp_path).lines(where={"colour": "red"}))

    def test_a_line_that_cannot_be_built_leaves_nothing(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.append(line_after())

        def fail(last: StoredEntry | None) -> StoredEntry:
            raise RuntimeError("no line")

        with pytest.raises(RuntimeError, match="no line"):
            store.append(fail)
        assert store.append(line_after()).seq == 2

    def test_a_number_is_taken_once(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        first = store.append(line_after())
        with pytest.raises(Exception, match=r".+"):
            store.append(lambda last: first)
        assert list(store.lines()) == [first]

    def test_writers_never_come_between_a_line_and_its_predecessor(self, tmp_path: Path) -> None:
        self.open(tmp_path)
        stores = [self.open(tmp_path) for _ in range(4)]
        threads = [threading.Thread(target=_append_many, args=(store, 25)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = list(stores[0].lines())
        assert [line.seq for line in lines] == list(range(1, 101))
        assert all(after.hash == f"{before.hash[-40:]}+" for before, after in itertools.pairwise(lines))

    def test_lease_numbers_rise(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        assert [store.lease("run", "a"), store.lease("run", "b"), store.lease("log", "a")] == [1, 2, 1]
        assert self.open(tmp_path).lease("run", "c") == 3

    def test_only_the_newest_holder_may_append(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        mine = store.lease("run", "first")
        store.append(line_after(), ("run", mine))
        theirs = self.open(tmp_path).lease("run", "second")
        with pytest.raises(LeaseLost, match="second"):
            store.append(line_after(), ("run", mine))
        assert [line.seq for line in store.lines()] == [1]
        assert store.append(line_after(), ("run", theirs)).seq == 2

    def test_a_lease_that_was_never_taken_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LeaseLost):
            self.open(tmp_path).append(line_after(), ("run", 1))


def line_after(act: str = "act", about: str = "") -> Callable[[StoredEntry | None], StoredEntry]:
    """A `build` function for `append`: makes an entry whose hash is derived from the previous one's."""

    def build(last: StoredEntry | None) -> StoredEntry:
        seq = last.seq + 1 if last else 1
        link = f"{last.hash[-40:]}+" if last else "start"
        return StoredEntry(
            seq=seq,
            body=b"\x00 any bytes \xff %d" % seq,
            hash=link,
            head=bytes([seq % 256]),
            at=seq,
            actor="suite",
            act=act,
            about=about,
            fingerprint="",
        )

    return build


def _append_many(store: LedgerStore, count: int) -> None:
    """Append entries that take a moment to make, so that another writer could come between, however fast the store."""

    def build(last: StoredEntry | None) -> StoredEntry:
        time.sleep(0.001)
        return line_after()(last)

    for _ in range(count):
        store.append(build)
