"""The columns that define slices: values of texts, flags and few numbers; quartiles of many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.errors import UnknownName, nearest
from tidemill.models.tabular.examples import Examples

I64 = npt.NDArray[np.int64]

#: Minimum and maximum number of values of a column that is sliced by value.
FEWEST_VALUES, MOST_VALUES = 2, 20
#: The name of a missing value, and of values beyond the most frequent ones of a declared column.
MISSING, OTHERS = "missing", "others"


@dataclass(frozen=True, eq=False)
class SliceColumn:
    """Rows by one column: `code` int64 (n) is the index of each row's value in `values`."""

    column: str
    values: tuple[str, ...]
    code: I64


def declared_slice_columns(examples: Examples, names: Sequence[str]) -> list[SliceColumn]:
    """The declared slice columns, among the attributes or the inputs; `UnknownName` for any other."""
    found = []
    for name in names:
        column = _column(examples, name)
        if column is None:
            known = _names(examples)
            raise UnknownName(f"the examples have no column {name!r} to slice by", tip=nearest(name, known))
        found.append(_by_values(name, column, limit=False) if _is_text(column) else by_number(name, column))
    return [cut for cut in found if cut is not None]


def default_slice_columns(examples: Examples) -> list[SliceColumn]:
    """Every attribute and input that has 2 to 20 values, and the quartiles of those with more numbers."""
    found = []
    for name in _names(examples):
        column = _column(examples, name)
        if column is not None and not pa.types.is_timestamp(column.type):
            found.append(_by_values(name, column, limit=True) if _is_text(column) else by_number(name, column))
    return [cut for cut in found if cut is not None]


def by_number(name: str, column: Any) -> SliceColumn | None:
    """Numbers by value if they are few, else by quartile; `None` if all are equal."""
    if pa.types.is_boolean(column.type):
        return _by_values(name, column.cast(pa.string()), limit=True)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) < FEWEST_VALUES:
        return None
    if len(distinct) <= 4:
        code = np.searchsorted(distinct, values)
        named = tuple(f"{value:g}" for value in distinct)
    else:
        edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75)))
        code = np.searchsorted(edges, values, side="left")
        named = (
            f"up to {edges[0]:.6g}",
            *(f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges)),
            f"above {edges[-1]:.6g}",
        )
    code = np.where(np.isfinite(values), code, len(named)).astype(np.int64)
    return SliceColumn(name, (*named, MISSING), code)


def _by_values(name: str, column: Any, *, limit: bool) -> SliceColumn | None:
    """Texts by value; the values beyond the most frequent ones of a declared column are merged."""
    coded = pc.dictionary_encode(pc.fill_null(column, MISSING))
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    values = coded.dictionary.to_pylist()
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if len(values) < FEWEST_VALUES or (limit and len(values) > MOST_VALUES):
        return None
    n = np.bincount(code, minlength=len(values))
    order = sorted(range(len(values)), key=lambda i: (-int(n[i]), values[i]))
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    named = [values[i] for i in order]
    if len(named) > MOST_VALUES:
        return SliceColumn(name, (*named[:MOST_VALUES], OTHERS), np.minimum(place[code], MOST_VALUES))
    return SliceColumn(name, tuple(named), place[code])


def _column(examples: Examples, name: str) -> Any:
    for table in (examples.attributes, examples.inputs):
        if table is not None and name in table.column_names:
            column = table[name]
            return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
    return None


def _names(examples: Examples) -> list[str]:
    attributes = [] if examples.attributes is None else examples.attributes.column_names
    return list(dict.fromkeys([*attributes, *examples.inputs.column_names]))


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))
