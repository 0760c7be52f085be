"""A permutation test against counting by hand, against chance, and against many looks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.training.statistics.permutation_test import holm, sign_flips


def sign_flip(difference: np.ndarray, *, seed: int = 1) -> float:
    n = len(difference)
    return float(sign_flips({"all": (np.arange(n), difference[:, None])}, n, seed=seed)["all"][0])


def test_p_is_what_counting_all_signs_gives() -> None:
    difference = np.array([0.9, 0.4, -0.2, 0.7, 0.0, 0.3, 0.5, -0.1])
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product((-1, 1), repeat=len(difference))]
    exact = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-9)
    assert sign_flip(difference) == pytest.approx(exact, abs=0.01)
    assert sign_flip(-difference) == sign_flip(difference)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip(np.zeros(50)) == 1.0
    assert sign_flip(np.array([0.3])) == 1.0  # one user may as well have gone the other way
    assert 0 < sign_flip(np.full(100, 0.2)) < 0.001  # never zero


def test_chance_alarms_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [sign_flip(rng.choice([-1.0, 0.0, 1.0], 80, p=[0.1, 0.8, 0.1]), seed=seed) for seed in range(300)]
    assert np.mean(np.array(found) < 0.05) <= 0.08
    assert np.mean(np.array(found) < 0.5) >= 0.35  # and it is not silent either


def test_parts_are_tested_as_if_alone() -> None:
    rng = np.random.default_rng(1)
    difference = np.where(rng.random(400) < 0.8, 0.0, rng.normal(0.15, 1, 400))
    part = np.flatnonzero(rng.random(400) < 0.4)
    found = sign_flips({"all": (np.arange(400), difference[:, None]), "part": (part, difference[part, None])}, 400)
    assert found["all"][0] == pytest.approx(sign_flip(difference), abs=0.02)
    assert found["part"][0] == pytest.approx(sign_flip(difference[part]), abs=0.02)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_and_keeps_the_order(p: list[float]) -> None:
    stepped = holm(dict(enumerate(p)))
    assert list(stepped) == list(range(len(p)))
    for i, value in enumerate(p):
        assert value <= stepped[i] <= min(1.0, len(p) * value + 1e-12)
    by_p = sorted(range(len(p)), key=lambda i: p[i])
    assert [stepped[i] for i in by_p] == sorted(stepped.values())


def test_many_looks_at_nothing_alarm_seldom() -> None:
    """Twenty parts without any difference: uncorrected, most worlds would name a worse one."""
    rng = np.random.default_rng(4)
    plain, stepped = 0, 0
    for _ in range(100):
        p = dict(enumerate(rng.random(20)))
        plain += min(p.values()) < 0.05
        stepped += min(holm(p).values()) < 0.05
    assert plain > 50
    assert stepped <= 10
