"""The port `blobs`: folders under a key that never change, such as bundles."""

from __future__ import annotations

from typing import Protocol


class Blobs(Protocol):
    """Artifact store: folders of files by key."""

    def put_folder(self, key: str, source: str) -> None:
        """Atomically move a finished folder into the store under `key`. An existing key is not changed. `source` no
        longer exists afterwards.
        """
        ...

    def folder(self, key: str) -> str:
        """The local path of a folder. Raises `NoSuchBlob` if there is none."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """The keys that start with `prefix`, sorted."""
        ...

    def remove(self, key: str) -> None:
        """Atomically delete a folder; a missing key is ignored. Files that a process has open remain readable to it."""
        ...
