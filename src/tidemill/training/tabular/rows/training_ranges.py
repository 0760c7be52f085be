"""Input ranges of training rows: the frequent texts and the range of the numbers of each input."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tidemill.core.records.quality import FEWEST_USERS
from tidemill.models.tabular.design_matrix import F64, inputs_of, numbers
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.input_ranges import InputRange, InputRanges
from tidemill.training.tabular.rows.table_columns import TableColumn, columns_of

#: How far a range reaches beyond its outermost values with enough rows, relative to its width.
_MARGIN = 0.25


def training_ranges(examples: Examples) -> InputRanges:
    """The ranges of the inputs that a learner can use; a time that rises with the rows, and a person, has none.

    No value of fewer than `FEWEST_USERS` rows is kept: the smallest number ends a range if that many rows have it, else
    the range begins a quarter of its width below the `FEWEST_USERS`th smallest. The largest likewise.
    """
    inputs = inputs_of(examples.inputs, examples.fields)
    people = {field.name for field in examples.fields if field.role == "subject"}
    kept = [one for one in columns_of(examples).kept if one.plain and one.name not in people]
    return InputRanges(n_rows=len(examples), inputs=tuple([_range(one, inputs[one.name]) for one in kept]))


def _range(column: TableColumn, values: pa.Array) -> InputRange:
    n = len(values)
    if column.kind == "str":
        texts, share = tuple(sorted(column.levels)), column.n_rare / n
        return InputRange(name=column.name, texts=texts, missing=column.n_missing > 0, outside=share)
    found = numbers(values)
    finite = found[np.isfinite(found)]
    missing = bool(np.isnan(found).any())
    if column.kind in ("bool", "time") or len(finite) < 2 * FEWEST_USERS:
        return InputRange(name=column.name, missing=missing)
    low, high = _ends(finite)
    outside = float(((finite < low) | (finite > high)).sum() / n)
    return InputRange(name=column.name, low=low, high=high, missing=missing, outside=outside)


def _ends(values: F64) -> tuple[float, float]:
    last = len(values) - FEWEST_USERS
    ordered = np.partition(values, (FEWEST_USERS - 1, last))
    low, high = float(ordered[FEWEST_USERS - 1]), float(ordered[last])
    margin = _MARGIN * (high - low)
    return (low if values.min() == low else low - margin), (high if values.max() == high else high + margin)
