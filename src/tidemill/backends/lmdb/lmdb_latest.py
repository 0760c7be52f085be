"""Online store on LMDB: a memory-mapped snapshot per view, and LMDB for fresh rows, shared by all processes.

The name of the current snapshot is in LMDB too, so one transaction atomically swaps the snapshot and drops the fresh
rows that it covers. A check for changes costs one read transaction: no lock, no copy, well under a microsecond. Every
put and swap increments the view's change counter (mark); `changed` returns the changes since a given counter.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.backends.lmdb.lmdb_file import LmdbFile, translate_errors
from tidemill.backends.lmdb.lmdb_page_check import check_pages
from tidemill.backends.lmdb.lmdb_rows import (
    FreshRow,
    fits,
    is_intact,
    overlaid,
    pack,
    place_of,
    plain,
    prefix,
    sweep,
    under,
    unpack,
)
from tidemill.backends.lmdb.mapped_rows import MappedRows, build, fit
from tidemill.core.backend import BackendContext
from tidemill.core.errors import CorruptFile, UsageError
from tidemill.core.storage.durable_files import sync_folder
from tidemill.core.storage.verification import Verification

_VIEW = re.compile(r"[A-Za-z0-9_][\w.-]*\Z")


class _State(msgspec.Struct, frozen=True, array_like=True):
    """State of a view in LMDB."""

    #: Number of the snapshot's folder; 0 without a snapshot.
    serial: int = 0
    version: str | None = None
    #: The change counter at the swap of the snapshot, and the current change counter.
    since: int = 0
    mark: int = 0
    #: Checksum of the snapshot.
    check: int = 0


class _Here(threading.local):
    """The file that a thread reads, from its first transaction on; each thread switches to the next generation between
    two of its transactions.
    """

    def __init__(self) -> None:
        self.opened: LmdbFile | None = None
        #: States cached for one transaction id: as long as the id is the same, nothing has changed.
        self.seen: tuple[int, dict[str, _State]] = (-1, {})
        #: The transaction id at which the file was last found to be the current generation.
        self.stays = -1

    @property
    def file(self) -> LmdbFile:
        """The file; only within a transaction."""
        assert self.opened is not None
        return self.opened


class LmdbLatest:
    """The newest row of each key, in a folder shared by any number of processes.

    `fresh_bytes` limits the sparse file of fresh rows; a put beyond it raises `LatestFull`.
    """

    def __init__(self, root: Path | str, *, fresh_bytes: int = 1 << 30) -> None:
        self._root = Path(root)
        self._fresh_bytes = fresh_bytes
        self._here = _Here()
        self._open: dict[str, tuple[int, MappedRows]] = {}

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> LmdbLatest:
        """Open the store in the folder of `url`."""
        return cls(context.path(url))

    def write(
        self, view: str, key: str, rows: pa.Table | pa.RecordBatchReader, version: str, covers: int | None = None
    ) -> None:
        with self._made(view, key, rows, version) as (built, check), self._begin(write=True) as txn:
            before = self._move_in(txn, view, built, version, check, covers)
        sweep(self._folder(view), keep=before)

    @contextlib.contextmanager
    def _made(
        self, view: str, key: str, rows: pa.Table | pa.RecordBatchReader, version: str
    ) -> Iterator[tuple[Path, int]]:
        """Build a snapshot that is not visible to readers yet; yields its folder and checksum."""
        folder = self._folder(view)
        folder.mkdir(parents=True, exist_ok=True)
        with translate_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=f"new-{os.getpid()}-") as made:
            built = Path(made) / "rows"
            built.mkdir()
            yield built, build(built, key, rows, version)

    def _move_in(self, txn: Any, view: str, built: Path, version: str, check: int, covers: int | None) -> int:
        """Make a snapshot the current one when `txn` is committed; return the number of the previous one.

        The write transaction is open during the rename, so that two writers get different numbers.
        """
        folder, state = self._folder(view), self._stored(txn, view)
        place = folder / f"{state.serial + 1:08d}"
        shutil.rmtree(place, ignore_errors=True)  # left by a writer that was killed before its swap
        built.rename(place)
        sync_folder(folder)
        self._swap(txn, view, _State(state.serial + 1, version, state.mark + 1, state.mark + 1, check), covers)
        return state.serial

    def _swap(self, txn: Any, view: str, state: _State, covers: int | None) -> None:
        snapshot = MappedRows(self._folder(view) / f"{state.serial:08d}", state.check)
        for place, fresh in list(self._fresh_rows(txn, view)):
            if (covers is not None and fresh.at < covers) or not fits(snapshot.schema, fresh.row):
                txn.delete(place, db=self._here.file.fresh)
        for place, _ in list(under(txn, self._here.file.log, prefix(view))):
            txn.delete(place, db=self._here.file.log)
        txn.put(view.encode(), msgspec.msgpack.encode(state), db=self._here.file.views)

    def version(self, view: str) -> str | None:
        with self._begin() as txn:
            return self._state(txn, view).version

    def get(self, view: str, key: str) -> dict[str, Any] | None:
        while True:
            txn = self._begin()
            try:
                state = self._state(txn, view)
                raw = txn.get(place_of(view, key), db=self._here.file.fresh)
            finally:
                txn.abort()
            if raw is not None:
                return unpack(raw).row
            if not state.serial:
                return None
            snapshot = self._snapshot(view, state)
            if snapshot is not None:
                return snapshot.get(key)

    def get_many(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None]:
        if len(pairs) == 1:
            return [self.get(*pairs[0])]
        while True:
            txn = self._begin()
            try:
                rows = self._rows(txn, pairs)
            finally:
                txn.abort()
            if rows is not None:
                return rows

    def _rows(self, txn: Any, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None] | None:
        """The rows as of one transaction; `None` if a snapshot was deleted meanwhile, so that the caller retries."""
        rows: list[dict[str, Any] | None] = []
        fresh = self._here.file.fresh
        for view, key in pairs:
            raw = txn.get(place_of(view, key), db=fresh)
            if raw is not None:
                rows.append(unpack(raw).row)
                continue
            state = self._state(txn, view)
            snapshot = self._snapshot(view, state) if state.serial else None
            if snapshot is not None:
                rows.append(snapshot.get(key))
            elif state.serial:
                return None
            else:
                rows.append(None)
        return rows

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
        return overlaid(found, newer), present

    def put(self, view: str, key: str, row: Mapping[str, Any], at: int) -> None:
        self.change(view, {key: lambda _: row}, at)

    def change(
        self, view: str, by: Mapping[str, Callable[[dict[str, Any] | None], Mapping[str, Any]]], at: int
    ) -> dict[str, dict[str, Any]]:
        rows, notes = {}, []
        with translate_errors(self._root), self._begin(write=True) as txn:
            state = self._stored(txn, view)
            snapshot = self._snapshot(view, state) if state.serial else None
            for place, (key, made_by) in enumerate(by.items(), 1):
                stored = txn.get(place_of(view, key), db=self._here.file.fresh)
                known = snapshot.get(key) if snapshot and stored is None else None
                before, mark, row = (at, 0, known)
                if stored is not None:
                    before, mark, _, row = unpack(stored)
                made = rows[key] = {name: plain(value) for name, value in made_by(row).items()}
                if snapshot is not None:
                    fit(snapshot.schema, made)
                # if the clock was set back, keep the later time: the row must not be dropped before it is covered
                value = pack(max(at, before), state.mark + place, key, made)
                txn.put(place_of(view, key), value, db=self._here.file.fresh)
                notes.append((mark, key))
            self._note(txn, view, state, notes)
        return rows

    def drop_covered(self, view: str, covers: int) -> int:
        with translate_errors(self._root), self._begin(write=True) as txn:
            state = self._stored(txn, view)
            gone = [found for found in self._fresh_rows(txn, view) if found[1].at < covers]
            for place, _ in gone:
                txn.delete(place, db=self._here.file.fresh)
            self._note(txn, view, state, [(fresh.mark, fresh.key) for _, fresh in gone])
            return len(gone)

    def marks(self, views: Sequence[str]) -> tuple[int, ...]:
        if self._here.opened is not None and self._here.file.is_gone():
            self._here.file.left = True
        txn = self._begin()
        try:
            return tuple([self._state(txn, view).mark for view in views])
        finally:
            txn.abort()

    def changed(self, view: str, after: int) -> tuple[int, list[str] | None]:
        with self._begin() as txn:
            state = self._state(txn, view)
            if after == state.mark:
                return state.mark, []
            if after < state.since or after > state.mark:
                return state.mark, None
            start = prefix(view) + struct.pack(">Q", after + 1)
            return state.mark, [key.decode() for _, key in under(txn, self._here.file.log, prefix(view), start)]

    def forget(self, keys: Sequence[str]) -> int:
        gone = frozenset(keys)
        if not gone:
            return 0
        with translate_errors(self._root):
            n = sum(self._write_without(view, gone) for view in self._views())
            with self._begin(write=True) as txn:
                self._here.file.renewed(txn, lambda new, into: self._copy_without(txn, gone, new, into))
            with self._begin(write=True) as txn:
                for view in self._views():
                    sweep(self._folder(view), keep=self._stored(txn, view).serial, alone=True)
                self._here.file.remove_older()
        return n

    def _write_without(self, view: str, gone: frozenset[str]) -> int:
        """Swap in a snapshot without these keys and drop their fresh rows; return the number of rows."""
        snapshot, fresh = self._both(view)
        kept = None if snapshot is None else snapshot.without(gone)
        n = len(gone & {*fresh, *(snapshot.keys() if snapshot else ())})
        if snapshot is None or kept is None:  # `renewed` drops the fresh rows
            return n
        about = snapshot.about
        with self._made(view, about.key, kept, about.version) as (built, check), self._begin(write=True) as txn:
            if self._stored(txn, view).serial == int(snapshot.folder.name):
                self._move_in(txn, view, built, about.version, check, None)
                for key in gone:
                    txn.delete(place_of(view, key), db=self._here.file.fresh)
                return n
        return self._write_without(view, gone)  # another snapshot was written meanwhile

    def _copy_without(self, txn: Any, gone: frozenset[str], new: LmdbFile, into: Any) -> None:
        """Copy all entries except those of the keys; readers of a view that had any must read it again."""
        for name, raw in list(under(txn, self._here.file.views, b"")):
            first, state = name + b"\0", msgspec.msgpack.decode(raw, type=_State)
            fresh = [(place, row, unpack(row).key)
                     for place, row in under(txn, self._here.file.fresh, first)]  # fmt: skip
            notes = list(under(txn, self._here.file.log, first))
            if any(key in gone for *_, key in fresh) or any(key.decode() in gone for _, key in notes):
                state, notes = msgspec.structs.replace(state, since=state.mark + 1, mark=state.mark + 1), []
            into.put(name, msgspec.msgpack.encode(state), db=new.views)
            for place, row, key in fresh:
                if key not in gone:
                    into.put(place, row, db=new.fresh)
            for place, note in notes:
                into.put(place, note, db=new.log)

    def damage(self, at_most: int | None = None) -> dict[str, str]:
        """View -> why its snapshot cannot be used; with the key "", why no row can be.

        Reads the snapshots and the pages of the file of fresh rows, and of the rows in it all, or `at_most` that follow
        each other from a random one on.
        """
        return self._damage(Verification("latest", self._root), at_most)

    def verify(self, found: Verification) -> None:
        """Read every snapshot and every fresh row against their checksums."""
        for view, why in self._damage(found).items():
            found.problem(f"view `{view}`: {why}" if view else why, derived=True)
        for path in self._root.rglob("*"):
            place = str(path.relative_to(self._root))
            if path.name == "lock.mdb":
                found.skip(place, "a table of readers, which has no rows")
            elif path.parent.parent == self._root / "views" and f"{place}/about.json" not in found.places:
                found.skip(place, "the snapshot before the current one, for processes that still read it")

    def _damage(self, found: Verification, at_most: int | None = None) -> dict[str, str]:
        try:
            with translate_errors(self._root), self._begin() as txn:
                file = self._here.file.folder / "data.mdb"
                check_pages(file, txn.id())
                found.read(str(file.relative_to(self._root)), file.stat().st_size)
                views = {name.decode(): msgspec.msgpack.decode(raw, type=_State)
                         for name, raw in under(txn, self._here.file.views, b"")}  # fmt: skip
                known = {prefix(view) for view in views}
                for place, raw in self._rows_to_check(txn, views, at_most):
                    if place[: place.find(b"\0") + 1] not in known or not is_intact(place, raw):
                        raise CorruptFile("a fresh row of the online store is damaged, or under another name")
        except (CorruptFile, UnicodeDecodeError) as error:
            return {"": error.message if isinstance(error, CorruptFile) else f"{self._root} is damaged"}
        damage = {view: self._snapshot_damage(view, state, found) for view, state in views.items() if state.serial}
        return {view: why for view, why in damage.items() if why}

    def _rows_to_check(
        self, txn: Any, views: Mapping[str, _State], at_most: int | None
    ) -> Iterator[tuple[bytes, bytes]]:
        start, db = b"", self._here.file.fresh
        if views and at_most is not None:
            view = random.choice(sorted(views))
            change = prefix(view) + struct.pack(">Q", random.randint(0, views[view].mark))
            found = next(under(txn, self._here.file.log, prefix(view), change), None)
            start = place_of(view, found[1].decode()) if found else prefix(view)
        before = takewhile(lambda row: row[0] < start, under(txn, db, b""))
        return islice(chain(under(txn, db, b"", start), before), at_most)

    def _snapshot_damage(self, view: str, state: _State, found: Verification) -> str:
        folder = self._folder(view) / f"{state.serial:08d}"
        try:
            snapshot = MappedRows(folder, state.check)
            snapshot.verify()
        except CorruptFile as error:
            return error.message
        except (OSError, pa.ArrowException, msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"{folder} cannot be read: {error}"
        for file in folder.iterdir():
            found.read(str(file.relative_to(self._root)), file.stat().st_size)
        return ""

    def renew(self) -> None:
        """Begin anew with an empty store, whatever damage there is: every view has to be written again."""
        LmdbFile.replace(self._root, self._fresh_bytes)
        self._here, self._open = _Here(), {}

    def close(self) -> None:
        """Release the files; the last user in this process closes them."""
        self._open.clear()
        del self._here

    def _note(self, txn: Any, view: str, state: _State, keys: Sequence[tuple[int, str]]) -> None:
        """Increment the change counter once per key and log each change; a later change replaces the earlier one."""
        mark = state.mark
        for before, key in keys:
            mark += 1
            if before:
                txn.delete(prefix(view) + struct.pack(">Q", before), db=self._here.file.log)
            txn.put(prefix(view) + struct.pack(">Q", mark), key.encode(), db=self._here.file.log)
        moved = msgspec.structs.replace(state, mark=mark)
        txn.put(view.encode(), msgspec.msgpack.encode(moved), db=self._here.file.views)

    def _stored(self, txn: Any, view: str) -> _State:
        raw = txn.get(view.encode(), db=self._here.file.views)
        return _State() if raw is None else msgspec.msgpack.decode(raw, type=_State)

    def _state(self, txn: Any, view: str) -> _State:
        """The state in a read transaction. (A write transaction already has the id of its future commit.)"""
        here, number = self._here, txn.id()
        seen = here.seen
        if seen[0] != number:
            seen = here.seen = (number, {})
        state = seen[1].get(view)
        if state is None:
            state = seen[1][view] = self._stored(txn, view)
        return state

    def _snapshot(self, view: str, state: _State) -> MappedRows | None:
        """The snapshot of a state; `None` if it was deleted meanwhile, so that the caller retries."""
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
        """The snapshot and the fresh rows, from one consistent read."""
        while True:
            with self._begin() as txn:
                state = self._state(txn, view)
                fresh = {one.key: one.row for _, one in self._fresh_rows(txn, view)}
            snapshot = self._snapshot(view, state) if state.serial else None
            if snapshot is not None or not state.serial:
                return snapshot, fresh

    def _fresh_rows(self, txn: Any, view: str) -> Iterator[tuple[bytes, FreshRow]]:
        for place, raw in under(txn, self._here.file.fresh, prefix(view)):
            yield place, unpack(raw)

    def _folder(self, view: str) -> Path:
        if not _VIEW.match(view):
            raise UsageError(f"{view!r} is not a valid name of a view")
        return self._root / "views" / view

    def _views(self) -> list[str]:
        """All views that have rows or files."""
        with self._begin() as txn:
            known = {name.decode() for name, _ in under(txn, self._here.file.views, b"")}
        place = self._root / "views"
        return sorted(known | ({folder.name for folder in place.iterdir()} if place.is_dir() else set()))

    def _begin(self, *, write: bool = False) -> Any:
        here = self._here
        while True:
            # LMDB's handles are not valid after a fork
            if here.opened is None or here.file.process != os.getpid() or here.file.left:
                here.opened = LmdbFile.shared(self._root, self._fresh_bytes)
                here.seen, here.stays, self._open = (-1, {}), -1, {}
            txn = here.file.env.begin(write=write)
            if txn.id() == here.stays:
                return txn
            if not here.file.is_left(txn):
                here.stays = here.stays if write else txn.id()  # a write transaction may be aborted
                return txn
            txn.abort()
