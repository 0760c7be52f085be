"""Sums in fixed point: what exact arithmetic gives, and nothing left of what was taken away."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemill.features.exact_sums import fixed_parts, from_parts

# within a factor of 2**67 of each other, so that exact they must be
_VALUES = st.lists(st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9), max_size=30)


def summed(values: list[float], taken: list[float]) -> float:
    parts, exponent, bits = fixed_parts(np.array([*values, *taken], np.float64))
    signs = np.r_[np.ones(len(values), np.int64), np.zeros(len(taken), np.int64)]  # added, then taken away again
    return float(from_parts([np.array([part @ signs]) for part in parts], exponent, bits)[0])


@given(_VALUES, _VALUES)
def test_a_sum_is_the_exact_one_rounded(values: list[float], taken: list[float]) -> None:
    exact = float(sum(map(Fraction, values), Fraction(0)))
    assert math.isclose(summed(values, taken), exact, rel_tol=1e-15)


@given(_VALUES, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(values: list[float], chance: random.Random) -> None:
    mixed = values.copy()
    chance.shuffle(mixed)
    assert summed(mixed, []) == summed(values, [])


def test_beyond_the_largest_float_it_is_infinite() -> None:
    assert summed([1e308] * 20, []) == math.inf
    assert summed([], []) == 0.0
