"""Quarantine: the refused lines of each increment, with location and reason; the raw bytes are encrypted."""

from __future__ import annotations

import pyarrow as pa

from tidemill.core.errors import NoSuchObject
from tidemill.core.ports import Objects
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.parquet_bytes import parquet_from_rows, rows_from_parquet
from tidemill.lake.replace_object import replace_object

_SUFFIX = ".parquet"


class Quarantine:
    """Refused lines, one object per increment."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def put(self, stream: str, number: int, refused: pa.Table) -> None:
        """Store the refused lines of an increment, replacing earlier ones of it; without rows, delete them."""
        name = f"{_folder(stream)}{number:010d}{_SUFFIX}"
        if refused.num_rows:
            replace_object(self._objects, name, parquet_from_rows(refused))
        else:
            self._objects.delete(name)
        failpoint("quarantine.written")

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
    return f"_tidemill/quarantine/{stream}/"
