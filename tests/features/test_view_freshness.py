"""How old a view is and what its columns look like, by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tidemill.features.column_statistics import column_statistics
from tidemill.features.freshness import view_freshness


def _rows(*at: int | None) -> pa.Table:
    return pa.table({"k": [str(number) for number in range(len(at))], "_at": pa.array(list(at), pa.int64())})


def test_a_value_expires_after_its_ttl_and_not_at_it() -> None:
    assert [view_freshness(_rows(0), ttl_us=10, now=now).expired for now in (9, 10, 11)] == [0.0, 0.0, 1.0]
    assert view_freshness(_rows(0, 5, 8), ttl_us=3, now=9).expired == pytest.approx(2 / 3)
    assert view_freshness(_rows(0), ttl_us=None, now=10**18).expired == 0.0


def test_rows_without_an_instant_have_no_age() -> None:
    for rows in (_rows(), _rows(None, None), pa.table({"k": ["a", "b"]})):
        found = view_freshness(rows, ttl_us=1, now=100)
        assert (found.newest_at, found.age_us, found.expired) == (None, None, 0.0)
    assert view_freshness(_rows(3, None), ttl_us=1, now=100).expired == 0.5


def test_figures_of_every_kind_of_column() -> None:
    rows = pa.table(
        {
            "n": pa.array([1, 2, None, 2], pa.int64()),
            "flag": [True, False, True, True],
            "text": ["a", "a", None, "b"],
            "many": pa.array([[1], [], None, [2]], pa.list_(pa.int64())),
            "none": pa.array([None] * 4, pa.float64()),
            "when": pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")),
        }
    )
    found = {one.name: one for one in column_statistics(rows, rows.column_names)}
    assert (found["n"].missing, found["n"].distinct, found["n"].min, found["n"].max) == (0.25, 2, 1.0, 2.0)
    assert found["flag"].mean == 0.75
    assert (found["text"].distinct, found["text"].mean) == (2, None)
    assert (found["many"].missing, found["many"].distinct) == (0.25, None)
    assert (found["none"].missing, found["none"].distinct, found["none"].mean) == (1.0, 0, None)
    assert (found["when"].distinct, found["when"].mean) == (4, None)
    assert column_statistics(rows.slice(0, 0), ["n"])[0].missing == 0.0
