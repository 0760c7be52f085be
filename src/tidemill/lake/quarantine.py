"""Quarantine: the refused lines of each increment, with location and reason; the raw bytes are encrypted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pyarrow as pa

from tidemill.core.errors import NoSuchObject
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Objects
from tidemill.core.record_format import decode_record
from tidemill.core.records.ingest import Increment
from tidemill.core.storage.failpoint import failpoint
from tidemill.core.storage.verification import Verification
from tidemill.lake.parquet_bytes import parquet_from_rows, rows_from_parquet
from tidemill.lake.replace_object import replace_object

_FOLDER, _SUFFIX = "_tidemill/quarantine/", ".parquet"


class Quarantine:
    """Refused lines, one object per increment."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def put(self, stream: str, number: int, refused: pa.Table) -> str:
        """Store the refused lines of an increment, replacing earlier ones of it; without rows, delete them.

        Returns the SHA-256 of the object, which its `publish` entry records; empty without rows.
        """
        name, sha256 = _name(stream, number), ""
        if refused.num_rows:
            content = parquet_from_rows(refused)
            sha256 = hashlib.sha256(content).hexdigest()
            replace_object(self._objects, name, content)
        else:
            self._objects.delete(name)
        failpoint("quarantine.written")
        return sha256

    def verify(self, published: Iterable[LedgerEntry], found: Verification) -> None:
        """Compare each object with the hash in the `publish` entry of its increment; one without a hash is opened."""
        hashes = {}
        for line in published:
            if "increment" in line.details:
                increment = decode_record(line.details["increment"], Increment)
                hashes[_name(increment.stream, increment.number)] = str(line.details.get("quarantine", ""))
        stored = {name for name in self._objects.list(_FOLDER) if name.endswith(_SUFFIX)}
        for name in sorted({name for name, sha256 in hashes.items() if sha256} - stored):
            found.problem(f"the refused rows {name} are missing")
        for name in sorted(stored):
            with found.attempt(f"the refused rows {name}"):
                content = self._objects.get(name)
                found.read(name, len(content))
                expected = hashes.get(name)
                if expected and hashlib.sha256(content).hexdigest() != expected:
                    found.problem(f"the refused rows {name} differ from their hash in the ledger")
                elif not expected:
                    rows_from_parquet(content)

    def read(self, stream: str) -> pa.Table | None:
        """All refused lines of a stream, with `_increment` as the first column; `None` if there are none."""
        parts = []
        for name in self._objects.list(_folder(stream)):
            if not name.endswith(_SUFFIX):
                continue
            try:
                rows = rows_from_parquet(self._objects.get(name))
            except NoSuchObject:  # a concurrent run is replacing it
                continue
            number = int(name.removeprefix(_folder(stream)).removesuffix(_SUFFIX))
            parts.append(rows.add_column(0, "_increment", pa.array([number] * rows.num_rows, pa.int64())))
        return pa.concat_tables(parts, promote_options="permissive") if parts else None


def _folder(stream: str) -> str:
    return f"{_FOLDER}{stream}/"


def _name(stream: str, number: int) -> str:
    return f"{_folder(stream)}{number:010d}{_SUFFIX}"
