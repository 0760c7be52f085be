"""Blob store in a folder: each key is one subfolder, moved into place atomically by a rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

from tidemill.core.backend import BackendContext
from tidemill.core.errors import NoSuchBlob, UsageError, nearest
from tidemill.core.storage.durable_files import sync_file, sync_folder

_LONGEST = 255  # bytes of a file's name


class FolderBlobs:
    """Folders of files by key under `root`. A stored folder is complete, durable and immutable."""

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root)

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> FolderBlobs:
        """Blobs in the folder of `url`."""
        return cls(context.path(url))

    def put_folder(self, key: str, source: str) -> None:
        place = self._place(key)
        refuse_links(Path(source))
        if place.is_dir():
            shutil.rmtree(source)
            return
        self._root.mkdir(parents=True, exist_ok=True)
        _sync_all(Path(source))
        try:
            os.rename(source, place)  # noqa: PTH104 - the error number says whether it is another disk or another writer
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another writer was first
                shutil.rmtree(source)
                return
            if error.errno != errno.EXDEV:
                raise
            self._copy_in(Path(source), place)
        sync_folder(self._root)

    def folder(self, key: str) -> str:
        place = self._place(key)
        if not place.is_dir():
            raise NoSuchBlob(f"{self._root}: nothing is stored under {key!r}", tip=nearest(key, self.keys("")))
        return str(place)

    def keys(self, prefix: str) -> list[str]:
        if not self._root.is_dir():
            return []
        names = (unquote(found.name) for found in self._root.iterdir() if not found.name.startswith("."))
        return sorted(name for name in names if name.startswith(prefix))

    def remove(self, key: str) -> None:
        place = self._place(key)
        if not place.is_dir():
            return
        trash = self._root / f".gone-{os.getpid()}-{place.name[-40:]}"
        shutil.rmtree(trash, ignore_errors=True)
        place.rename(trash)
        sync_folder(self._root)
        shutil.rmtree(trash, ignore_errors=True)

    def _copy_in(self, source: Path, place: Path) -> None:
        """Store a folder from another disk: copy it to a temporary folder first, so that the rename is atomic."""
        with tempfile.TemporaryDirectory(dir=self._root, prefix=".new-") as temporary:
            copied = Path(temporary) / "folder"
            shutil.copytree(source, copied, symlinks=True)
            _sync_all(copied)
            copied.rename(place)
        shutil.rmtree(source)

    def _place(self, key: str) -> Path:
        return self._root / blob_name(key)


def blob_name(key: str) -> str:
    """The name of a key's folder: a single path component, so that no key is inside another key or outside the root.
    Raises `UsageError` for a key that is not valid.
    """
    name = quote(key, safe="@:+=, ")
    if not key or name.startswith(".") or len(name.encode()) > _LONGEST:
        raise UsageError(f"{key!r} is not a valid key", tip="keys are not empty, not long, and start with no dot")
    return name


def refuse_links(source: Path) -> None:
    """Raise an error if a folder is missing, or contains anything but files and folders."""
    if not source.is_dir():
        raise NoSuchBlob(f"{source} is not a folder")
    for found in source.rglob("*"):
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise UsageError(
                f"{found} is neither a file nor a folder", tip="links are not stored: copy what they point to"
            )


def _sync_all(folder: Path) -> None:
    for found in folder.rglob("*"):
        sync_file(found)
    sync_folder(folder)
