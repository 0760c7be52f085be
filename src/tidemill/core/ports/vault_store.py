"""The port `vault`: the store of encrypted identities and of each person's key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol


class VaultStore(Protocol):
    """Encrypted identities by surrogate. The store never receives a raw identifier."""

    def put(self, entries: Iterable[tuple[str, str, bytes, bytes]]) -> int:
        """Insert `(surrogate, kind, sealed identifier, wrapped key)` and return how many were new. Existing surrogates
        are not changed.
        """
        ...

    def get(self, surrogate: str) -> tuple[str, bytes, bytes] | None:
        """`(kind, sealed identifier, wrapped key)`, or `None` if there is no entry."""
        ...

    def get_many(self, surrogates: Sequence[str]) -> dict[str, tuple[str, bytes, bytes]]:
        """The results of `get` by surrogate, for those that have an entry."""
        ...

    def known(self, surrogates: Sequence[str]) -> set[str]:
        """Those of `surrogates` that have an entry."""
        ...

    def entries(self) -> Iterator[tuple[str, str, bytes, bytes]]:
        """`(surrogate, kind, sealed identifier, wrapped key)` of every entry, sorted by surrogate, read lazily."""
        ...

    def damage(self) -> list[str]:
        """Damage that the store can detect itself; empty if there is none."""
        ...

    def forget(self, surrogates: Sequence[str]) -> int:
        """Delete the entries of these people and return how many there were. When it returns, no file of the store
        contains any byte of their keys. If the process was killed, run it again.
        """
        ...
