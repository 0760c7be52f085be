"""Storage of Delta tables: the files below a root, in a folder of this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tidemill.core.ports import FileStamp
from tidemill.core.storage.durable_files import sync_file, sync_folder


class TableStorage(Protocol):
    """Files by their paths below a root. It can be pickled.

    A missing file is a `FileNotFoundError`. Names of data files start with the number of their commit.
    """

    #: Whether written files are durable only when they have been synced; half of a file may then be left by a crash.
    needs_sync: bool

    def prepare(self) -> None:
        """Raise an error if tables cannot be written safely. Called before each write, so a second call is cheap."""
        ...

    def url(self, path: str) -> str:
        """The location of a file or table, for engines and for delta-rs."""
        ...

    def options(self) -> dict[str, str] | None:
        """The options with which delta-rs opens that location."""
        ...

    def names(self, folder: str, start: str = "") -> list[str]:
        """The names of the files in a folder; without those before `start` where that is less work."""
        ...

    def mark(self, folder: str) -> object | None:
        """Equal marks of a folder mean equal names in it; `None` says nothing."""
        ...

    def modified_ms(self, folder: str, names: Sequence[str]) -> list[int]:
        """When files were written, in milliseconds."""
        ...

    def changed_ms(self, folder: str, entry: str) -> int:
        """When a folder was changed, in milliseconds; at least when its file `entry` was written."""
        ...

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; `None` if there is none."""
        ...

    def stamp(self, path: str) -> FileStamp:
        """The stamp of a file."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file."""
        ...

    def digest(self, path: str) -> tuple[str, int]:
        """The SHA-256 (hex) and the size in bytes of a file."""
        ...

    def parquet(self, path: str, columns: Sequence[str] | None) -> Any:
        """What PyArrow reads some columns of a Parquet file from."""
        ...

    def create(self, path: str) -> Any:
        """A context manager with a binary file, whose content is durable at its end. Raises an error if it exists."""
        ...

    def sync(self, folder: str, names: Sequence[str] = ()) -> None:
        """Make the names in a folder durable, and the content of these files."""
        ...

    def delete(self, folder: str, names: Sequence[str]) -> None:
        """Delete files of a folder, durably; missing ones are ignored."""
        ...


class FolderStorage:
    """Files in the folder `root`."""

    needs_sync = True

    def __init__(self, root: str | Path) -> None:
        self._root = str(root)

    def prepare(self) -> None:
        pass

    def url(self, path: str) -> str:
        return f"{self._root}/{path}"

    def options(self) -> None:
        return None

    def names(self, folder: str, start: str = "") -> list[str]:
        try:
            return os.listdir(self.url(folder))  # noqa: PTH208 - names alone, of thousands of files
        except FileNotFoundError:
            return []

    def mark(self, folder: str) -> int:
        return Path(self.url(folder)).stat().st_mtime_ns

    def modified_ms(self, folder: str, names: Sequence[str]) -> list[int]:
        return [int(Path(self.url(folder), name).stat().st_mtime * 1000) for name in names]

    def changed_ms(self, folder: str, entry: str) -> int:
        return int(Path(self.url(folder)).stat().st_mtime * 1000)

    def size(self, path: str) -> int | None:
        try:
            return Path(self.url(path)).stat().st_size
        except FileNotFoundError:
            return None

    def stamp(self, path: str) -> FileStamp:
        # not a Path: called for every file of every scan
        found = os.stat(self.url(path))  # noqa: PTH116
        return FileStamp(size_bytes=found.st_size, mark=str(found.st_mtime_ns))

    def read(self, path: str) -> bytes:
        return Path(self.url(path)).read_bytes()

    def digest(self, path: str) -> tuple[str, int]:
        with open(self.url(path), "rb") as source:  # noqa: PTH123 - the same string that `stamp` takes
            return hashlib.file_digest(source, "sha256").hexdigest(), source.tell()

    def parquet(self, path: str, columns: Sequence[str] | None) -> str:
        return self.url(path)

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        file = Path(self.url(path))
        with file.open("xb") as sink:
            yield sink
            sink.flush()
            sync_file(file)

    def sync(self, folder: str, names: Sequence[str] = ()) -> None:
        for name in names:
            sync_file(Path(self.url(folder), name))
        sync_folder(Path(self.url(folder)))

    def delete(self, folder: str, names: Sequence[str]) -> None:
        for name in names:
            Path(self.url(folder), name).unlink(missing_ok=True)
        if names:
            sync_folder(Path(self.url(folder)))
