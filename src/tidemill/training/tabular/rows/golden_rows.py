"""Golden rows: synthetic rows, each column's values drawn independently, to compare two forms of a model.

They are stored in the bundle, so they contain no real row: texts are frequent ones, numbers lie between quantiles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.kinds import arrow_type
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_bundle import UNSEEN_TEXT

Golden = tuple[pa.Table, npt.NDArray[np.float64]]

N_ROWS = 64
#: Probability that a cell is missing, and that a text is unseen.
_MISSING, _UNSEEN = 0.08, 0.05


def golden_inputs(examples: Examples, *, seed: int = 0) -> pa.Table:
    """64 rows of the examples' fields: each column drawn independently, some cells missing, some texts unseen."""
    rng = np.random.default_rng(seed)
    columns = {field.name: _drawn(field, examples.inputs[field.name], rng) for field in examples.fields}
    return pa.table(columns)


def golden_of(model: RowModel, examples: Examples, *, seed: int = 0) -> Golden | None:
    """The rows with the model's predictions; `None` if an input identifies a person: no such row is stored."""
    if any(field.role == "subject" for field in model.inputs):
        return None
    fields = model.inputs  # some may be required that are optional in the examples
    inputs = golden_inputs(replace(examples, fields=fields), seed=seed)
    return inputs, np.asarray(model.answer(inputs), np.float64)


def _drawn(field: InputField, column: Any, rng: np.random.Generator) -> Any:
    missing = (rng.random(N_ROWS) < _MISSING) & field.optional
    if field.kind == "str":
        counts = pc.value_counts(pc.drop_null(column))
        frequent = sorted(
            text
            for text, n in zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
            if n >= FEWEST_USERS
        )
        known = [*frequent, UNSEEN_TEXT]
        odds = np.r_[np.full(len(frequent), 1.0), max(1.0, _UNSEEN * len(frequent))]
        texts = rng.choice(np.array(known, object), N_ROWS, p=odds / odds.sum())
        return pa.array([None if gone else str(text) for gone, text in zip(missing, texts, strict=True)], pa.string())
    if field.kind == "bool":
        return pa.array(rng.random(N_ROWS) < 0.5, pa.bool_(), mask=missing)
    plain = pc.drop_null(column)
    plain = plain.cast(pa.int64()) if pa.types.is_timestamp(plain.type) else plain
    values = plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = values[np.isfinite(values)]
    drawn = np.quantile(values, rng.uniform(0.02, 0.98, N_ROWS)) if len(values) else np.zeros(N_ROWS)
    if field.kind == "float":
        return pa.array(drawn, pa.float64(), mask=missing)
    return pa.array(np.round(drawn).astype(np.int64), pa.int64(), mask=missing).cast(arrow_type(field.kind))
