"""Skew is found where values differ, by how much whatever the kind, and nowhere else."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import RowsLost
from tidemill.features.skew import differs, skew

_FLOAT = st.none() | st.floats(allow_nan=True, allow_infinity=True)


def _column(*values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(values), kind)])


def test_numbers_are_equal_to_a_billionth_of_themselves() -> None:
    logged = _column(1.0, 1.0, 1e12, 0.0, None, float("nan"), 2.0, float("inf"), float("inf"))
    made = _column(1.0 + 1e-10, 1.0 + 1e-8, 1e12 + 1, 1e-300, None, None, None, float("inf"), -float("inf"))
    assert differs(logged, made).tolist() == [False, True, False, True, False, False, True, False, True]


def test_whole_numbers_meet_floats_and_texts_meet_texts() -> None:
    assert differs(_column(3, 4), _column(3.0, 5.0)).tolist() == [False, True]
    assert differs(_column("a", None, "c"), _column("a", "b", None)).tolist() == [False, True, True]
    assert differs(_column(True, False), _column(True, True)).tolist() == [False, True]
    assert differs(_column("3"), _column(3)).tolist() == [True]
    assert differs(_column(None, None), _column(1, None)).tolist() == [True, False]


@given(st.lists(st.tuples(_FLOAT, _FLOAT), max_size=30))
def test_it_is_symmetric_and_nothing_differs_from_itself(pairs: list[tuple[float | None, float | None]]) -> None:
    one, other = (_column(*(pair[side] for pair in pairs), kind=pa.float64()) for side in (0, 1))
    assert differs(one, other).tolist() == differs(other, one).tolist()
    assert not differs(one, one).any()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_each_changed_value_is_counted_and_the_first_ones_named(values: list[int], data: st.DataObject) -> None:
    changed = data.draw(st.sets(st.integers(0, len(values) - 1)))
    served = [value + 10 * (place in changed) for place, value in enumerate(values)]
    behind = {place for place in changed if place % 2}
    ids = [f"p{place}" for place in range(len(values))]
    at = pa.array([5] * len(values), pa.int64())
    then = pa.array([4 if place in behind else 5 for place in range(len(values))], pa.int64())
    same = {"prediction_id": ids, "as_of": at}
    logged = pa.table({**same, "n": served, "m": values, "v.at": then})
    made = pa.table({**same, "n": values, "m": values, "v.at": at})
    found = {one.feature: one for one in skew(logged, made, {"n": "v", "m": "v"})}
    assert (found["n"].differing, found["n"].behind, found["m"].differing) == (len(changed), len(behind), 0)
    assert found["n"].share == pytest.approx(len(changed) / len(values))
    assert [row.prediction_id for row in found["n"].rows] == [f"p{place}" for place in sorted(changed)][:3]
    assert all((row.logged, row.recomputed) == (row.recomputed + 10, row.logged - 10) for row in found["n"].rows)


def test_other_predictions_than_those_logged_are_refused() -> None:
    one = pa.table({"prediction_id": ["a"], "as_of": [1], "n": [1], "v.at": [1]})
    other = one.set_column(0, "prediction_id", pa.array(["b"]))
    with pytest.raises(RowsLost):
        skew(one, other, {"n": "v"})
