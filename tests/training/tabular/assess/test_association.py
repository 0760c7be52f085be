"""A column that has to do with the target is told from one that has not; chance is called so as often as p says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tidemill.training.statistics.permutation_test import holm
from tidemill.training.tabular.assess.association import association


def _column(values: Any) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def test_each_kind_of_column_against_each_kind_of_target() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 3, 600)
    texts = _column([f"g{one}" for one in group])
    noise = rng.normal(size=600)
    number = group + 0.5 * noise
    assert association(_column(number), group.astype(float) * 2) < 1e-20
    assert association(_column(number), (group > 0).astype(float), classes=2) < 1e-20
    assert association(_column(np.where(group == 1, 5.0, 0.0) + noise), group.astype(float), classes=3) < 1e-20
    assert association(texts, number) < 1e-20
    assert association(texts, group.astype(float), classes=3) < 1e-20
    assert association(_column(group > 0), number) < 1e-20


@pytest.mark.parametrize("kind", ["number", "text", "classes", "text classes"])
def test_chance_is_below_five_in_a_hundred_five_times_in_a_hundred(kind: str) -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        target = rng.integers(0, 3, 120).astype(float) if "classes" in kind else rng.normal(size=120)
        values = [f"v{one}" for one in rng.integers(0, 4, 120)] if "text" in kind else rng.normal(size=120)
        found.append(association(_column(values), target, classes=3 if "classes" in kind else 0))
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.09


def test_where_nothing_can_be_said_p_is_one() -> None:
    n = np.arange(100).astype(float)
    for values in ([1.0] * 100, [None] * 95 + [1.0] * 5, [f"id{one}" for one in range(100)], [True] * 100):
        assert association(_column(values), n) == 1.0
    assert association(_column(n), np.ones(100)) == 1.0
    assert association(_column(n[:5]), n[:5]) == 1.0
    assert association(pa.chunked_array([], pa.float64()), np.zeros(0)) == 1.0


def test_missing_and_endless_values_are_left_out_and_times_are_numbers() -> None:
    n = np.arange(100).astype(float)
    values = [None if one % 3 == 0 else float(one) for one in range(100)]
    values[1] = float("inf")
    assert association(_column(values), n) < 1e-10
    times = pa.chunked_array([pa.array(range(100), pa.timestamp("us", "UTC"))])
    assert association(times, n) < 1e-10


def test_of_many_columns_of_chance_hardly_any_stays_after_holm() -> None:
    rng = np.random.default_rng(3)
    target = rng.normal(size=300)
    wrong = 0
    for _ in range(20):
        p = {str(number): association(_column(rng.normal(size=300)), target) for number in range(20)}
        wrong += min(holm(p).values()) < 0.05
    assert wrong <= 4
