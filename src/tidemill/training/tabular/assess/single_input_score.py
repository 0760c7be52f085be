"""Score of a single input as a predictor of the target, fitted on one half of the rows, measured on the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy  # its parts are loaded when they are first used

from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.assess.ranking_measures import weighted_macro_auc
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import uniform

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_BINS = 40


def single_input_score(field: InputField, column: Any, train: Examples) -> float:
    """How well one input alone predicts the target: AUC, or R2 for numbers, by forty bin means of the other half.

    For numbers, a linear fit of the values or of their ranks is used if it fits better than the bins.
    """
    code = _binned(field, column)
    half = uniform(row_names(train), salt=23) < 0.5
    if not half.any() or half.all():
        return 0.0
    figures = [_predicted(code, train, half), _predicted(code, train, ~half)]
    lines = (
        _lines(floats_of(column), train.target) if train.task in ("number", "count") and field.kind != "str" else 0.0
    )
    return max(float(np.mean(figures)), lines)


def _lines(values: F64, target: F64) -> float:
    """The larger squared correlation, of values or of ranks; 0 if a fifth of the values is missing."""
    known = np.isfinite(values)
    if known.mean() < 0.8 or values[known].std() == 0 or target[known].std() == 0:
        return 0.0
    straight = np.corrcoef(values[known], target[known])[0, 1]
    ranks = np.corrcoef(scipy.stats.rankdata(values[known]), scipy.stats.rankdata(target[known]))[0, 1]
    return float(max(straight**2, ranks**2))


def _predicted(code: npt.NDArray[np.int64], train: Examples, half: Mask) -> float:
    n_codes = int(code.max(initial=0)) + 1
    if train.task in ("number", "count"):
        middle = train.target[half].mean()
        guess = _means(code[half], train.target[half], n_codes, middle)[code[~half]]
        spread = ((train.target[~half] - train.target[~half].mean()) ** 2).sum()
        return float(1 - ((train.target[~half] - guess) ** 2).sum() / spread) if spread > 0 else 0.0
    kinds = np.unique(train.target)
    came = (train.target[:, None] == kinds[None]).astype(np.float64)
    guesses = [_means(code[half], came[half, k], n_codes, came[half, k].mean())[code[~half]] for k in range(len(kinds))]
    places = np.searchsorted(kinds, train.target[~half]).astype(np.float64)
    figure = float(weighted_macro_auc(np.column_stack(guesses), places)(np.ones((1, int((~half).sum()))))[0])
    return figure if np.isfinite(figure) else 0.5


def _means(code: npt.NDArray[np.int64], target: F64, n_codes: int, middle: float) -> F64:
    n = np.bincount(code, minlength=n_codes)
    total = np.bincount(code, weights=target, minlength=n_codes)
    found: F64 = np.where(n > 0, total / np.maximum(n, 1), middle)
    return found


def _binned(field: InputField, column: Any) -> npt.NDArray[np.int64]:
    """Each row's value as a code: texts have their own, numbers one of forty quantiles, missing ones a separate one."""
    if field.kind == "str":
        coded = pc.dictionary_encode(column)
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        places: npt.NDArray[np.int64] = (
            pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        )
        return places
    values = floats_of(column)
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    edges = distinct if len(distinct) <= _BINS else np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
    return np.where(np.isfinite(values), np.searchsorted(edges, values), len(edges) + 1).astype(np.int64)


def floats_of(column: Any) -> F64:
    """A column of numbers, flags or times as float64 (n), NaN if missing."""
    if pa.types.is_timestamp(column.type) or pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    values: F64 = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    return values
