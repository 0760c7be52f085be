"""The design matrix of a table: one float64 column per encoder, computed one column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import TypeMismatch, UnknownName, nearest
from tidemill.core.kinds import KINDS, arrow_type
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.recipe import CROSS, DatePart, Encoder, NumberColumn, OneHot, Ordinal, TargetMean
from tidemill.models.tabular.utc_parts import part_of

F64 = NDArray[np.float64]


def inputs_of(table: pa.Table, fields: Sequence[InputField]) -> dict[str, pa.Array]:
    """The inputs by name, each of the Arrow type of its kind; other columns are left out.

    Raises `UnknownName` if a column is missing, and `TypeMismatch` if it cannot be converted to its kind.
    """
    return {field.name: _cast(table, field) for field in fields}


def _cast(table: pa.Table, field: InputField) -> pa.Array:
    if field.name not in table.column_names:
        raise UnknownName(
            f"the model needs the column {field.name!r}, which the rows lack",
            tip=nearest(field.name, table.column_names),
        )
    column = table.column(field.name)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if column.type == arrow_type(field.kind):
        return column
    try:
        if pa.types.is_integer(column.type) and field.kind == "float":
            return column.cast(pa.float64(), safe=False)
        return column.cast(arrow_type(field.kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as problem:
        raise TypeMismatch(
            f"column {field.name!r} is {column.type}; expected {KINDS[field.kind].words}: {problem}"
        ) from problem


def design_of(inputs: dict[str, pa.Array], encoders: Sequence[Encoder], n: int) -> F64:
    """float64 (n, n_encoders) in column order, from the result of `inputs_of`."""
    design = np.empty((n, len(encoders)), np.float64, order="F")
    for place, encoder in enumerate(encoders):
        design[:, place] = _column(inputs, encoder)
    return design


def _column(inputs: dict[str, pa.Array], encoder: Encoder) -> F64:
    if isinstance(encoder, NumberColumn):
        return numbers(inputs[encoder.input])
    if isinstance(encoder, Ordinal):
        return _by_text(inputs[encoder.input], encoder.codes, np.nan, np.nan)
    if isinstance(encoder, OneHot):
        return _indicator(inputs[encoder.input], encoder)
    if isinstance(encoder, TargetMean):
        return _mean([inputs[name] for name in encoder.inputs], encoder)
    return _part(inputs[encoder.input], encoder)


def numbers(column: pa.Array) -> F64:
    """float64 (n) with NaN for missing values; times are seconds since 1970."""
    if pa.types.is_timestamp(column.type):
        return _missing_nan(_filled(column.cast(pa.int64()), 0).astype(np.float64) / 1e6, column)
    if pa.types.is_boolean(column.type):
        return _missing_nan(_filled(column, False).astype(np.float64), column)
    return _missing_nan(_filled(column, 0).astype(np.float64), column)


def microseconds(column: pa.Array) -> NDArray[np.int64]:
    """int64 (n) of a time column; 0 if missing."""
    found: NDArray[np.int64] = _filled(column.cast(pa.int64()), 0)
    return found


def _filled(column: pa.Array, value: Any) -> NDArray[Any]:
    filled: NDArray[Any] = (column.fill_null(value) if column.null_count else column).to_numpy(zero_copy_only=False)
    return filled


def _missing_nan(values: F64, column: pa.Array) -> F64:
    if not column.null_count:
        return values
    values = values.copy()  # may be Arrow's memory
    values[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return values


def _coded(column: pa.Array) -> tuple[NDArray[np.int64], list[str | None]]:
    """The index of each row's text among the distinct texts, the last of which is `None`."""
    texts = (column if pa.types.is_string(column.type) else column.cast(pa.string())).dictionary_encode()
    known = texts.dictionary.to_pylist()
    return _filled(texts.indices.cast(pa.int64()), len(known)), [*known, None]


def _by_text(column: pa.Array, values: dict[str, Any], missing: float, other: float) -> F64:
    places, texts = _coded(column)
    found = [missing if text is None else values.get(text, other) for text in texts]
    return np.asarray(found, np.float64)[places]


def _indicator(column: pa.Array, encoder: OneHot) -> F64:
    places, texts = _coded(column)
    if encoder.value is not None:
        return np.asarray([text == encoder.value for text in texts], np.float64)[places]
    known = set(encoder.known)
    return np.asarray([text is None or text not in known for text in texts], np.float64)[places]


def _mean(columns: list[pa.Array], encoder: TargetMean) -> F64:
    coded = [_coded(column) for column in columns]
    place = np.zeros(len(columns[0]), np.int64)
    for places, texts in coded:
        place = place * len(texts) + places
    occurring, at = np.unique(place, return_inverse=True)
    found = np.empty(len(occurring), np.float64)
    for row, one in enumerate(occurring.tolist()):
        key: list[str] = []
        for _, texts in reversed(coded):
            one, last = divmod(one, len(texts))
            key.append(texts[last] or "")
        found[row] = encoder.values.get(CROSS.join(reversed(key)), encoder.other)
    return found[at]


def _part(column: pa.Array, encoder: DatePart) -> F64:
    found = np.asarray(part_of(microseconds(column), encoder.part), np.float64)
    return _missing_nan(found, column)
