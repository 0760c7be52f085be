"""Feature importance: mean absolute contributions over test rows, and their means by value.

Contributions are SHAP values (Lundberg & Lee 2017). For a model without them, such as an ONNX graph, a contribution is
the prediction minus its mean with the values of that input permuted among the rows, one input at a time (after Breiman
2001); for a sum of functions of one input each, both are the same up to sampling.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemill.core.errors import BackendMissing, LearnError
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
#: Maximum number of rows if values are permuted, the number of permutations, and of inputs that are permuted so often.
_PERMUTED_ROWS, _TIMES, _FEW_INPUTS = 500, 8, 50


def influences_of(model: RowModel, test: Examples) -> tuple[FeatureImportance, ...]:
    """Every input by falling importance, from up to 2,000 rows selected by hash, 500 if values are permuted.

    `direction` is the correlation of a number with its contribution: near 1 if larger values raise the prediction.
    `effect` has the mean contributions by value. Classes have neither, because each row is explained for its predicted
    class.
    """
    drawn = np.argsort(uniform(row_names(test), salt=7), kind="stable")[:MOST_ROWS]
    inputs = _taken(test, drawn)
    try:
        explained = model.explain(inputs)
    except (LearnError, BackendMissing, NotImplementedError):
        explained = None
    method: Literal["shap", "permutation"] = "shap"
    if explained is not None:
        contributions = explained[0]  # (n, n_inputs)
    else:
        method, inputs = "permutation", _taken(test, drawn[:_PERMUTED_ROWS])
        contributions = _permuted(model, inputs)
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
            method=method,
        )
        for i, field in enumerate(model.inputs)
    ]
    return tuple(sorted(found, key=lambda influence: -influence.mean_abs))


def _taken(test: Examples, rows: npt.NDArray[Any]) -> pa.Table:
    return test.inputs.take(pa.array(np.sort(rows).astype(np.int64)))


def _permuted(model: RowModel, inputs: pa.Table) -> F64:
    """float64 (n, n_inputs): each prediction minus its mean over permutations of an input's values. For several classes
    it is the probability of the predicted class.
    """
    names = [field.name for field in model.inputs]
    inputs = inputs.select(names)
    own = np.asarray(model.answer(inputs), np.float64)
    answer = own.reshape(len(own), -1)
    column = answer.argmax(axis=1) if model.task == "classes" else np.zeros(len(own), np.int64)
    row = np.arange(len(own))
    rng = np.random.default_rng(0)
    times = _TIMES if len(names) <= _FEW_INPUTS else 1
    found = np.zeros((len(own), len(names)))
    for i, name in enumerate(names):
        for _ in range(times):
            values = inputs[name].take(pa.array(rng.permutation(len(own))))
            changed = np.asarray(model.answer(inputs.set_column(i, name, values)), np.float64).reshape(answer.shape)
            found[:, i] += (answer[row, column] - changed[row, column]) / times
    return found


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
    values: F64 = plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    return values / 1e6 if pa.types.is_timestamp(column.type) else values
