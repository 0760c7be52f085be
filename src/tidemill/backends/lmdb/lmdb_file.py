"""LMDB environment: one per folder and process, as LMDB requires, with LMDB's errors mapped to tidemill's.

LMDB does not clear the pages that it frees, so values are erased by replacing the whole file: `renewed` copies the
remaining entries into the next generation of the environment and marks the old one as replaced (left) in its last
transaction; `remove_older` deletes it. A process with the old one open reads that mark first in every new transaction.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import msgspec

from tidemill.backends.lmdb.lmdb_page_check import check_pages
from tidemill.core.errors import CorruptFile, FormatTooNew, LatestFull
from tidemill.core.storage.durable_files import sync_folder

FORMAT = b"1"
_NAME, _GONE, _LEFT = "fresh", "gone", b"left"
_DATA, _DATABASES = "data.mdb", (b"fresh", b"views", b"log", b"about")
#: The folder of the snapshots of all views, beside the environment.
_SNAPSHOTS = "views"
#: LMDB's message for an environment that this process has open, and how long to wait for its last user to close it.
_IS_OPEN, _CLOSING_S = "already open in this process", 1.0


class LmdbFile:
    """The environment of a folder and its databases. Open it with `shared`: a process may open each only once."""

    _opened: ClassVar[weakref.WeakValueDictionary[tuple[int, str], LmdbFile]] = weakref.WeakValueDictionary()
    _opening: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, folder: Path, size: int, *, is_new: bool = False) -> None:
        self.process = os.getpid()
        self.folder, self._size = folder, size
        is_new = is_new or not _has_snapshots(folder.parent)
        if not is_new and not (folder / _DATA).is_file():
            raise CorruptFile(f"{folder / _DATA} is missing")
        exists = (folder / _DATA).is_file() and not (is_new and (folder / _DATA).stat().st_size == 0)
        if exists:
            check_pages(folder / _DATA)
        # without spare transactions no reader slot is held between reads, so a forked process can close the environment
        # without releasing a slot of its parent
        read_only = not os.access(folder, os.W_OK)  # where nothing can be written, the rows can still be read
        options = {"readonly": True, "lock": False} if read_only else {"max_readers": 1022}
        self.env = lmdb.open(str(folder), map_size=size, max_dbs=4, max_spare_txns=0, create=False, **options)
        # closed with its last user, even if something such as a traceback keeps a transaction alive
        self._closes = weakref.finalize(self, _close, self.env, self.process)
        self._closes.atexit = False
        if exists:
            self._check_names()
        self.env.reader_check()  # clear slots of killed readers, which would keep old pages in use
        self.fresh, self.views, self.log, self.about = (
            self.env.open_db(name, create=not read_only) for name in _DATABASES
        )
        with self.env.begin() as txn:
            known = txn.get(b"format", db=self.about)
            #: Whether the environment is replaced: its rows are in the next generation.
            self.left = txn.get(_LEFT, db=self.about) is not None
        if known is None:
            with self.env.begin(write=True) as txn:
                txn.put(b"format", FORMAT, db=self.about)
        elif not known.isdigit():
            raise CorruptFile(f"{folder / _DATA} is damaged: it has no format number")
        elif int(known) > int(FORMAT):
            raise FormatTooNew(f"{folder.parent} has format {int(known)}, but this version reads up to {int(FORMAT)}")

    def _check_names(self) -> None:
        """Refuse databases with other names: one of a changed name would be created anew, empty."""
        with self.env.begin() as txn, txn.cursor() as cursor:
            unknown = [name for name in cursor.iternext(values=False) if bytes(name) not in _DATABASES]
        if unknown:
            raise CorruptFile(f"{self.folder / _DATA} is damaged: it has a database of an unknown name")

    @classmethod
    def shared(cls, root: Path, size: int) -> LmdbFile:
        """The current environment of the store at `root`, shared by all users in this process."""
        root.mkdir(parents=True, exist_ok=True)
        name = (os.getpid(), str(root.resolve()))
        with cls._opening:
            found = cls._opened.get(name)
            if found is None or found.left or found.is_gone():
                for inherited in [file for file in cls._opened.values() if file.process != name[0]]:
                    inherited.env.close()  # after a fork: LMDB's handles are valid only in the process that opened them
                    inherited.process = name[0]
                with translate_errors(root):
                    # a replaced environment stays open while others use it, and is not opened again
                    found = cls._opened[name] = cls._newest(root, size, _number(found.folder.name) if found else 0)
            return found

    @classmethod
    def _newest(cls, root: Path, size: int, after: int) -> LmdbFile:
        """The oldest generation that is not replaced: a newer one may be left by a renewal that was killed."""
        until = time.monotonic() + _CLOSING_S
        while True:
            generations = [number for number in _generations(root) if number > after]
            if not generations and not after:
                if _has_snapshots(root):
                    raise CorruptFile(f"{root / _NAME} is missing")
                (root / _NAME).mkdir(exist_ok=True)
            for number in generations:
                try:
                    found = cls(root / _folder_name(number), size)
                except (lmdb.Error, CorruptFile, FileNotFoundError) as error:
                    # its last user, in another thread, is gone from `_opened` a moment before it is closed
                    is_closing = _IS_OPEN in str(error) and time.monotonic() < until
                    if (root / _folder_name(number)).is_dir() and not is_closing:
                        raise
                    time.sleep(0.001)
                    break  # just deleted, or about to be closed: retry
                if not found.left:
                    return found
            else:
                if generations or after:
                    raise CorruptFile(f"{root}: its rows were moved to another file, which is missing")

    def is_left(self, txn: Any) -> bool:
        """Whether the next generation has replaced this one, as of a transaction."""
        self.left = self.left or txn.get(_LEFT, db=self.about) is not None
        return self.left

    def renewed(self, txn: Any, fill: Callable[[LmdbFile, Any], None]) -> None:
        """Replace this environment by a new one that `fill` populates. `txn` is the last write transaction here."""
        root, number = self.folder.parent, _number(self.folder.name) + 1
        temporary = root / f"{_GONE}-{os.getpid()}-made"
        for old in (temporary, root / _folder_name(number)):  # left by a renewal that was killed
            shutil.rmtree(old, ignore_errors=True)
        temporary.mkdir()
        new = LmdbFile(temporary, self._size, is_new=True)
        with new.env.begin(write=True) as into:
            fill(new, into)
        new._closes()
        temporary.rename(root / _folder_name(number))
        sync_folder(root)
        txn.put(_LEFT, b"1", db=self.about)

    def is_gone(self) -> bool:
        """Whether the file was replaced after damage, without a mark in it."""
        return not self.folder.is_dir()

    @classmethod
    def replace(cls, root: Path, size: int) -> None:
        """Replace whatever is there by an empty environment, and delete all snapshots: after damage."""
        with cls._opening:
            old = _generations(root)
            temporary = root / f"{_GONE}-{os.getpid()}-made"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            cls(temporary, size, is_new=True)._closes()
            temporary.rename(root / _folder_name(max(old, default=0) + 1))
            for number in old:
                (root / _folder_name(number)).rename(root / f"{_GONE}-{os.getpid()}-{number}")
            for gone in [*root.glob(f"{_GONE}-*"), root / _SNAPSHOTS]:
                shutil.rmtree(gone, ignore_errors=True)
            sync_folder(root)

    def remove_older(self) -> None:
        """Delete older generations and files of killed renewals; the caller holds a write transaction."""
        root = self.folder.parent
        for number in _generations(root):
            if number < _number(self.folder.name):  # rename first, so that no process opens it half deleted
                (root / _folder_name(number)).rename(root / f"{_GONE}-{os.getpid()}-{number}")
        for old in root.glob(f"{_GONE}-*"):
            shutil.rmtree(old)
        sync_folder(root)


def _generations(root: Path) -> list[int]:
    names = [folder.name for folder in root.iterdir()] if root.is_dir() else []
    return sorted(_number(name) for name in names if name == _NAME or name.startswith(f"{_NAME}-"))


def _has_snapshots(root: Path) -> bool:
    return any((root / _SNAPSHOTS).glob("*/[0-9]*"))


def _number(name: str) -> int:
    return int(name.removeprefix(_NAME).lstrip("-") or 1)


def _folder_name(number: int) -> str:
    return _NAME if number == 1 else f"{_NAME}-{number}"


def _close(env: lmdb.Environment, process: int) -> None:
    if process == os.getpid():
        env.close()


@contextlib.contextmanager
def translate_errors(place: Path) -> Iterator[None]:
    """Raise `LatestFull` with `place` for a full disk or map, and `CorruptFile` for a damaged file."""
    try:
        yield
    except (lmdb.MapFullError, lmdb.DiskError) as error:
        raise LatestFull(f"{place}: {error}") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise LatestFull(f"{place}: {error.strerror}") from error
    except (
        lmdb.CorruptedError,
        lmdb.InvalidError,
        lmdb.VersionMismatchError,
        lmdb.PageNotFoundError,
        msgspec.DecodeError,
        UnicodeDecodeError,
    ) as error:
        raise CorruptFile(f"{place}: {error}") from error


def _unlocked() -> None:
    """Replace the lock in a forked process: it may be held by a thread that does not exist there."""
    LmdbFile._opening = threading.RLock()


os.register_at_fork(after_in_child=_unlocked)
