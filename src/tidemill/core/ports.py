"""Ports: the interfaces between rooms and technologies. A back-end implements a port; the URL of a setting selects it.

A setting without a scheme is the embedded back-end and a path relative to the project; with one (`redis://cache:6379`)
the scheme is the name of an entry point in the port's group. `tidemill.core.backend` describes how a back-end is
opened from its URL; docs/backends.md has an example.

A port is stable once it has two real back-ends. Today: Engine has Polars and Spark; all others are provisional.
Arrow types are imported for the type checker only, so that importing this file loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tidemill.core.records.ingest import FileEntry

if TYPE_CHECKING:
    import narwhals as nw
    import numpy as np
    import pyarrow as pa

    from tidemill.core.source_read import ReadRequest, SourceRead


class StagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A data file that is written and durable; a table version names it once it is committed."""

    entry: FileEntry = FileEntry()
    #: Column -> smallest and largest value: numbers as they are, times in microseconds, dates in days since 1970.
    #: Text and personal columns are never in here.
    ranges: dict[str, tuple[int | float, int | float]] = {}
    #: Column -> how many values are missing, for the same columns.
    nulls: dict[str, int] = {}


class TableCommit(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a table, as its own log has it."""

    version: int
    #: The number that it was committed under; 0 for the empty version that `create` made.
    number: int
    note: dict[str, str]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class FileStamp(msgspec.Struct, frozen=True, kw_only=True):
    """What tells at low cost that a data file is another one than before. Equal stamps, same content."""

    size_bytes: int
    #: Opaque: a time of change, an ETag.
    mark: str


class Tables(Protocol):
    """Versioned tables. Files are staged first; one commit names them; a commit is taken once per number."""

    def create(self, table: str, schema: pa.Schema, personal: Sequence[str]) -> int:
        """Make the table if it is not there, and give its version; `personal` columns never enter statistics.

        A table of other columns in which nothing was committed yet is made anew; else it is `SchemaChanged`.
        """
        ...

    def schema(self, table: str) -> pa.Schema | None:
        """The columns, or `None` where the table does not exist."""
        ...

    def stage(self, table: str, number: int, rows: pa.Table) -> list[StagedFile]:
        """Write `rows` as data files of the coming commit `number`, fsynced; no version names them yet."""
        ...

    def discard(self, table: str, number: int) -> int:
        """Remove files that were staged for `number` or later and that no version names; how many there were.

        Those of numbers that were committed are among them. It reads the log as far back as `number`.
        """
        ...

    def commit(
        self,
        table: str,
        number: int,
        base: int,
        add: Sequence[StagedFile],
        remove: Sequence[str],
        note: Mapping[str, str],
        schema: pa.Schema | None = None,
    ) -> int:
        """Name and drop files in the version after `base`, once per `number`: a repeat gives the first one's version.

        Files that were staged for `number` and are not in `add` are removed.

        With `schema`, the table has these columns from this version on, and `add` is all that it holds.

        Durable when it returns. `StaleWriter` where the table has moved past `base`.
        """
        ...

    def files(self, table: str, version: int) -> list[str]:
        """Sorted paths (relative to the table) of the files of a version, from the table's own log."""
        ...

    def history(self, table: str) -> Iterator[TableCommit]:
        """Every version, newest first, read only as far as it is asked for."""
        ...

    def locate(self, table: str, file: str) -> str:
        """Where a file lies, as `Engine.scan` takes it: a local path or a URL."""
        ...

    def read(self, table: str, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one file, or only some columns of them; with no column at all, how many rows it has.

        `CorruptFile` where it is missing or cannot be read.
        """
        ...

    def digest(self, table: str, file: str) -> tuple[str, int]:
        """sha256 in hex and size in bytes of a file's content, all of it read; `CorruptFile` where it is missing."""
        ...

    def stamp(self, table: str, file: str) -> FileStamp:
        """Size and change mark of a file, without reading its content; `CorruptFile` where it is missing."""
        ...


class Engine(Protocol):
    """Table expressions: runs a function over Narwhals frames."""

    name: str

    def scan(self, files: Sequence[str], schema: pa.Schema, origin: str | None = None) -> nw.LazyFrame[Any]:
        """A lazy frame over Parquet files; without files, an empty one of this schema.

        `origin` names a further column with the path of the file that each row lies in.
        """
        ...

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        """A lazy frame over rows in memory."""
        ...

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        """The rows of a frame, in the one Arrow form that all engines give.

        Text is `string`, every integer `int64`, every float `float64`, a time `timestamp[us, UTC]`.
        """
        ...


class Source(Protocol):
    """Where the rows of a stream come from. Made with `(url, contract, base)`; nothing is read before `read`.

    `base` is the project's folder, to which paths in the URL are relative.
    """

    #: What the source calls its state: `files`, `shop`. Two kinds of sources of one stream keep two states.
    kind: str

    def read(self, request: ReadRequest) -> SourceRead:
        """The rows that are due and were not taken before, each under its row id for good, and the state after them.

        With the state that it gave, a source gives no row twice. A row that is read again (the state was not kept) has
        the same row id. Raises `FormatTooNew` for a state of a later format, and `SourceError`.
        """
        ...


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger line as a store keeps it: the hashed bytes, and columns that are only an index over them."""

    seq: int
    #: Canonical JSON; these bytes are what `hash` was made of, and they are given back unchanged.
    body: bytes
    hash: str
    #: Ed25519 signature of `seq` and `hash`.
    head: bytes
    at: int
    actor: str
    act: str
    about: str
    fingerprint: str


class LedgerStore(Protocol):
    """Where ledger lines are kept: append-only, in order, one durable transaction per append."""

    def append(
        self, build: Callable[[StoredEntry | None], StoredEntry], lease: tuple[str, int] | None = None
    ) -> StoredEntry:
        """Add the line that `build` makes of the last one, with nobody in between; a stale lease is `LeaseLost`."""
        ...

    def lines(self, after: int = 0, *, backwards: bool = False, where: Mapping[str, str] = {}) -> Iterator[StoredEntry]:
        """Lines with a number above `after`, by number; `where` gives `act`, `about`, `actor` or `fingerprint`."""
        ...

    def last(self) -> StoredEntry | None:
        """The line with the largest number."""
        ...

    def lease(self, name: str, holder: str) -> int:
        """Take the next rising number of a lease; from now on appends with a smaller one are refused."""
        ...

    def damage(self) -> list[str]:
        """Damage that the store can see by itself, such as an index that has lost a line; empty where there is none."""
        ...


class VaultStore(Protocol):
    """Sealed identities by surrogate; it never sees a raw identifier."""

    def put(self, entries: Iterable[tuple[str, str, bytes, bytes]]) -> int:
        """Keep `(surrogate, kind, sealed identifier, wrapped key)`, and say how many were new; known surrogates are
        left alone.
        """
        ...

    def get(self, surrogate: str) -> tuple[str, bytes, bytes] | None:
        """`(kind, sealed identifier, wrapped key)`."""
        ...

    def get_many(self, surrogates: Sequence[str]) -> dict[str, tuple[str, bytes, bytes]]:
        """What `get` gives, for those that have an entry."""
        ...

    def known(self, surrogates: Sequence[str]) -> set[str]:
        """Those that have an entry."""
        ...

    def forget(self, surrogates: Sequence[str]) -> int:
        """Remove the entries of these people, and say how many there were. When it returns no file of the store holds
        a byte of their keys; where it was killed, run it again.
        """
        ...


class Latest(Protocol):
    """Reads the newest row of each key of a view: a snapshot that a run writes, and fresh rows on top.

    Rows are dicts of column to plain value, without the key; times are integer microseconds. A networked back-end does
    one round trip for each call, whatever number of keys or views it names.
    """

    def version(self, view: str) -> str | None:
        """The version of the snapshot that readers see."""
        ...

    def get(self, view: str, key: str) -> dict[str, Any] | None:
        """One row, fresh ones first; `None` where the key is missing."""
        ...

    def get_many(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None]:
        """The row of each `(view, key)`, in their order, all of one instant; as `get` gives it."""
        ...

    def take(self, view: str, keys: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
        """Columns for many keys, in their order, null where missing; and which keys are present (bool)."""
        ...

    def keys(self, view: str) -> list[str]:
        """All keys of a view, sorted."""
        ...

    def marks(self, views: Sequence[str]) -> tuple[int, ...]:
        """The present mark of each view, all of one instant: a number that rises whenever anything of it changes.

        Cheap: servers call it many times a second.
        """
        ...

    def changed(self, view: str, after: int) -> tuple[int, list[str] | None]:
        """The present mark of a view, and the keys whose fresh rows came or went since the mark `after`; `None` where
        that is not known, or where the snapshot is another one: read all again.
        """
        ...


class LatestWriter(Latest, Protocol):
    """Writes the newest rows; the same back-end fills it, since who writes also reads.

    A fresh row carries the instant `at` at which it was put (microseconds, the server's clock) and counts until a
    snapshot covers that instant.
    """

    def write(self, view: str, key: str, rows: pa.Table, version: str, covers: int | None = None) -> None:
        """Replace the snapshot of a view by `rows`, one per `key` column, at once; readers see the old or the new one.
        Fresh rows put before the instant `covers` go in the same swap: what they knew is in `rows`.
        """
        ...

    def put(self, view: str, key: str, row: Mapping[str, Any], at: int) -> None:
        """A fresh row on top of the snapshot, seen by every process at once."""
        ...

    def change(
        self, view: str, by: Mapping[str, Callable[[dict[str, Any] | None], Mapping[str, Any]]], at: int
    ) -> dict[str, dict[str, Any]]:
        """Put what the function of each key makes of its present row (or `None`), all or none of them, with no other
        writer in between, and give the new rows.

        A function depends on the row alone and may be called more than once. A back-end that cannot run functions in
        its transaction reads the rows, calls the functions, writes on the condition that none of these rows moved
        since (Redis: WATCH, MULTI, EXEC), and begins again where one did.
        """
        ...

    def drop_covered(self, view: str, covers: int) -> int:
        """Drop the fresh rows put before the instant `covers`, and say how many."""
        ...

    def forget(self, keys: Sequence[str]) -> int:
        """Remove these keys from every view, snapshots and fresh rows, and say how many rows went. When it returns no
        file of the store holds a byte of them, of what was there before included; where it was killed, run it again.
        Nobody may write a view meanwhile that has them: hold the run's lease.
        """
        ...


class Blobs(Protocol):
    """Bytes by key, here folders of files."""

    def put_folder(self, key: str, source: str) -> None:
        """Move a finished folder in under `key`, whole or not at all; an existing key is left alone. The source is gone
        afterwards.
        """
        ...

    def folder(self, key: str) -> str:
        """The local path of a folder; `NoSuchBlob` where there is none."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Keys that start with `prefix`, sorted."""
        ...

    def remove(self, key: str) -> None:
        """Remove a folder, whole or not at all; where there is none, nothing happens. Who has it open keeps it."""
        ...


class Objects(Protocol):
    """Object store: bytes by name, for what lies beside tables. An object is whole or not there, and never changes.

    Names have parts with a slash between them (`core.object_names` says which names are refused). A name is either an
    object or a folder of objects, not both.
    """

    def put(self, name: str, body: bytes) -> bool:
        """Store an object if the name is free; `False` where it is taken, and the first one stays.

        Durable when it returns, the first one included.
        """
        ...

    def get(self, name: str) -> bytes:
        """The content of an object; `NoSuchObject` where there is none."""
        ...

    def list(self, prefix: str) -> list[str]:
        """The names that start with `prefix`, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object; where there is none, nothing happens. The name is free again."""
        ...


class LoggedEvent(msgspec.Struct, frozen=True):
    """One event of a log: its payload, and its name, which is the number that it has in its partition, from 1.

    A partition is what one writer wrote in one go; partition and number are the same whenever the event is read.
    """

    partition: str
    number: int
    payload: bytes


class EventBatch(msgspec.Struct, frozen=True):
    """Events of one stream, and the position after them, from which the next read goes on."""

    events: tuple[LoggedEvent, ...]
    #: Opaque; kept by the reader for as long as it likes.
    position: str


class EventWriter(Protocol):
    """Appends to one stream of an event log; one process writes with it. Payloads hold at least one byte."""

    def write(self, *payloads: bytes) -> None:
        """Add the payloads in their order. They survive a killed process, and nothing waits for the disk.

        All or none of them: where it raises `OSError` (or `ValueError` for an empty payload), none is there.
        """
        ...

    async def append(self, *payloads: bytes) -> None:
        """`write`, and durable against a power cut when it returns; appends that wait together share one flush.

        Raises `OSError` where that failed. Then it is not known whether they are there.
        """
        ...

    def close(self) -> None:
        """Flush, unless the writer is not durable, and close. The next `write` or `append` opens it again."""
        ...


class EventLog(Protocol):
    """Streams of events that are only added to. Many processes write and read; each writer's order is kept."""

    def writer(self, stream: str, *, durable: bool = True) -> EventWriter:
        """A writer to the end of a stream. With `durable=False` only `write` is used, and nothing is ever flushed."""
        ...

    def read(self, stream: str, after: str = "", limit: int = 10_000) -> EventBatch:
        """Up to `limit` events after a position, or from the first one on; none where nothing came since.

        Each event is given once along a chain of positions, whoever wrote meanwhile. Of two writers, one may be given
        before the other. `SegmentDamaged` where what was written does not match its checksum.
        """
        ...


class VectorSearch(Protocol):
    """Nearest vectors by inner product."""

    name: str

    def build(self, vectors: np.ndarray, folder: str, queries: np.ndarray | None = None) -> None:
        """Write the index of float32 vectors (n, d) into `folder`, tuned on real `queries` (m, d) where given."""
        ...

    def open(self, folder: str) -> VectorIndex:
        """Open what `build` wrote, memory-mapped."""
        ...


class VectorIndex(Protocol):
    """An opened index."""

    @property
    def count(self) -> int:
        """How many vectors it holds."""
        ...

    def query(self, vector: np.ndarray, n: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of the n nearest vectors, best first.

        `allowed` (bool, one for each vector) keeps the others out before the nearest are taken, so that there are n
        wherever so many are allowed.
        """
        ...

    def query_many(
        self, vectors: np.ndarray, n: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `query` finds for each row of `vectors` (m, d): arrays (m, min(n, count)), filled up with position -1
        and product -inf where a row has fewer.
        """
        ...


class Lease(Protocol):
    """A held lease: its name and rising number. Leaving the `with` block, or the death of the process, frees it.

    The number goes with every ledger line of the holder. A line with an older number than the newest is `LeaseLost`.
    """

    name: str
    number: int

    def __enter__(self) -> Lease: ...
    def __exit__(self, *exc: object) -> None: ...

    def beat(self) -> None:
        """Say that the holder is alive, and raise `LeaseLost` where somebody else holds the lease by now.

        A back-end whose leases expire does this by itself, in time, from a thread of its own.
        """
        ...

    def release(self) -> None:
        """Free the lease; twice is fine."""
        ...


class Leases(Protocol):
    """One holder per name at a time, on this machine or beyond. A name may hold a colon: `train:for_you`."""

    def take(self, name: str) -> Lease:
        """Hold `name`, with a number above all earlier ones; `LeaseTaken` names the holder. It never waits."""
        ...

    def holder(self, name: str) -> str | None:
        """Who holds `name` now, in words; `None` where nobody does."""
        ...
