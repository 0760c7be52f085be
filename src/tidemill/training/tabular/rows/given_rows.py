"""Rows that a user gives with a model of their own: their fields, and the numbers of their classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import ImportRefused, nearest
from tidemill.core.kinds import Kind, kind_of_arrow
from tidemill.core.records.signature import InputField

#: Maximum number of rows used.
MOST = 100_000


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
