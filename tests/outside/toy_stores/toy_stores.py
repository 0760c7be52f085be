"""Back-ends as an outsider writes them: one module and three entry points, and nothing of tidemill's own back-ends.

`toy:FOLDER` keeps the newest rows in one pickled file under a lock, each blob as one tar file, and each stream of
events as lines of text in two partitions.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import shutil
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa

from tidemill.core.backend import BackendContext
from tidemill.core.errors import GraphError, NoSuchBlob, TypeMismatch, UnknownName, UsageError
from tidemill.core.ports import EventBatch, LoggedEvent


@dataclass
class View:
    version: str | None = None
    schema: dict[str, pa.DataType] | None = None
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Key -> the instant of the put, and the row.
    fresh: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    mark: int = 0
    #: The mark of the newest snapshot, and key -> the mark of its last change.
    swapped: int = 0
    changed: dict[str, int] = field(default_factory=dict)

    def get(self, key: str) -> dict[str, Any] | None:
        row = self.fresh[key][1] if key in self.fresh else self.rows.get(key)
        return None if row is None else dict(row)

    def note(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.mark += 1
            self.changed[key] = self.mark

    def drop(self, covers: int) -> int:
        gone = [key for key, (at, _) in self.fresh.items() if at < covers]
        for key in gone:
            del self.fresh[key]
        if gone:
            self.note(gone)
        return len(gone)

    def checked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in row.items():
            if self.schema is not None:
                if name not in self.schema:
                    raise UnknownName(f"no column {name!r}")
                try:
                    pa.array([value], self.schema[name])
                except (pa.ArrowInvalid, pa.ArrowTypeError):
                    raise TypeMismatch(f"column {name!r} is {self.schema[name]}") from None
        return dict(row)


class ToyLatest:
    """The newest row of each key, in one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ToyLatest:
        return cls(context.path(url))

    @contextlib.contextmanager
    def _views(self, *, write: bool = False) -> Iterator[defaultdict[str, View]]:
        file = self._folder / "views.pickle"
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            views = defaultdict(View, pickle.loads(file.read_bytes()) if file.exists() else {})
            yield views
            if write:
                new = file.with_suffix(".new")
                new.write_bytes(pickle.dumps(dict(views)))
                new.replace(file)

    def write(
        self, view: str, key: str, rows: pa.Table | pa.RecordBatchReader, version: str, covers: int | None = None
    ) -> None:
        rows = rows if isinstance(rows, pa.Table) else rows.read_all()
        names = rows[key].to_pylist()
        if None in names:
            raise TypeMismatch(f"a row of {view} has no key")
        if len(set(names)) < len(names):
            raise GraphError(f"two rows of {view} have one key")
        kept = rows.drop_columns([key])
        kept = kept.cast(pa.schema([(one.name, _whole(one.type)) for one in kept.schema]))
        found = kept.to_pylist() if kept.num_columns else [{}] * len(names)
        with self._views(write=True) as views:
            now = views[view]
            now.version, now.schema = version, {one.name: one.type for one in kept.schema}
            now.rows = dict(zip(names, found, strict=True))
            if covers is not None:
                now.drop(covers)
            now.mark += 1
            now.swapped = now.mark

    def version(self, view: str) -> str | None:
        with self._views() as views:
            return views[view].version

    def get(self, view: str, key: str) -> dict[str, Any] | None:
        return self.get_many([(view, key)])[0]

    def get_many(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None]:
        with self._views() as views:
            return [views[view].get(key) for view, key in pairs]

    def take(self, view: str, keys: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
        with self._views() as views:
            now = views[view]
        schema = now.schema or {}
        for name in columns:
            if name not in schema:
                raise UnknownName(f"no column {name!r}")
        found = [now.get(key) for key in keys]
        arrays = [pa.array([row and row.get(name) for row in found], schema[name]) for name in columns]
        return pa.table(arrays, names=list(columns)), np.array([row is not None for row in found], bool)

    def keys(self, view: str) -> list[str]:
        with self._views() as views:
            return sorted({*views[view].rows, *views[view].fresh})

    def put(self, view: str, key: str, row: Mapping[str, Any], at: int) -> None:
        self.change(view, {key: lambda _: row}, at)

    def change(
        self, view: str, by: Mapping[str, Callable[[dict[str, Any] | None], Mapping[str, Any]]], at: int
    ) -> dict[str, dict[str, Any]]:
        with self._views(write=True) as views:
            now = views[view]
            made = {key: now.checked(make(now.get(key))) for key, make in by.items()}
            for key, row in made.items():
                now.fresh[key] = (max(at, now.fresh[key][0]) if key in now.fresh else at, row)
            now.note(list(made))
        return made

    def drop_covered(self, view: str, covers: int) -> int:
        with self._views(write=True) as views:
            return views[view].drop(covers)

    def marks(self, views: Sequence[str]) -> tuple[int, ...]:
        with self._views() as found:
            return tuple(found[view].mark for view in views)

    def changed(self, view: str, after: int) -> tuple[int, list[str] | None]:
        with self._views() as views:
            now = views[view]
        if after < now.swapped or after < 0:
            return now.mark, None
        return now.mark, sorted(key for key, mark in now.changed.items() if mark > after)

    def forget(self, keys: Sequence[str]) -> int:
        gone = 0
        with self._views(write=True) as views:
            for view in views.values():
                here = [key for key in keys if view.rows.pop(key, None) is not None]
                here += [key for key in keys if view.fresh.pop(key, None) is not None]
                noted = [key for key in keys if view.changed.pop(key, None) is not None]
                if here or noted:
                    view.mark += 1
                    view.swapped = view.mark
                gone += len(set(here))
        return gone


def _whole(kind: pa.DataType) -> pa.DataType:
    """Times as whole microseconds, in lists too."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.list_(_whole(kind.value_type)) if pa.types.is_list(kind) else kind


class ToyBlobs:
    """Folders by key, each in a tar file; who asks for a folder gets it unpacked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ToyBlobs:
        return cls(context.path(url))

    def put_folder(self, key: str, source: str) -> None:
        place = self._place(key)
        if any(path.is_symlink() for path in Path(source).rglob("*")):
            raise UsageError("links are not stored")
        if not place.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            new = self._folder / f".new-{os.getpid()}-{place.name[-40:]}"
            with tarfile.open(new, "w") as tar:
                tar.add(source, ".")
            new.replace(place)
        shutil.rmtree(source)

    def folder(self, key: str) -> str:
        place = self._place(key)
        if not place.exists():
            raise NoSuchBlob(f"nothing is stored under {key!r}")
        opened = self._folder / ".open" / place.name
        if not opened.exists():
            opened.parent.mkdir(exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=opened.parent, prefix=".new-"))
            with tarfile.open(place) as tar:
                tar.extractall(new, filter="data")
            with contextlib.suppress(OSError):  # another process was first
                new.rename(opened)
        return str(opened)

    def keys(self, prefix: str) -> list[str]:
        found = self._folder.glob("*.tar") if self._folder.is_dir() else ()
        names = (unquote(file.name.removesuffix(".tar")) for file in found)
        return sorted(name for name in names if name.startswith(prefix))

    def remove(self, key: str) -> None:
        place = self._place(key)
        place.unlink(missing_ok=True)
        shutil.rmtree(self._folder / ".open" / place.name, ignore_errors=True)

    def _place(self, key: str) -> Path:
        if not key or key.startswith(".") or len(key) > 200:
            raise UsageError(f"{key!r} is not a valid key")
        return self._folder / f"{quote(key, safe='')}.tar"


class ToyBlob:
    """No back-end: it cannot be opened from a URL."""


class ToyWriter:
    """Appends lines of hexadecimal digits under a lock, to one of two partitions by turns of writers."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, *payloads: bytes) -> None:
        if not all(payloads):
            raise ValueError("a payload has at least one byte")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # a line that its killed writer did not end
            file.write(b"".join(payload.hex().encode() + b"\n" for payload in payloads))
            file.flush()
            os.fsync(file.fileno())

    async def append(self, *payloads: bytes) -> None:
        self.write(*payloads)

    def close(self) -> None:
        pass


class ToyEvents:
    """An event log whose batches interleave its partitions."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._turn = os.getpid()

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ToyEvents:
        return cls(context.path(url))

    def writer(self, stream: str, *, durable: bool = True) -> ToyWriter:
        self._turn += 1
        return ToyWriter(self._folder(stream) / f"p{self._turn % 2}")

    def read(self, stream: str, after: Mapping[str, str] | None = None, limit: int = 10_000) -> EventBatch:
        positions = dict(after or {})
        new: list[LoggedEvent] = []
        for file in sorted(self._folder(stream).glob("p*")):
            lines = file.read_text().split("\n")[:-1]  # what follows the last line end was cut off by a crash
            start = int(positions.setdefault(file.name, "0"))
            new += [LoggedEvent(file.name, n, bytes.fromhex(line)) for n, line in enumerate(lines, 1) if n > start]
        batch = sorted(new, key=lambda event: event.number)[:limit]
        for event in batch:
            positions[event.partition] = str(event.number)
        return EventBatch(tuple(batch), positions)

    def _folder(self, stream: str) -> Path:
        if not stream.isidentifier():
            raise UsageError(f"{stream!r} is not a valid name of a stream")
        return self._root / stream
