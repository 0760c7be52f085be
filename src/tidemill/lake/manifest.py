"""Our own account of each table version: every file with its sha256, so that what a log does not notice is found.

A flipped byte in a Parquet file mostly reads as another value without an error, and a log cut short opens as an older
table. A manifest is written before the version that it describes, and its own sha256 stands in the ledger.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pyarrow as pa

from tidemill.core.durable import sha256_of, write_durably
from tidemill.core.errors import CorruptFile, FormatTooNew
from tidemill.core.ports import StagedFile
from tidemill.core.records import FileEntry

FORMAT = 1
#: A serialized Arrow schema; a name of its own, because a manifest has a property called `bytes`.
Message = bytes


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one table version."""

    table: str
    version: int
    files: tuple[StagedFile, ...]
    #: Column -> Arrow type in words, for people.
    columns: dict[str, str] = {}
    #: The same as an Arrow schema message: an older version keeps its columns when newer ones have others.
    arrow: Message = b""
    format: int = FORMAT

    @property
    def schema(self) -> pa.Schema | None:
        """The columns of this version; `None` where it was written before schemas were kept."""
        return pa.ipc.read_schema(pa.py_buffer(self.arrow)) if self.arrow else None

    @property
    def rows(self) -> int:
        """How many rows the version has."""
        return sum(file.entry.rows for file in self.files)

    @property
    def bytes(self) -> bytes:
        """What is hashed and written."""
        return msgspec.json.encode(self, order="deterministic")

    @property
    def sha256(self) -> str:
        """The hash that the ledger keeps."""
        return hashlib.sha256(self.bytes).hexdigest()


class Manifests:
    """The manifests of a lake, one file per table and version."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._newest: dict[str, tuple[int, str, Manifest]] = {}
        #: Path -> size and time of change of files whose content was compared with their hash by this process.
        self._compared: dict[str, tuple[int, int]] = {}

    def path(self, table: str, version: int) -> Path:
        """Where a manifest lies."""
        return self._root / table / f"{version}.json"

    def write(self, manifest: Manifest) -> None:
        """Keep a manifest, durably."""
        write_durably(self.path(manifest.table, manifest.version), manifest.bytes)

    def read(self, table: str, version: int, sha256: str) -> Manifest:
        """The manifest with this hash; `CorruptFile` where it is missing or another."""
        known = self._newest.get(table)
        if known and known[:2] == (version, sha256):
            return known[2]
        file = self.path(table, version)
        try:
            content = file.read_bytes()
        except FileNotFoundError as error:
            raise CorruptFile(f"the manifest {file} is missing", tip="tidemill lake verify") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CorruptFile(f"the manifest {file} differs from its hash in the ledger", tip="tidemill lake verify")
        found = _decode(content, file)
        self._newest[table] = (version, sha256, found)
        return found

    def believe(self, path: str, entry: FileEntry) -> str:
        """The path of a data file whose content is what was written; `CorruptFile` names one that is not.

        A flipped byte mostly reads as another value without an error, so each file is hashed before this process
        reads it for the first time, and again when its size or its time of change moved.
        """
        file = Path(path)
        try:
            found = file.stat()
        except FileNotFoundError as error:
            raise CorruptFile(f"{file} is missing", tip="tidemill lake verify") from error
        if found.st_size != entry.size_bytes:
            raise CorruptFile(
                f"{file} has {found.st_size} bytes, and {entry.size_bytes} were written", tip="tidemill lake verify"
            )
        stands = (found.st_size, found.st_mtime_ns)
        if self._compared.get(path) != stands:
            if sha256_of(file) != entry.sha256:
                raise CorruptFile(f"{file} differs from what was written", tip="tidemill lake verify")
            self._compared[path] = stands
        return path


def _decode(content: bytes, file: Path) -> Manifest:
    found = msgspec.json.decode(content, type=Manifest)
    if found.format > FORMAT:
        raise FormatTooNew(f"{file} has format {found.format}, and this tidemill knows {FORMAT}")
    return found
