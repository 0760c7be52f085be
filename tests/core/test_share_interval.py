"""Wilson's interval is SciPy's, and holds the share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tidemill.core.wilson_interval import wilson_interval


@given(st.integers(1, 10_000), st.data())
def test_it_is_the_interval_of_scipy(n: int, data: st.DataObject) -> None:
    positive = data.draw(st.integers(0, n))
    expected = binomtest(positive, n).proportion_ci(method="wilson")
    low, high = wilson_interval(positive, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low <= positive / n + 1e-12 and high >= positive / n - 1e-12


def test_known_answers() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(5, 10)
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)  # Wilson 1927, by hand
    assert wilson_interval(0, 20)[0] == 0.0 and wilson_interval(20, 20)[1] == 1.0
