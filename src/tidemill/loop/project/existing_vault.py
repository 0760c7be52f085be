"""Existing vault: a vault store that is opened on first use and never created, for the server's workers.

Opening a missing vault would create an empty one, and everything sealed under the missing keys would be lost.
Therefore the file is checked before each call: a replaced file is reopened, and a missing one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tidemill.core.errors import LedgerMissing
from tidemill.core.ports import VaultStore


class ExistingVault:
    """The store that `make` opens; `LedgerMissing` while `file` does not exist. Without a file it is opened on use."""

    def __init__(self, file: Path | None, make: Callable[[], VaultStore]) -> None:
        self._file, self._make = file, make
        self._opened: tuple[tuple[int, int], VaultStore] | None = None

    def _store(self) -> VaultStore:
        place = self._place()
        if self._opened is None or self._opened[0] != place:
            self._opened = place, self._make()
        return self._opened[1]

    def _place(self) -> tuple[int, int]:
        """Device and inode, which differ when the file is replaced."""
        if self._file is None:
            return 0, 0
        try:
            found = self._file.stat()
        except OSError as error:
            raise LedgerMissing(f"the vault {self._file} is unavailable", tip="restore it from a backup") from error
        return found.st_dev, found.st_ino

    def put(self, entries: Iterable[tuple[str, str, bytes, bytes]]) -> int:
        return self._store().put(entries)

    def get(self, surrogate: str) -> tuple[str, bytes, bytes] | None:
        return self._store().get(surrogate)

    def get_many(self, surrogates: Sequence[str]) -> dict[str, tuple[str, bytes, bytes]]:
        return self._store().get_many(surrogates)

    def known(self, surrogates: Sequence[str]) -> set[str]:
        return self._store().known(surrogates)

    def forget(self, surrogates: Sequence[str]) -> int:
        return self._store().forget(surrogates)
