"""Rows read from a user's file and cast to the types of the fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from tidemill.core.errors import ImportRefused, nearest
from tidemill.core.kinds import Kind, kind_of_arrow
from tidemill.core.record_format import decode_json
from tidemill.core.records.signature import InputField

#: Maximum number of rows read.
MOST = 100_000


def read_rows(file: Path) -> pa.Table:
    """The rows of a `.csv` with a header, a `.parquet` file, or a `.json` file that is a list of objects.

    Raises `ImportRefused` if it cannot be read.
    """
    try:
        return _read(file)
    except (OSError, pa.ArrowException, msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise ImportRefused(f"{file} cannot be read: {str(problem)[:200]}") from problem


def _read(file: Path) -> pa.Table:
    if file.suffix == ".csv":
        nulls = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
        return pyarrow.csv.read_csv(file, convert_options=nulls).slice(0, MOST)
    if file.suffix == ".parquet":
        return pyarrow.parquet.read_table(file).slice(0, MOST)
    if file.suffix == ".json":
        return pa.Table.from_pylist(decode_json(file.read_bytes(), list[dict[str, Any]])[:MOST])
    raise ImportRefused(f"{file} is not a .csv, .parquet or .json file")


def fields_of_rows(rows: pa.Table) -> tuple[InputField, ...]:
    """The columns as fields, by their types. Raises `ImportRefused` for an unsupported type."""
    return tuple(InputField(name=column.name, kind=_kind(column)) for column in rows.schema)


def _kind(column: pa.Field) -> Kind:
    kind = kind_of_arrow(column.type)
    if kind is None:
        raise ImportRefused(f"column {column.name!r} is {column.type}, which is not a supported type")
    return kind


def class_numbers(column: pa.ChunkedArray, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """float64 (n): the number of each row's class. Raises `ImportRefused` for a class outside `classes`."""
    place = {name: number for number, name in enumerate(classes)}
    named = [_name(value) for value in column.to_pylist()]
    unknown = sorted({name for name in named if name not in place})
    if unknown:
        raise ImportRefused(
            f"the target contains {unknown[0]!r}, but the classes are {', '.join(classes)}",
            tip=f'{nearest(unknown[0], classes)}; name them in the card: "classes": ["no", "yes"]',
        )
    return np.asarray([place[name] for name in named], np.float64)


def _name(value: Any) -> str:
    if isinstance(value, bool | float) and value == int(value):
        return str(int(value))
    return str(value)
