"""Quarantine: the refused rows of each increment, with location and reason; the raw bytes are sealed."""

from __future__ import annotations

import pyarrow as pa

from tidemill.core.errors import NoSuchObject
from tidemill.core.ports import Objects
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.parquet_bytes import parquet_from_rows, rows_from_parquet
from tidemill.lake.replace_object import replace_object

_SUFFIX = ".parquet"


class Quarantine:
    """Refused rows, one object per increment."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def put(self, stream: str, number: int, refused: pa.Table) -> None:
        """Keep what was refused of an increment; the same increment again replaces it, and no rows remove it."""
        name = f"{_folder(stream)}{number:010d}{_SUFFIX}"
        if refused.num_rows:
            replace_object(self._objects, name, parquet_from_rows(refused))
        else:
            self._objects.delete(name)
        failpoint("quarantine.written")

    def read(self, stream: str) -> pa.Table | None:
        """Everything refused of a stream, with `_increment` first; `None` where nothing was."""
        parts = []
        for name in self._objects.list(_folder(stream)):
            if not name.endswith(_SUFFIX):
                continue
            try:
                rows = rows_from_parquet(self._objects.get(name))
            except NoSuchObject:  # a run replaces it at this moment
                continue
            number = int(name.removeprefix(_folder(stream)).removesuffix(_SUFFIX))
            parts.append(rows.add_column(0, "_increment", pa.array([number] * rows.num_rows, pa.int64())))
        return pa.concat_tables(parts, promote_options="permissive") if parts else None


def _folder(stream: str) -> str:
    return f"_tidemill/quarantine/{stream}/"
