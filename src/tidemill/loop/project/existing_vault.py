"""Existing vault: a vault store that is opened on first use and never created, for all but a project's first opening.

Opening a missing vault would create an empty one, and everything sealed under the missing keys would be lost.
Therefore the file is checked before each call: a replaced file is reopened, and a missing or empty one is an error.
What needs no vault works without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tidemill.core.errors import LedgerCorrupt, LedgerMissing
from tidemill.core.ports import VaultStore
from tidemill.core.settings import Settings
from tidemill.loop.project.open_port import PortOpener

Result = TypeVar("Result")


class ExistingVault:
    """The store that `make` opens; `LedgerMissing` while `file` does not exist. Without a file it is opened on use."""

    def __init__(self, file: Path | None, make: Callable[[], VaultStore]) -> None:
        self._file, self._make = file, make
        self._opened: tuple[tuple[int, int], VaultStore] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> ExistingVault:
        """The vault of a project."""
        ports = PortOpener(settings)
        return cls(ports.place("vault"), lambda: ports.vault(create=False))

    def _ask(self, query: Callable[[VaultStore], Result]) -> Result:
        place = self._place()
        if self._opened is None or self._opened[0] != place:
            self._opened = place, self._make()
        try:
            return query(self._opened[1])
        except LedgerCorrupt:
            self._opened = None  # it may be restored in the same file
            raise

    def _place(self) -> tuple[int, int]:
        """Device and inode, which differ when the file is replaced."""
        if self._file is None:
            return 0, 0
        tip = "restore it from a backup; no new vault was created"
        try:
            found = self._file.stat()
        except OSError as error:
            raise LedgerMissing(f"the vault {self._file} is unavailable", tip=tip) from error
        if found.st_size == 0:
            raise LedgerMissing(f"the vault {self._file} is empty", tip=tip)
        return found.st_dev, found.st_ino

    def put(self, entries: Iterable[tuple[str, str, bytes, bytes]]) -> int:
        return self._ask(lambda store: store.put(entries))

    def get(self, surrogate: str) -> tuple[str, bytes, bytes] | None:
        return self._ask(lambda store: store.get(surrogate))

    def get_many(self, surrogates: Sequence[str]) -> dict[str, tuple[str, bytes, bytes]]:
        return self._ask(lambda store: store.get_many(surrogates))

    def known(self, surrogates: Sequence[str]) -> set[str]:
        return self._ask(lambda store: store.known(surrogates))

    def entries(self) -> Iterator[tuple[str, str, bytes, bytes]]:
        return self._ask(lambda store: store.entries())

    def damage(self) -> list[str]:
        return self._ask(lambda store: store.damage())

    def forget(self, surrogates: Sequence[str]) -> int:
        return self._ask(lambda store: store.forget(surrogates))
