"""Data files of another system: their columns, their partition values, and a frame over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import narwhals as nw
import pyarrow as pa
from pyarrow import fs

from tidemill.backends.s3.s3_location import SCHEME, S3Location, containing, remember
from tidemill.core.backend import BackendContext, split_scheme
from tidemill.core.errors import ExternalRefused, ExternalVersionGone, nearest
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin, external_type, file_type, table_type

_ORIGIN = "_origin"


@dataclass(frozen=True)
class ForeignFile:
    """A Parquet file, by absolute path or URL, and its partition values: those of columns that are not in the file."""

    path: str
    values: Mapping[str, Any] = field(default_factory=dict)


def place_of(url: str, context: BackendContext) -> str:
    """The absolute path or the URL behind the scheme of an external table."""
    rest = split_scheme(url)[1]
    if not rest.startswith(SCHEME):
        return rest if "://" in rest else str(context.path(url).absolute())
    location = S3Location.from_url(rest)
    remember(replace(location, prefix=""))  # its files are found by their URLs, which have no endpoint
    return str(location)


def file_system(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a place, and its path there."""
    if place.startswith(SCHEME):
        location = location_of(place)
        return fs.S3FileSystem(**location.arrow_options()), place.removeprefix(SCHEME)
    if "://" in place:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(place)
        return found
    return fs.LocalFileSystem(), place


def location_of(place: str) -> S3Location:
    """The bucket of a URL of S3."""
    found = containing([place])
    assert found is not None
    return found[0]


def columns_of(schema: pa.Schema, wanted: Sequence[str]) -> dict[str, str]:
    """Column -> its type in a pin, for all columns or the wanted ones. Raises `ExternalRefused`, naming the column."""
    for name in wanted:
        if name not in schema.names:
            raise ExternalRefused(f"has no column {name!r}", tip=nearest(name, schema.names))
    columns = {}
    for name in wanted or schema.names:
        kind = external_type(schema.field(name).type)
        if kind is None:
            raise ExternalRefused(
                f"has a column {name!r} of the unsupported type {schema.field(name).type}",
                tip="list the columns that you need in mill.external(…, columns=[…])",
            )
        columns[name] = kind
    return columns


def check_present(files: Sequence[ForeignFile], pin: ExternalPin) -> None:
    """Raise `ExternalVersionGone` if one of the files does not exist."""
    if not files:
        return
    system, _ = file_system(files[0].path)
    found = system.get_file_info([file_system(file.path)[1] for file in files])
    missing = [info.path for info in found if info.type != fs.FileType.File]
    if missing:
        raise version_gone(pin, f"{len(missing)} of its {len(found)} files no longer exist, for example {missing[0]}")


def version_gone(pin: ExternalPin, why: str) -> ExternalVersionGone:
    """The error for a pinned version that cannot be read."""
    return ExternalVersionGone(
        f"can no longer be read at {pin.says}: {why}",
        tip="`tidemill run` rebuilds its tables from the current version",
    )


def frame_over(
    engine: Engine, files: Sequence[ForeignFile], pin: ExternalPin, partitions: Sequence[str] = ()
) -> nw.LazyFrame[Any]:
    """A lazy frame over the files, with the values of `partitions` from their files' entries."""
    inside = pa.schema([(name, file_type(kind)) for name, kind in pin.columns.items() if name not in partitions])
    used = [name for name in pin.columns if name in partitions]
    paths = [file.path for file in files]
    if not files:
        return engine.scan([], pin.schema())
    if not used:
        frame = engine.scan(paths, inside, evolved=True)
    else:
        kinds = {name: file_type(pin.columns[name]) for name in used}
        values = {name: pa.array([file.values[name] for file in files], kind) for name, kind in kinds.items()}
        frame = engine.scan(paths, inside, _ORIGIN, evolved=True)
        frame = frame.join(engine.frame(pa.table({_ORIGIN: paths, **values})), on=_ORIGIN, how="inner")
    return frame.select(*(_as_table_type(name, kind) for name, kind in pin.columns.items()))


def _as_table_type(name: str, kind: str) -> nw.Expr:
    if not kind.startswith("decimal"):
        return nw.col(name)
    return nw.col(name).cast(nw.Float64() if pa.types.is_floating(table_type(kind)) else nw.Int64())
