"""Feature importance: mean absolute SHAP values over test rows (Lundberg & Lee 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemill.core.records.assessment import FeatureImportance
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.row_model import RowModel
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import uniform

F64 = npt.NDArray[np.float64]

#: Maximum number of explained rows: their mean is known to about two percent.
MOST_ROWS = 2_000


def influences_of(model: RowModel, test: Examples) -> tuple[FeatureImportance, ...]:
    """Every input by falling importance, from up to 2,000 rows selected by hash; none for a model without `explain`.
    Raises what `explain` raises.

    `direction` is the correlation of a number with its contribution: near 1 if larger values raise the prediction.
    Classes have none, because each row is explained for its predicted class.
    """
    drawn = np.sort(np.argsort(uniform(row_names(test), salt=7), kind="stable")[:MOST_ROWS]).astype(np.int64)
    inputs = test.inputs.take(pa.array(drawn))
    explained = model.explain(inputs)
    if explained is None:
        return ()
    contributions, _ = explained  # (n, n_inputs)
    size = np.abs(contributions).mean(axis=0)
    total = float(size.sum()) or 1.0
    found = [
        FeatureImportance(
            input=field.name,
            mean_abs=float(size[i]),
            share=float(size[i]) / total,
            direction=None if test.task == "classes" else _direction(field, inputs[field.name], contributions[:, i]),
        )
        for i, field in enumerate(model.inputs)
    ]
    return tuple(sorted(found, key=lambda influence: -influence.mean_abs))


def _direction(field: InputField, column: Any, added: F64) -> float | None:
    if field.kind == "str":
        return None
    plain = column.cast(pa.int64()) if field.kind in ("time", "bool") else column
    values = plain.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    known = np.isfinite(values)
    if known.sum() < 3 or values[known].std() == 0 or added[known].std() == 0:
        return None
    return float(np.corrcoef(values[known], added[known])[0, 1])
