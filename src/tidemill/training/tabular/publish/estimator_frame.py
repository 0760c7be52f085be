"""Inputs of an estimator as a pandas DataFrame: numbers as float64 with NaN, texts as objects with NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.errors import BackendMissing
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.signature import InputField
from tidemill.training.tabular.rows.table_columns import frequent_texts

#: A text that does not occur in any training row.
UNSEEN = "\x02never seen"


def frame_of(
    inputs: pa.Table, fields: Sequence[InputField], categories: Mapping[str, Sequence[str]] | None = None
) -> Any:
    """A DataFrame with one column per field, in their order.

    Fields of kind `float`, `int`, `bool` (0 or 1) and `time` (seconds since 1970) are float64, missing values NaN. A
    `str` is an object column of `str` and NaN, or with `categories` a pandas category of these; others are missing.
    """
    pandas = _pandas()
    columns: dict[str, Any] = {}
    for field in fields:
        column = inputs.column(field.name)
        if field.kind != "str":
            columns[field.name] = numbers_of(column)
        elif categories is None:
            columns[field.name] = text_column(column.to_pylist())
        else:
            known = categories.get(field.name, ())
            place = {text: code for code, text in enumerate(known)}
            codes = [place.get(text, -1) for text in column.to_pylist()]
            columns[field.name] = pandas.Categorical.from_codes(codes, categories=list(known))
    return pandas.DataFrame(columns)


def numbers_of(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column of numbers, flags or times as float64, missing values as NaN."""
    if pa.types.is_timestamp(column.type):
        seconds = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).cast(pa.float64(), safe=False)
        column = pc.divide(seconds, 1e6)
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def text_column(texts: Sequence[str | None]) -> Any:
    """Texts as a pandas object column, `None` as NaN, which scikit-learn's imputers and encoders treat as missing."""
    held = np.empty(len(texts), object)
    held[:] = [np.nan if text is None else text for text in texts]
    return _pandas().Series(held, dtype=object)


def texts_of(inputs: pa.Table, fields: Sequence[InputField], *, fewest: int = FEWEST_USERS) -> dict[str, list[str]]:
    """The texts of each text input that occur in at least `fewest` rows, sorted."""
    return {
        field.name: sorted(frequent_texts(inputs.column(field.name), fewest)[0])
        for field in fields
        if field.kind == "str"
    }


def without_rare_texts(inputs: pa.Table, known: Mapping[str, Sequence[str]]) -> pa.Table:
    """The rows with `UNSEEN` in place of each text that is not `known`, as in serving."""
    for name, texts in known.items():
        place, column = inputs.column_names.index(name), inputs.column(name)
        other = pc.invert(pc.or_(pc.is_in(column, pa.array(texts, column.type)), pc.is_null(column)))
        inputs = inputs.set_column(place, name, pc.if_else(other, pa.scalar(UNSEEN, column.type), column))
    return inputs


def _pandas() -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing("estimators need pandas, which is not installed", tip="pip install pandas") from problem
    return pd
