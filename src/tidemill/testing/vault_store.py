"""Contract suite of `VaultStore` back-ends: entries are read back unchanged, never overwritten, erased completely."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from tidemill.core.ports import VaultStore

_ENTRIES = [(f"s{number}", "user_id", b"sealed %d" % number, b"wrapped \x00\xff") for number in range(3)]


class VaultStoreSuite:
    """Subclass it, name the class `Test…`, and override `open`."""

    def open(self, place: Path) -> VaultStore:
        """A store at `place`. Calls with the same place, from any process, give the same store."""
        raise NotImplementedError

    def test_entries_come_back_as_they_went_in(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.put(_ENTRIES)
        assert [store.get(entry[0]) for entry in _ENTRIES] == [entry[1:] for entry in _ENTRIES]
        assert store.get("nobody") is None

    def test_a_reopened_store_knows_what_was_acknowledged(self, tmp_path: Path) -> None:
        self.open(tmp_path).put(_ENTRIES)
        assert self.open(tmp_path).get("s1") == _ENTRIES[1][1:]

    def test_a_known_entry_is_left_alone(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.put(_ENTRIES)
        assert store.put([("s1", "other", b"other", b"other"), ("s9", "user_id", b"new", b"new")]) == 1
        assert store.put(_ENTRIES) == store.put([]) == 0
        assert store.get("s1") == _ENTRIES[1][1:]
        assert store.get("s9") == ("user_id", b"new", b"new")

    def test_many_entries_come_at_once(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.put(_ENTRIES)
        many = [f"s{number}" for number in range(1, 100_000)]
        assert store.get_many(many) == {entry[0]: entry[1:] for entry in _ENTRIES[1:]}
        assert store.get_many([]) == {}

    def test_a_forgotten_entry_is_gone_for_every_opener_and_no_other_is(self, tmp_path: Path) -> None:
        store, other = self.open(tmp_path), self.open(tmp_path)
        store.put(_ENTRIES)
        assert store.forget(["s1", "nobody"]) == 1
        for opened in (store, other, self.open(tmp_path)):
            assert opened.get("s1") is None
            assert opened.known(["s0", "s1", "s2"]) == {"s0", "s2"}
            assert opened.get("s2") == _ENTRIES[2][1:]
        assert store.forget(["s1"]) == store.forget([]) == 0
        other.put([("s1", "user_id", b"again", b"again")])
        assert store.get("s1") == ("user_id", b"again", b"again")

    def test_no_file_holds_a_byte_of_a_forgotten_key(self, tmp_path: Path) -> None:
        """Entries inserted in random order and many transactions, so page splits and old log pages are covered too."""
        store, other = self.open(tmp_path), self.open(tmp_path)
        order = list(range(3_000))
        random.Random(1).shuffle(order)
        entries = {n: (f"s{n:05d}", "user_id", b"SEALED%05d" % n * 4, b"WRAPPED%05d" % n * 4) for n in order}
        for start in range(0, len(order), 300):
            (store, other)[start % 600 == 0].put([entries[n] for n in order[start : start + 300]])
        gone = [entries[n] for n in order[::10]]
        stays = entries[order[1]]
        assert _holding(tmp_path, gone[0][3]) or not _holding(tmp_path, stays[3])  # the store is outside of this folder
        assert store.forget([entry[0] for entry in gone]) == len(gone)
        assert not _holding(tmp_path, *(part for entry in gone for part in entry[2:]))
        assert other.get(stays[0]) == stays[1:]
        assert len(other.known([entry[0] for entry in entries.values()])) == len(entries) - len(gone)

    def test_entries_are_all_of_them_in_order(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        assert list(store.entries()) == []
        many = [(f"s{n:05d}", "user_id", b"sealed", b"wrapped") for n in range(2_500)]
        store.put(reversed(many))
        assert list(store.entries()) == many
        assert store.damage() == []

    def test_known_are_those_with_an_entry(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.put(_ENTRIES)
        many = [f"s{number}" for number in range(100_000)]  # more than the parameter limit of one statement
        assert store.known(many) == {"s0", "s1", "s2"}
        assert store.known([]) == set()

    def test_entries_go_in_together_or_not_at_all(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        torn = (entry if entry[0] != "s2" else _fail() for entry in _ENTRIES)
        with contextlib.suppress(_TornError):
            store.put(torn)
        assert store.known(["s0", "s1", "s2"]) == set()


def _holding(root: Path, *parts: bytes) -> list[str]:
    """Files below `root` that contain any of these bytes."""
    contents = {str(file): file.read_bytes() for file in root.rglob("*") if file.is_file()}
    return [name for name, content in contents.items() if any(part in content for part in parts)]


class _TornError(Exception):
    pass


def _fail() -> tuple[str, str, bytes, bytes]:
    raise _TornError
