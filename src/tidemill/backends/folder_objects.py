"""Object store in a folder: each object is one file, created atomically with a hard link.

A link fails if the name already exists, so the second of two writers is rejected and nothing is ever overwritten. The
content is written and synced under a temporary name before the link, so a name never refers to a partial object.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tidemill.core.backend import BackendContext
from tidemill.core.errors import NoSuchObject, UsageError, nearest
from tidemill.core.storage.durable_files import remove_durably, sync_folder
from tidemill.core.storage.object_names import checked_object_name

#: Folder of temporary files. No object can have this name, since names do not start with a dot.
_INCOMING = ".incoming"
_LONGEST = 255  # bytes of one part of a name


class FolderObjects:
    """Objects as files below `root`, which may contain other files. The name of an object is the file's path."""

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root)
        self._swept = False
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> FolderObjects:
        """Objects in the folder of `url`."""
        return cls(context.path(url))

    def put(self, name: str, body: bytes) -> bool:
        place = self._place(name)
        self._sweep_once()
        if place.is_file():  # the name is taken: write nothing
            sync_folder(place.parent)
            return False
        with self._written(body) as written:
            return self._link(written, place)

    def get(self, name: str) -> bytes:
        place = self._place(name)
        try:
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            siblings = self.list(name.rpartition("/")[0])
            raise NoSuchObject(f"{self._root}: there is no object {name!r}", tip=nearest(name, siblings)) from error

    def list(self, prefix: str) -> list[str]:
        folder, slash, begin = prefix.rpartition("/")
        if slash:
            checked_object_name(folder)
        return sorted(self._below(self._root / folder, folder + slash, begin))

    def delete(self, name: str) -> None:
        place = self._place(name)
        if place.is_file():
            with suppress(FileNotFoundError):  # another process deleted it first
                remove_durably(place)

    def _place(self, name: str) -> Path:
        long = [part for part in checked_object_name(name).split("/") if len(part.encode()) > _LONGEST]
        if long:
            raise UsageError(f"{long[0]!r} is too long for a part of an object's name", tip=f"at most {_LONGEST} bytes")
        return self._root / name

    def _below(self, folder: Path, path: str, begin: str) -> Iterator[str]:
        """The names of the files below `folder` whose path starts with `begin`."""
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.name.startswith(".") or not entry.name.startswith(begin):
                continue
            if entry.is_dir():
                yield from self._below(folder / entry.name, f"{path}{entry.name}/", "")
            elif entry.is_file():
                yield path + entry.name

    @contextmanager
    def _written(self, body: bytes) -> Iterator[Path]:
        """A durable temporary file with this content.

        The lock on it shows that its writer is alive: the kernel releases the lock when the writer dies.
        """
        _make_folder(self._root / _INCOMING)
        file, sink = self._begin()
        with sink:
            try:
                sink.write(body)
                sink.flush()
                os.fsync(sink.fileno())
                yield file
            finally:
                file.unlink(missing_ok=True)

    def _begin(self) -> tuple[Path, BinaryIO]:
        """A new locked file; retries if a sweep deleted the file before it was locked."""
        while True:
            file = self._root / _INCOMING / f"{os.getpid()}-{secrets.token_hex(8)}"
            sink = file.open("xb")
            fcntl.flock(sink, fcntl.LOCK_EX)
            if file.exists():
                return file, sink
            sink.close()

    def _link(self, written: Path, place: Path) -> bool:
        created = False
        while not created and not place.is_file():
            try:
                _make_folder(place.parent)
                os.link(written, place)
                created = True
            except (FileExistsError, NotADirectoryError) as error:
                if not place.parent.is_dir() or _is_no_file(place):  # else: deleted since
                    raise UsageError(f"{place} cannot be an object: a name is an object or a folder of them") from error
        sync_folder(place.parent)  # also for another writer's link: a caller that gets `False` relies on that object
        return created

    def _sweep_once(self) -> None:
        """Delete temporary files of killed writers, once per opened store."""
        with self._lock:
            if self._swept:
                return
            self._swept = True
        for file in (self._root / _INCOMING).glob("*"):
            with suppress(FileNotFoundError, BlockingIOError), file.open("rb") as found:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()


def _is_no_file(place: Path) -> bool:
    """Whether something other than a file has this name."""
    try:
        return not stat.S_ISREG(place.lstat().st_mode)
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    """Durably create a folder and its missing parents."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
