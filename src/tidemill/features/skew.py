"""Training-serving skew: logged feature values compared with the same values recomputed.

A feature that differs between training and serving degrades a model without any error (Breck et al., *Data Validation
for Machine Learning*, 2019). Both sides describe the same entity at the same instant, and must be equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import RowsLost
from tidemill.core.record_format import Record

#: Numbers with a relative difference (to the larger one) of at most this are equal.
RELATIVE = 1e-9
#: The number of differing rows that are listed for each feature.
_NAMED = 3


class ValueDifference(Record, frozen=True):
    """A served value that differs from the recomputed one, with the event time or boundary of each."""

    prediction_id: str = ""
    as_of: int = 0
    logged: Any = None
    recomputed: Any = None
    logged_at: int | None = None
    recomputed_at: int | None = None


class FeatureSkew(Record, frozen=True):
    """One feature: how many of its `n` values differ, and how many of those are only out of date."""

    feature: str = ""
    view: str = ""
    n: int = 0
    differing: int = 0
    #: Differing values that were served from an earlier event or boundary than the tables had by then.
    behind: int = 0
    share: float = 0.0
    rows: tuple[ValueDifference, ...] = ()


def skew(logged: pa.Table, recomputed: pa.Table, views: Mapping[str, str]) -> tuple[FeatureSkew, ...]:
    """The skew of every feature in `views` (feature -> its view), the most differing first.

    Both tables have one row per prediction, the same ones in the same order: `prediction_id`, `as_of` (microseconds),
    a column for each feature and `<view>.at` (int64) for each view. Missing equals missing; NaN counts as missing.
    `RowsLost` where they are not the same predictions.

    >>> logged = pa.table({"prediction_id": ["p"], "as_of": [9], "n": [3], "taste.at": [5]})
    >>> made = pa.table({"prediction_id": ["p"], "as_of": [9], "n": [4], "taste.at": [5]})
    >>> found = skew(logged, made, {"n": "taste"})[0]
    >>> found.share, found.rows[0].logged, found.rows[0].recomputed
    (1.0, 3, 4)
    """
    if not logged["prediction_id"].equals(recomputed["prediction_id"]):
        raise RowsLost("the logged and the recomputed values are not of the same predictions in the same order")
    found = [_of_feature(feature, view, logged, recomputed) for feature, view in views.items()]
    return tuple(sorted(found, key=lambda one: (-one.share, one.feature)))


def _of_feature(feature: str, view: str, logged: pa.Table, recomputed: pa.Table) -> FeatureSkew:
    places = np.flatnonzero(differs(logged[feature], recomputed[feature]))
    sides = [(table[feature], table[f"{view}.at"]) for table in (logged, recomputed)]
    at = [[column[int(place)].as_py() for place in places] for _, column in sides]
    behind = sum(then is not None and now is not None and then < now for then, now in zip(*at, strict=True))
    rows = tuple(
        ValueDifference(
            prediction_id=logged["prediction_id"][place].as_py(),
            as_of=logged["as_of"][place].as_py(),
            logged=sides[0][0][place].as_py(),
            recomputed=sides[1][0][place].as_py(),
            logged_at=at[0][number],
            recomputed_at=at[1][number],
        )
        for number, place in enumerate(map(int, places[:_NAMED]))
    )
    n = logged.num_rows
    share = len(places) / n if n else 0.0
    return FeatureSkew(feature=feature, view=view, n=n, differing=len(places), behind=behind, share=share, rows=rows)


def differs(logged: pa.ChunkedArray, recomputed: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where two columns of the same rows are not equal, bool (n,)."""
    if _number(logged.type) and _number(recomputed.type):
        one, other = (
            column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for column in (logged, recomputed)
        )
        missing = np.isnan(one) | np.isnan(other)
        larger = np.maximum(np.abs(one), np.abs(other))
        with np.errstate(invalid="ignore"):  # two infinities of one sign
            close = np.isfinite(larger) & (np.abs(one - other) <= RELATIVE * larger)
        apart = (one != other) & ~close
        return np.asarray(np.where(missing, np.isnan(one) != np.isnan(other), apart))
    pairs = zip(logged.to_pylist(), recomputed.to_pylist(), strict=True)
    return np.array([_plain(one) != _plain(other) for one, other in pairs], np.bool_)


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
