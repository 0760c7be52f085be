"""Parquet files of another writer, pinned by a fingerprint of their names, sizes and times of modification."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import narwhals as nw
import pyarrow as pa
from pyarrow import fs, parquet

from tidemill.backends.external.foreign_files import (
    ForeignFile,
    columns_of,
    file_system,
    frame_over,
    place_of,
    version_gone,
)
from tidemill.core.backend import BackendContext
from tidemill.core.errors import ExternalMissing, ExternalRefused
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.redaction import redact

#: How Hive writes a missing partition value.
_MISSING = "__HIVE_DEFAULT_PARTITION__"
_WILDCARD, _INTEGER = re.compile(r"[*?\[]"), re.compile(r"0|-?[1-9]\d{0,17}")


@dataclass(frozen=True)
class ListedFile:
    """A file of the listing: its path relative to the table's folder, and its stamp."""

    name: str
    path: str
    size_bytes: int
    mtime_ns: int


class ExternalParquet:
    """The Parquet files at `parquet:FOLDER`, `parquet:FILE` or `parquet:PATTERN`, with Hive partitions (`year=2024`).

    Columns are those of the newest file. The pinned version is read as long as its files are unchanged; files that are
    added later do not belong to it.
    """

    def __init__(self, place: str, shown: str) -> None:
        self._place, self._shown = place, shown

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ExternalParquet:
        """The files; relative paths start at the project's folder. Nothing is read yet."""
        return cls(place_of(url, context), redact(url, whole=True))

    def pin(self, engine: Engine, columns: Sequence[str] = ()) -> ExternalPin:
        listed = self._listed()
        newest = max(listed, key=lambda file: (file.mtime_ns, file.name), default=None)
        if newest is None:
            raise ExternalMissing(f"has no Parquet file at {self._shown}")
        system, path = file_system(newest.path)
        try:
            schema = parquet.read_schema(path, filesystem=system)
        except pa.ArrowInvalid as error:
            raise ExternalRefused(f"has a file that is not Parquet: {newest.path}") from error
        partitions = partition_types([hive_values(file.name) for file in listed])
        inside = [field for field in schema if field.name not in partitions]
        schema = pa.schema([*inside, *(pa.field(name, kind) for name, kind in partitions.items())])
        sha256 = fingerprint_of(listed)
        return ExternalPin(
            kind="parquet",
            place=self._shown,
            says=f"{len(listed)} file{'s' * (len(listed) != 1)} with fingerprint {sha256[:12]}",
            version={"sha256": sha256, "newest_ns": str(newest.mtime_ns)},
            columns=columns_of(schema, columns),
        )

    def check(self, engine: Engine, pin: ExternalPin) -> None:
        self._pinned(pin)

    def frame(self, engine: Engine, pin: ExternalPin) -> nw.LazyFrame[Any]:
        listed = self._pinned(pin)
        found = [hive_values(file.name) for file in listed]
        partitions = partition_types(found)
        files = [
            ForeignFile(file.path, {name: typed(values[name], pin.columns.get(name)) for name in partitions})
            for file, values in zip(listed, found, strict=True)
        ]
        return frame_over(engine, files, pin, tuple(partitions))

    def _pinned(self, pin: ExternalPin) -> list[ListedFile]:
        """The files of the pinned version, which are those that are not newer than its newest one."""
        newest = int(pin.version["newest_ns"])
        listed = [file for file in self._listed() if file.mtime_ns <= newest]
        if fingerprint_of(listed) != pin.version["sha256"]:
            raise version_gone(pin, "its files were deleted or replaced")
        return listed

    def _listed(self) -> list[ListedFile]:
        system, path = file_system(self._place)
        fixed, pattern = _split_pattern(path)
        selector = fs.FileSelector(fixed, recursive=True, allow_not_found=True)
        info = system.get_file_info(fixed)
        if info.type == fs.FileType.File:
            return [self._entry(info, str(PurePosixPath(fixed).parent))]
        infos = [one for one in system.get_file_info(selector) if one.type == fs.FileType.File]
        listed = [self._entry(one, fixed) for one in infos]
        if any(file.name.startswith("_delta_log/") for file in listed):
            raise ExternalRefused(f"is a Delta table: {self._shown}", tip="write `delta:` instead of `parquet:`")
        return sorted((file for file in listed if _is_data(file.name, pattern)), key=lambda file: file.name)

    def _entry(self, info: fs.FileInfo, folder: str) -> ListedFile:
        name = info.path[len(folder.rstrip("/")) + 1 :]
        prefix = self._place[: self._place.index("://") + 3] if "://" in self._place else ""
        return ListedFile(name, prefix + info.path, info.size, info.mtime_ns)


def fingerprint_of(files: Sequence[ListedFile]) -> str:
    """sha256 in hex of the names, sizes and times of modification of files in order."""
    text = "".join(f"{file.name}\t{file.size_bytes}\t{file.mtime_ns}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def hive_values(name: str) -> dict[str, str | None]:
    """The partition values in the folders of a relative path.

    >>> hive_values("day=2024-01-01/shop=a%20b/part-0.parquet")
    {'day': '2024-01-01', 'shop': 'a b'}
    """
    pairs = (folder.partition("=") for folder in name.split("/")[:-1] if "=" in folder)
    return {unquote(key): None if value == _MISSING else unquote(value) for key, _, value in pairs}


def partition_types(found: Sequence[Mapping[str, str | None]]) -> dict[str, pa.DataType]:
    """The partition columns and their types: integers if all values are written as integers are, else text.

    >>> partition_types([{"year": "2024", "month": "01"}, {"year": "2025", "month": "02"}])
    {'year': DataType(int64), 'month': DataType(string)}
    """
    names = list(found[0]) if found else []
    if any(list(values) != names for values in found):
        raise ExternalRefused("has files in different partition folders: all need the same keys in the same order")
    kinds = {}
    for name in names:
        values = [values[name] for values in found]
        is_integer = all(value is None or _INTEGER.fullmatch(value) for value in values) and any(values)
        kinds[name] = pa.int64() if is_integer else pa.string()
    return kinds


def typed(value: str | None, kind: str | None) -> str | int | None:
    """A partition value in the type that its pin has."""
    return int(value) if value is not None and kind == "int" else value


def _split_pattern(path: str) -> tuple[str, list[str]]:
    """The folder in front of the first wildcard, and the parts of the pattern behind it."""
    parts = path.split("/")
    first = next((place for place, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    return "/".join(parts[:first]) or "/", parts[first:]


def _is_data(name: str, pattern: Sequence[str]) -> bool:
    """Whether a file is of the table: it matches the pattern, and no part of its path is hidden (`_SUCCESS`)."""
    parts = name.split("/")
    if any(part.startswith((".", "_")) and "=" not in part for part in parts):
        return False
    if not pattern:
        return True
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))
