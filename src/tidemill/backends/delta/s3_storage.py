"""Storage of Delta tables on S3: a file is one object, and durable when the store has acknowledged it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO

import pyarrow as pa

from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location, remember
from tidemill.core.ports import FileStamp


class S3Storage:
    """Objects below a location."""

    needs_sync = False

    def __init__(self, location: S3Location) -> None:
        self._folder = S3Folder(location)
        remember(location)

    def prepare(self) -> None:
        self._folder.require_conditional_put()

    def url(self, path: str) -> str:
        return f"{self._folder.location}/{path}".rstrip("/")

    def options(self) -> dict[str, str]:
        return self._folder.location.delta_options()

    def names(self, folder: str, start: str = "") -> list[str]:
        return [name for name, _ in self._listed(folder, start)]

    def mark(self, folder: str) -> None:
        return None  # a prefix has no time of change

    def modified_ms(self, folder: str, names: Sequence[str]) -> list[int]:
        if not names:
            return []
        times = dict(self._listed(folder, min(names)))
        return [_ms(times[name]) for name in names]

    def changed_ms(self, folder: str, entry: str) -> int:
        return _ms(self._folder.head(f"{folder}/{entry}")["last_modified"])

    def size(self, path: str) -> int | None:
        try:
            return self._folder.head(path)["size"]
        except FileNotFoundError:
            return None

    def stamp(self, path: str) -> FileStamp:
        found = self._folder.head(path)
        return FileStamp(size_bytes=found["size"], mark=found["e_tag"] or str(_ms(found["last_modified"])))

    def read(self, path: str) -> bytes:
        return self._folder.read(path)

    def digest(self, path: str) -> tuple[str, int]:
        content = self.read(path)
        return hashlib.sha256(content).hexdigest(), len(content)

    def parquet(self, path: str, columns: Sequence[str] | None) -> Any:
        if columns is None:
            return pa.BufferReader(self.read(path))
        return pa.PythonFile(self._folder.reader(path), mode="r")

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        sink = io.BytesIO()
        yield sink
        if not self._folder.create(path, sink.getvalue()):
            raise FileExistsError(f"{self.url(path)} exists already")

    def sync(self, folder: str, names: Sequence[str] = ()) -> None:
        pass

    def delete(self, folder: str, names: Sequence[str]) -> None:
        self._folder.delete([f"{folder}/{name}" for name in names])

    def _listed(self, folder: str, start: str) -> Iterator[tuple[str, datetime]]:
        """The objects directly below a folder, from the name `start` on: data files come before the log's."""
        after = f"{folder}/{start[:-1]}" if start else ""
        for found in self._folder.list(folder, after):
            name = found["path"].removeprefix(f"{folder}/")
            if "/" not in name and name >= start:
                yield name, found["last_modified"]
            elif name.startswith("_delta_log/"):
                return


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
