"""The promises of a `VaultStore`: entries come back as they went in, and a known one is never overwritten."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tidemill.core.ports import VaultStore

_ENTRIES = [(f"s{number}", "user_id", b"sealed %d" % number, b"wrapped \x00\xff") for number in range(3)]


class VaultStoreSuite:
    """Subclass it, name the class `Test…`, and override `open`."""

    def open(self, place: Path) -> VaultStore:
        """A store that lives at `place`; opened there again, from any process, it is the same store."""
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
        store.put([("s1", "other", b"other", b"other"), ("s9", "user_id", b"new", b"new")])
        assert store.get("s1") == _ENTRIES[1][1:]
        assert store.get("s9") == ("user_id", b"new", b"new")

    def test_known_are_those_with_an_entry(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.put(_ENTRIES)
        many = [f"s{number}" for number in range(100_000)]  # more than one statement takes parameters
        assert store.known(many) == {"s0", "s1", "s2"}
        assert store.known([]) == set()

    def test_entries_go_in_together_or_not_at_all(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        torn = (entry if entry[0] != "s2" else _fail() for entry in _ENTRIES)
        with contextlib.suppress(_TornError):
            store.put(torn)
        assert store.known(["s0", "s1", "s2"]) == set()


class _TornError(Exception):
    pass


def _fail() -> tuple[str, str, bytes, bytes]:
    raise _TornError
