"""Latest on one machine: a memory-mapped snapshot per view, and LMDB for fresh rows, shared by all processes.

Which snapshot is read stands in LMDB too, so that one transaction swaps it and drops the fresh rows that it covers, and
a reader sees either all of that or nothing. Looking costs one read transaction: no lock, no copy, well under a
microsecond. Every put and every swap moves the view's mark on by one; `changed` tells what happened since a mark.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.backends.lmdb_file import LmdbFile, in_our_words
from tidemill.backends.mapped_rows import MappedRows, build, fit, sync
from tidemill.core.clock import micros
from tidemill.core.errors import CorruptFile, TidemillError, UsageError

_VIEW = re.compile(r"^[A-Za-z0-9_][\w.-]*$")
_STAMP = struct.Struct("<qQ")  # the instant of the put, and the mark that it set
_LONGEST_KEY = 500  # LMDB takes 511 bytes


class _State(msgspec.Struct, frozen=True, array_like=True):
    """What LMDB keeps of a view."""

    #: Number of the snapshot's folder, 0 where there is none yet.
    serial: int = 0
    version: str | None = None
    #: The mark at which the snapshot was swapped in, and the present mark.
    since: int = 0
    mark: int = 0
    #: What the snapshot has to verify against.
    check: int = 0


class LmdbLatest:
    """The newest row of each key, in a folder that any number of processes share.

    `fresh_bytes` bounds the file of fresh rows (sparse: it takes what it holds); a put beyond it raises `LatestFull`.
    """

    def __init__(self, root: Path | str, *, fresh_bytes: int = 1 << 30) -> None:
        self._root = Path(root)
        self._fresh_bytes = fresh_bytes
        self._file = LmdbFile.of(self._root, fresh_bytes)
        #: States read under one transaction id: while that stays, nothing changed.
        self._seen: tuple[int, dict[str, _State]] = (-1, {})
        self._open: dict[str, tuple[int, MappedRows]] = {}

    def write(self, view: str, key: str, rows: pa.Table, version: str, covers: int | None = None) -> None:
        folder = self._folder(view)
        folder.mkdir(parents=True, exist_ok=True)
        with in_our_words(folder), tempfile.TemporaryDirectory(dir=folder, prefix=f"new-{os.getpid()}-") as made:
            built = Path(made) / "rows"
            built.mkdir()
            check = build(built, key, rows, version)
            with self._begin(write=True) as txn:  # held while moving in: two writers take different numbers
                state = self._stored(txn, view)
                place = folder / f"{state.serial + 1:08d}"
                shutil.rmtree(place, ignore_errors=True)  # of a writer that was killed before its swap
                built.rename(place)
                sync(folder)
                self._swap(txn, view, _State(state.serial + 1, version, state.mark + 1, state.mark + 1, check), covers)
        _sweep(folder, keep=state.serial)

    def _swap(self, txn: Any, view: str, state: _State, covers: int | None) -> None:
        snapshot = MappedRows(self._folder(view) / f"{state.serial:08d}", state.check)
        for place, stamp, _, row in list(self._fresh_rows(txn, view)):
            if (covers is not None and stamp[0] < covers) or not _fits(snapshot.schema, row):
                txn.delete(place, db=self._file.fresh)
        for place, _ in list(_under(txn, self._file.log, _prefix(view))):
            txn.delete(place, db=self._file.log)
        txn.put(view.encode(), msgspec.msgpack.encode(state), db=self._file.views)

    def version(self, view: str) -> str | None:
        with self._begin() as txn:
            return self._state(txn, view).version

    def get(self, view: str, key: str) -> dict[str, Any] | None:
        while True:
            txn = self._begin()
            try:
                state = self._state(txn, view)
                raw = txn.get(_place(view, key), db=self._file.fresh)
            finally:
                txn.abort()
            if raw is not None:
                return _unpack(raw)[2]
            if not state.serial:
                return None
            snapshot = self._snapshot(view, state)
            if snapshot is not None:
                return snapshot.get(key)

    def keys(self, view: str) -> list[str]:
        snapshot, fresh = self._both(view)
        return sorted({*(snapshot.keys() if snapshot else ()), *fresh})

    def take(self, view: str, keys: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, NDArray[np.bool_]]:
        snapshot, fresh = self._both(view)
        if snapshot is None:
            rows = [fresh.get(key) for key in keys]
            made = {name: pa.array([row.get(name) if row else None for row in rows]) for name in columns}
            return pa.table(made), np.array([row is not None for row in rows], np.bool_)
        found, present = snapshot.take(keys, columns)
        if not fresh:
            return found, present
        newer = [(place, fresh[key]) for place, key in enumerate(keys) if key in fresh]
        if not newer:
            return found, present
        present = present.copy()
        present[[place for place, _ in newer]] = True
        return _overlaid(found, newer), present

    def put(self, view: str, key: str, row: Mapping[str, Any], at: int) -> None:
        self.change(view, {key: lambda _: row}, at)

    def change(
        self, view: str, by: Mapping[str, Callable[[dict[str, Any] | None], Mapping[str, Any]]], at: int
    ) -> dict[str, dict[str, Any]]:
        rows, notes = {}, []
        with in_our_words(self._root), self._begin(write=True) as txn:
            state = self._stored(txn, view)
            snapshot = self._snapshot(view, state) if state.serial else None
            for place, (key, made_by) in enumerate(by.items(), 1):
                stored = txn.get(_place(view, key), db=self._file.fresh)
                known = snapshot.get(key) if snapshot and stored is None else None
                before, mark, row = _unpack(stored) if stored is not None else (at, 0, known)
                made = rows[key] = {name: _plain(value) for name, value in made_by(row).items()}
                if snapshot is not None:
                    fit(snapshot.schema, made)
                # a clock that went back must not let the row go before what it already holds is covered
                stamp = _STAMP.pack(max(at, before), state.mark + place)
                txn.put(_place(view, key), stamp + msgspec.msgpack.encode((key, made)), db=self._file.fresh)
                notes.append((mark, key))
            self._note(txn, view, state, notes)
        return rows

    def settle(self, view: str, covers: int) -> int:
        with in_our_words(self._root), self._begin(write=True) as txn:
            state = self._stored(txn, view)
            gone = [found for found in self._fresh_rows(txn, view) if found[1][0] < covers]
            for place, *_ in gone:
                txn.delete(place, db=self._file.fresh)
            self._note(txn, view, state, [(stamp[1], key) for _, stamp, key, _ in gone])
            return len(gone)

    def changed(self, view: str, after: int) -> tuple[int, list[str] | None]:
        with self._begin() as txn:
            state = self._state(txn, view)
            if after == state.mark:
                return state.mark, []
            if after < state.since or after > state.mark:
                return state.mark, None
            start = _prefix(view) + struct.pack(">Q", after + 1)
            return state.mark, [key.decode() for _, key in _under(txn, self._file.log, _prefix(view), start)]

    def close(self) -> None:
        """Let go of the files; the last one to do so in this process closes them."""
        self._open.clear()
        self._seen = (-1, {})
        del self._file

    def _note(self, txn: Any, view: str, state: _State, keys: Sequence[tuple[int, str]]) -> None:
        """Move the mark on, once for each key; a key's earlier note gives way to its later one."""
        mark = state.mark
        for before, key in keys:
            mark += 1
            if before:
                txn.delete(_prefix(view) + struct.pack(">Q", before), db=self._file.log)
            txn.put(_prefix(view) + struct.pack(">Q", mark), key.encode(), db=self._file.log)
        moved = msgspec.structs.replace(state, mark=mark)
        txn.put(view.encode(), msgspec.msgpack.encode(moved), db=self._file.views)

    def _stored(self, txn: Any, view: str) -> _State:
        raw = txn.get(view.encode(), db=self._file.views)
        return _State() if raw is None else msgspec.msgpack.decode(raw, type=_State)

    def _state(self, txn: Any, view: str) -> _State:
        """The state in a transaction that reads: a writing one has the number that its commit will get."""
        seen, number = self._seen, txn.id()
        if seen[0] != number:
            seen = self._seen = (number, {})
        state = seen[1].get(view)
        if state is None:
            state = seen[1][view] = self._stored(txn, view)
        return state

    def _snapshot(self, view: str, state: _State) -> MappedRows | None:
        """The snapshot of a state; `None` where it was swept away meanwhile: look again."""
        known = self._open.get(view)
        if known is not None and known[0] == state.serial:
            return known[1]
        try:
            opened = MappedRows(self._folder(view) / f"{state.serial:08d}", state.check)
        except FileNotFoundError:
            with self._begin() as txn:
                if self._state(txn, view).serial == state.serial:
                    raise CorruptFile(f"{self._folder(view)}: the snapshot {state.serial} is missing") from None
            return None
        self._open[view] = (state.serial, opened)
        return opened

    def _both(self, view: str) -> tuple[MappedRows | None, dict[str, dict[str, Any]]]:
        """The snapshot and the fresh rows of one instant."""
        while True:
            with self._begin() as txn:
                state = self._state(txn, view)
                fresh = {key: row for _, _, key, row in self._fresh_rows(txn, view)}
            snapshot = self._snapshot(view, state) if state.serial else None
            if snapshot is not None or not state.serial:
                return snapshot, fresh

    def _fresh_rows(self, txn: Any, view: str) -> Iterator[tuple[bytes, tuple[int, int], str, dict[str, Any]]]:
        for place, raw in _under(txn, self._file.fresh, _prefix(view)):
            key, row = msgspec.msgpack.decode(raw[_STAMP.size :])
            yield place, _STAMP.unpack_from(raw), key, row

    def _folder(self, view: str) -> Path:
        if not _VIEW.match(view):
            raise UsageError(f"{view!r} is no name of a view")
        return self._root / "views" / view

    def _begin(self, *, write: bool = False) -> Any:
        if self._file.process != os.getpid():  # LMDB's handles do not outlive a fork
            self._file = LmdbFile.of(self._root, self._fresh_bytes)
            self._seen, self._open = (-1, {}), {}
        return self._file.env.begin(write=write)


def _prefix(view: str) -> bytes:
    return view.encode() + b"\0"


def _place(view: str, key: str) -> bytes:
    place = _prefix(view) + key.encode()
    return place if len(place) <= _LONGEST_KEY else _prefix(view) + b"\0" + sha256(key.encode()).digest()


def _under(txn: Any, db: Any, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    with txn.cursor(db=db) as cursor:
        if not cursor.set_range(start or prefix):
            return
        for place, value in cursor:
            if not place.startswith(prefix):
                return
            yield place, value


def _unpack(raw: bytes) -> tuple[int, int, dict[str, Any]]:
    """The instant of the put, its mark, and the row."""
    at, mark = _STAMP.unpack_from(raw)
    return at, mark, msgspec.msgpack.decode(raw[_STAMP.size :])[1]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return micros(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _fits(schema: pa.Schema, row: Mapping[str, Any]) -> bool:
    try:
        fit(schema, row)
    except TidemillError:
        return False
    return True


def _overlaid(found: pa.Table, newer: Sequence[tuple[int, Mapping[str, Any]]]) -> pa.Table:
    """`found` with the fresh rows at their places."""
    places = np.arange(found.num_rows)
    places[[place for place, _ in newer]] = found.num_rows + np.arange(len(newer))
    fresh = pa.table(
        {field.name: pa.array([row.get(field.name) for _, row in newer], field.type) for field in found.schema},
        schema=found.schema,
    )
    return pa.concat_tables([found, fresh]).take(pa.array(places))


def _sweep(folder: Path, keep: int) -> None:
    """Remove snapshots older than the one before the present (readers hold theirs open, and look again), and what
    writers that were killed left half made.
    """
    for old in folder.iterdir():
        if (old.name.isdigit() and int(old.name) < keep) or (old.name.startswith("new-") and not _alive(old.name)):
            shutil.rmtree(old, ignore_errors=True)


def _alive(name: str) -> bool:
    return Path("/proc", name.split("-")[1]).exists()
