"""Sums in fixed point: what exact arithmetic gives, and nothing left of what was taken away."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemill.features.exact_sums import FixedPoint

# within a factor of 2**67 of each other, so that exact they must be
_VALUES = st.lists(st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9), max_size=30)


def summed(values: list[float], taken: list[float], others: Sequence[float] = ()) -> float:
    every = np.array([*values, *taken, *others], np.float64)
    group = np.r_[np.zeros(len(every) - len(others), np.int64), np.ones(len(others), np.int64)]
    forms = FixedPoint.of_groups(every, group, 2)
    # added, and some of them taken away again
    signs = np.r_[np.ones(len(values), np.int64), np.zeros(len(taken) + len(others), np.int64)]
    sums = [np.array([part @ signs]) for part in forms.take(group).parts(every)]
    return float(forms.take(np.zeros(1, np.int64)).values(sums)[0])


@given(_VALUES, _VALUES)
def test_a_sum_is_the_exact_one_rounded(values: list[float], taken: list[float]) -> None:
    exact = float(sum(map(Fraction, values), Fraction(0)))
    assert math.isclose(summed(values, taken), exact, rel_tol=1e-15)


@given(_VALUES, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(values: list[float], chance: random.Random) -> None:
    mixed = values.copy()
    chance.shuffle(mixed)
    assert summed(mixed, []) == summed(values, [])


@given(_VALUES, st.lists(st.floats(-1e300, 1e300), max_size=30))
def test_values_of_other_groups_do_not_matter(values: list[float], others: list[float]) -> None:
    assert summed(values, [], others) == summed(values, [])


def test_beyond_the_largest_float_it_is_infinite() -> None:
    assert summed([1e308] * 20, []) == math.inf
    assert summed([], []) == 0.0
