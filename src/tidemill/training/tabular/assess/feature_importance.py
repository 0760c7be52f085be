"""Feature importance: mean absolute SHAP values over test rows, and their means by value (Lundberg & Lee 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemill.core.records.assessment import FeatureImportance
from tidemill.core.records.evaluation_charts import EffectBin
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.row_model import RowModel
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import uniform

F64 = npt.NDArray[np.float64]

#: Maximum number of explained rows: their mean is known to about two percent.
MOST_ROWS = 2_000
#: Maximum number of inputs with an effect, and of its bins or categories.
_EFFECTS, _BINS = 20, 8


def influences_of(model: RowModel, test: Examples) -> tuple[FeatureImportance, ...]:
    """Every input by falling importance, from up to 2,000 rows selected by hash; none for a model without `explain`.
    Raises what `explain` raises.

    `direction` is the correlation of a number with its contribution: near 1 if larger values raise the prediction.
    `effect` has the mean contributions by value. Classes have neither, because each row is explained for its predicted
    class.
    """
    drawn = np.sort(np.argsort(uniform(row_names(test), salt=7), kind="stable")[:MOST_ROWS]).astype(np.int64)
    inputs = test.inputs.take(pa.array(drawn))
    explained = model.explain(inputs)
    if explained is None:
        return ()
    contributions, _ = explained  # (n, n_inputs)
    size = np.abs(contributions).mean(axis=0)
    total = float(size.sum()) or 1.0
    largest = set(np.argsort(-size, kind="stable")[:_EFFECTS].tolist()) if test.task != "classes" else set()
    found = [
        FeatureImportance(
            input=field.name,
            mean_abs=float(size[i]),
            share=float(size[i]) / total,
            direction=None if test.task == "classes" else _direction(field, inputs[field.name], contributions[:, i]),
            effect=_effect(field, inputs[field.name], contributions[:, i]) if i in largest else (),
        )
        for i, field in enumerate(model.inputs)
    ]
    return tuple(sorted(found, key=lambda influence: -influence.mean_abs))


def _direction(field: InputField, column: Any, added: F64) -> float | None:
    if field.kind == "str":
        return None
    values = _numbers(column)
    known = np.isfinite(values)
    if known.sum() < 3 or values[known].std() == 0 or added[known].std() == 0:
        return None
    return float(np.corrcoef(values[known], added[known])[0, 1])


def _effect(field: InputField, column: Any, added: F64) -> tuple[EffectBin, ...]:
    """Bins of about equally many rows by rising number, or the most frequent categories; none below ten rows."""
    if field.kind in ("str", "bool"):
        names = [
            "missing" if value is None else str(value).lower() if field.kind == "bool" else value
            for value in column.to_pylist()
        ]
        levels, place = np.unique(np.asarray(names, object), return_inverse=True)
        frequent = np.argsort(-np.bincount(place), kind="stable")[:_BINS].tolist()
        found = [_effect_bin(added[place == level], value=str(levels[level])) for level in frequent]
        return tuple(one for one in found if one.n >= FEWEST_USERS)
    values = _numbers(column)
    known = np.isfinite(values)
    most = int(np.clip(known.sum() // FEWEST_USERS, 1, _BINS))
    shares = np.arange(1, most) / most
    edges: F64 = np.unique(np.quantile(values[known], shares, method="lower")) if known.any() else shares
    place = np.where(known, np.searchsorted(edges, values, side="left"), -1)
    found = [
        _effect_bin(added[rows], at=float(values[rows].mean()))
        for rows in (place == bin_ for bin_ in range(len(edges) + 1))
        if rows.any()
    ]
    found.append(_effect_bin(added[~known], value="missing"))
    return tuple(one for one in found if one.n >= FEWEST_USERS)


def _effect_bin(added: F64, *, at: float | None = None, value: str = "") -> EffectBin:
    if not len(added):
        return EffectBin()
    low, high = np.quantile(added, (0.1, 0.9)).tolist()
    return EffectBin(n=len(added), at=at, value=value, mean=float(added.mean()), low=low, high=high)


def _numbers(column: Any) -> F64:
    """float64 (n), times as seconds since 1970; NaN if missing."""
    plain = column.cast(pa.int64()) if not pa.types.is_floating(column.type) else column
    values: F64 = plain.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return values / 1e6 if pa.types.is_timestamp(column.type) else values
