"""The port `ledger`: the store of the audit log's entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import msgspec


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A stored ledger entry: the hashed bytes, and columns that only index them."""

    seq: int
    #: Canonical JSON. `hash` is computed from these bytes, so a store returns them unchanged.
    body: bytes
    hash: str
    #: Ed25519 signature of `seq` and `hash`.
    head: bytes
    at: int
    actor: str
    act: str
    about: str
    fingerprint: str


class LedgerStore(Protocol):
    """Append-only, ordered store of ledger entries, with one durable transaction per append."""

    def append(
        self, build: Callable[[StoredEntry | None], StoredEntry], lease: tuple[str, int] | None = None
    ) -> StoredEntry:
        """Atomically append the entry that `build` makes from the last one. Raises `LeaseLost` if `lease` is stale."""
        ...

    def lines(self, after: int = 0, *, backwards: bool = False, where: Mapping[str, str] = {}) -> Iterator[StoredEntry]:
        """Entries with `seq` above `after`, in order. `where` filters by `act`, `about`, `actor` or `fingerprint`."""
        ...

    def last(self) -> StoredEntry | None:
        """The entry with the largest `seq`; `None` if the store is empty."""
        ...

    def lease(self, name: str, holder: str) -> int:
        """Acquire the next fencing number of a lease. Appends with a smaller number are rejected from now on."""
        ...

    def damage(self) -> list[str]:
        """Damage that the store can detect itself, such as an entry missing from an index; empty if there is none."""
        ...
