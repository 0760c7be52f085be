"""Exact bounds: the defining property, and how the usual shortcuts break it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from tidemill.checks.binomial_bounds import lower, upper

_CASES = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
_CONFIDENCE = st.sampled_from([0.9, 0.99, 0.999])


@settings(deadline=None)
@given(_CASES, _CONFIDENCE)
def test_at_the_bound_such_a_day_has_exactly_the_left_over_chance(case: tuple[int, int], confidence: float) -> None:
    k, n = case
    if k < n:
        assert binom.cdf(k, n, upper(k, n, confidence)) == pytest.approx(1 - confidence, rel=1e-6)
    if k > 0:
        assert binom.sf(k - 1, n, lower(k, n, confidence)) == pytest.approx(1 - confidence, rel=1e-6)
    assert lower(k, n, confidence) <= k / n <= upper(k, n, confidence)
    assert lower(k, n, confidence) == pytest.approx(1 - upper(n - k, n, confidence), abs=1e-12)


Bound = Callable[[int, int, float], float]


def _broken(bound: Bound, n: int, share: float, confidence: float) -> float:
    """Chance, summed over all outcomes, that a source exactly as good as asked is called worse."""
    k = np.arange(n + 1)
    alarms = np.array([bound(int(one), n, confidence) < share for one in k])
    return float(binom.pmf(k, n, share)[alarms].sum())


def _naive(k: int, n: int, confidence: float) -> float:
    return k / n


def _normal(k: int, n: int, confidence: float) -> float:
    """The normal interval around the asked share, as a control chart draws it: rare rows are no bell."""
    return k / n + 3.0902 * float(np.sqrt(0.99 * 0.01 / n))


@pytest.mark.parametrize("n", [1, 7, 20, 300, 2000])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_a_source_as_good_as_asked_is_called_worse_at_most_as_often_as_said(n: int, share: float) -> None:
    assert _broken(upper, n, share, 0.999) <= 0.001 + 1e-12


@pytest.mark.parametrize(("wrong", "n"), [(_naive, 300), (_naive, 7), (_normal, 20), (_normal, 300)])
def test_shortcuts_break_that(wrong: Bound, n: int) -> None:
    assert _broken(wrong, n, 0.99, 0.999) > 0.003


def test_all_and_nothing() -> None:
    assert (upper(5, 5, 0.999), lower(0, 5, 0.999)) == (1.0, 0.0)
    assert upper(10**8 - 1, 10**8, 0.999) < 1, "one wrong row among many contradicts `all of them`"
