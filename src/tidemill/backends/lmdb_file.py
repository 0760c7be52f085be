"""One LMDB environment per folder and process, as LMDB asks, with errors in the house's words."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import lmdb

from tidemill.core.errors import CorruptFile, FormatTooNew, LatestFull

FORMAT = b"1"


class LmdbFile:
    """The environment of a folder and its databases. Share it with `of`: a process may open each only once."""

    _opened: ClassVar[weakref.WeakValueDictionary[tuple[int, str], LmdbFile]] = weakref.WeakValueDictionary()

    def __init__(self, root: Path, size: int) -> None:
        self.process = os.getpid()
        # without spare transactions no reader's slot is held between two reads, so that a forked process may let go of
        # the environment without taking a slot from its parent
        self.env = lmdb.open(str(root / "fresh"), map_size=size, max_dbs=4, max_readers=1022, max_spare_txns=0)
        # closed with the last that shares it, though a transaction may be kept alive by a traceback, say
        weakref.finalize(self, _close, self.env, self.process).atexit = False
        self.env.reader_check()  # readers that were killed would keep old pages alive
        self.fresh, self.views, self.log, about = (
            self.env.open_db(name) for name in (b"fresh", b"views", b"log", b"about")
        )
        with self.env.begin() as txn:
            known = txn.get(b"format", db=about)
        if known is None:
            with self.env.begin(write=True) as txn:
                txn.put(b"format", FORMAT, db=about)
        elif int(known) > int(FORMAT):
            raise FormatTooNew(f"{root}: format {int(known)}, and this tidemill reads up to {int(FORMAT)}")

    @classmethod
    def of(cls, root: Path, size: int) -> LmdbFile:
        root.mkdir(parents=True, exist_ok=True)
        name = (os.getpid(), str(root.resolve()))
        found = cls._opened.get(name)
        if found is None:
            for inherited in [file for file in cls._opened.values() if file.process != name[0]]:
                inherited.env.close()  # after a fork: LMDB's handles belong to the process that opened them
                inherited.process = name[0]
            with in_our_words(root):
                found = cls._opened[name] = cls(root, size)
        return found


def _close(env: lmdb.Environment, process: int) -> None:
    if process == os.getpid():
        env.close()


@contextlib.contextmanager
def in_our_words(place: Path) -> Iterator[None]:
    """Full disks and full maps as `LatestFull`, naming `place`; all other errors as they are."""
    try:
        yield
    except (lmdb.MapFullError, lmdb.DiskError) as error:
        raise LatestFull(f"{place}: {error}") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise LatestFull(f"{place}: {error.strerror}") from error
    except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise CorruptFile(f"{place}: {error}") from error
