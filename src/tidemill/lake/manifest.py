"""Manifest of a table version: every file with its SHA-256, to detect damage that the table's own log does not.

A flipped byte in a Parquet file usually reads as another value without an error, and a truncated log opens as an older
table. A manifest is written before the version that it describes, and its own SHA-256 is in the ledger.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

import msgspec
import pyarrow as pa

from tidemill.core.errors import CorruptFile, NoSuchObject
from tidemill.core.ports import FileStamp, Objects, StagedFile, Tables
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.verification import Verification
from tidemill.lake.replace_object import replace_object

_FOLDER = "_tidemill/manifests/"
#: A serialized Arrow schema. An alias, because `TableManifest` has a property called `bytes`.
Message = bytes


class TableManifest(VersionedRecord, frozen=True, kw_only=True):
    """The files of one table version."""

    KIND: ClassVar[str] = "table manifest"
    REQUIRED: ClassVar[tuple[str, ...]] = ("table", "version", "files")

    table: str = ""
    version: int = 0
    files: tuple[StagedFile, ...] = ()
    #: Column -> Arrow type as text, for people.
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    #: The schema as an Arrow schema message, so that an older version keeps its own schema.
    arrow: Message = b""

    @property
    def schema(self) -> pa.Schema | None:
        """The schema of this version; `None` if it was written before schemas were stored."""
        return pa.ipc.read_schema(pa.py_buffer(self.arrow)) if self.arrow else None

    @property
    def rows(self) -> int:
        """The number of rows of the version."""
        return sum(file.entry.rows for file in self.files)

    @property
    def bytes(self) -> bytes:
        """The serialised manifest, which is hashed and written."""
        return msgspec.json.encode(self, order="deterministic")

    @property
    def sha256(self) -> str:
        """The hash that the ledger records."""
        return hashlib.sha256(self.bytes).hexdigest()


class Manifests:
    """The manifests of a lake, one object per table and version, and the verification of data files against them."""

    def __init__(self, objects: Objects, tables: Tables) -> None:
        self._objects, self._tables = objects, tables
        self._newest: dict[str, tuple[int, str, TableManifest]] = {}
        #: (table, file) -> stamp of the files whose hash this process has verified.
        self._compared: dict[tuple[str, str], FileStamp] = {}

    def write(self, manifest: TableManifest) -> None:
        """Durably store a manifest; replaces one that an unpublished draft left."""
        replace_object(self._objects, _name(manifest.table, manifest.version), manifest.bytes)

    def read(self, table: str, version: int, sha256: str) -> TableManifest:
        """The manifest with this hash. Raises `CorruptFile` if it is missing or different."""
        known = self._newest.get(table)
        if known and known[:2] == (version, sha256):
            return known[2]
        found = self._decoded(table, version, sha256)
        self._newest[table] = (version, sha256, found)
        return found

    def verified(self, table: str, version: int, sha256: str, found: Verification) -> TableManifest:
        """The manifest with this hash, read again from the store; raises like `read`."""
        manifest = self._decoded(table, version, sha256)
        found.read(_name(table, version), len(manifest.bytes))
        return manifest

    def stored(self, table: str, version: int, found: Verification) -> TableManifest:
        """The manifest that is stored, whatever its hash is."""
        content = self._objects.get(_name(table, version))
        found.read(_name(table, version), len(content))
        return _decode(content, _name(table, version))

    def tables(self) -> list[str]:
        """The tables that have stored manifests, sorted."""
        return sorted({name.removeprefix(_FOLDER).partition("/")[0] for name in self._objects.list(_FOLDER)})

    def versions(self, table: str) -> list[int]:
        """The versions of a table that have a stored manifest, sorted."""
        stems = (name.rpartition("/")[2].removesuffix(".json") for name in self._objects.list(f"{_FOLDER}{table}/"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def expire(self, table: str, oldest: int) -> None:
        """Delete the manifests of the versions before `oldest`."""
        for version in self.versions(table):
            if version < oldest:
                self._objects.delete(_name(table, version))
        self._compared = {place: stamp for place, stamp in self._compared.items() if place[0] != table}

    def _decoded(self, table: str, version: int, sha256: str) -> TableManifest:
        name = _name(table, version)
        try:
            content = self._objects.get(name)
        except NoSuchObject as error:
            raise CorruptFile(f"the manifest {name} is missing", tip="tidemill verify") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CorruptFile(f"the manifest {name} differs from its hash in the ledger", tip="tidemill verify")
        return _decode(content, name)

    def verified_path(self, table: str, entry: FileEntry) -> str:
        """The path of a data file, after verifying its content. Raises `CorruptFile` if it was changed.

        A flipped byte usually reads as another value without an error, so each file is hashed before this process reads
        it for the first time, and again when its stamp has changed.
        """
        found = self._tables.stamp(table, entry.path)
        place = self._tables.locate(table, entry.path)
        if found.size_bytes != entry.size_bytes:
            raise CorruptFile(
                f"{place} has {found.size_bytes} bytes, but {entry.size_bytes} were written", tip="tidemill verify"
            )
        if self._compared.get((table, entry.path)) != found:
            if self._tables.digest(table, entry.path)[0] != entry.sha256:
                raise CorruptFile(f"{place} differs from what was written", tip="tidemill verify")
            self._compared[table, entry.path] = found
        return place


def _name(table: str, version: int) -> str:
    return f"{_FOLDER}{table}/{version}.json"


def _decode(content: bytes, name: str) -> TableManifest:
    return decode_record(content, TableManifest, name)
