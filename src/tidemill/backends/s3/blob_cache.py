"""Cache of blobs on this machine: folders by the hash of their manifest, checked by hash and bounded in size."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from tidemill.core.errors import CorruptFile
from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.durable_files import private_folder, sha256_of

#: Bytes of all folders together, the one in use aside.
LIMIT_BYTES = 20 * 1024**3


class BlobManifest(VersionedRecord, frozen=True, kw_only=True):
    """The files of a blob, and where they lie."""

    KIND: ClassVar[str] = "blob manifest"
    REQUIRED: ClassVar[tuple[str, ...]] = ("place", "files")

    #: The folder of the files in the store.
    place: str = ""
    files: tuple[FileEntry, ...] = ()


class BlobCache:
    """Folders below `root`. A folder is complete: it is renamed into place after its files have been checked."""

    def __init__(self, root: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._root, self._limit_bytes = root, limit_bytes
        #: Folders whose content this process has checked.
        self._checked: set[str] = set()

    def folder(self, name: str, manifest: BlobManifest, read: Callable[[str], bytes]) -> Path:
        """The folder of a manifest; its files are read if they are not here. Raises `CorruptFile` if one of them has
        another hash than the manifest says.
        """
        place = self._root / name
        if not self._is_whole(place, manifest):
            shutil.rmtree(place, ignore_errors=True)
            fresh = self._root / f".new-{os.getpid()}-{secrets.token_hex(4)}"
            private_folder(self._root)
            try:
                self._fetch(fresh, manifest, read)
                with suppress(OSError):  # another process was first
                    fresh.rename(place)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            self._checked.add(name)
            self._shrink(place)
        os.utime(place)
        return place

    def put(self, name: str, source: Path) -> None:
        """Move a stored folder here, so that it is not fetched."""
        private_folder(self._root)
        with suppress(OSError):
            shutil.move(source, self._root / name)
        shutil.rmtree(source, ignore_errors=True)
        self._shrink(self._root / name)

    def _is_whole(self, place: Path, manifest: BlobManifest) -> bool:
        if not all(_has(place / file.path, file) for file in manifest.files):
            return False
        if place.name not in self._checked:
            if any(sha256_of(place / file.path) != file.sha256 for file in manifest.files):
                return False
            self._checked.add(place.name)
        return place.is_dir()

    def _fetch(self, folder: Path, manifest: BlobManifest, read: Callable[[str], bytes]) -> None:
        folder.mkdir()
        for file in manifest.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read(f"{manifest.place}/{file.path}"))
            if sha256_of(path) != file.sha256:
                raise CorruptFile(f"{manifest.place}/{file.path} has another content than its manifest says")

    def _shrink(self, used: Path) -> None:
        """Delete the folders that were used least recently, and what killed processes left; open files of them remain
        readable.
        """
        for left in self._root.glob(".new-*"):
            if not Path("/proc", left.name.split("-")[1]).exists():
                shutil.rmtree(left, ignore_errors=True)
        found = sorted(_sizes(self._root), key=lambda one: one[0])
        total = sum(size for _, size, _ in found)
        for _, size, folder in found:
            if total <= self._limit_bytes:
                return
            if folder != used:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size


def _sizes(root: Path) -> Iterator[tuple[int, int, Path]]:
    """When each folder was used last, its bytes, and the folder."""
    for folder in root.iterdir():
        if not folder.name.startswith("."):
            with suppress(FileNotFoundError):  # another process has just deleted it
                bytes_in = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                yield folder.stat().st_mtime_ns, bytes_in, folder


def _has(path: Path, file: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == file.size_bytes
