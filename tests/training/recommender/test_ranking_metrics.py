"""Measures against figures worked out by hand, and intervals against what chance does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_days import shop

from tidemill.training.recommender.list_statistics import coverage, diversity, novelty
from tidemill.training.recommender.ranking_metrics import per_user, places
from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.statistics.ratio_estimate import mean_interval


def test_a_list_is_worth_what_the_formulas_say() -> None:
    ranked = [np.array([5, 1, 2]), np.array([7, 8, 9]), np.array([3])]
    targets = [np.array([1, 4]), np.array([-1]), np.array([3, -1])]
    found = per_user(ranked, targets, (2, 3))
    assert found["hit_rate@2"].tolist() == [1, 0, 1]
    assert found["recall@3"].tolist() == [0.5, 0, 0.5]
    two = 1 + 1 / math.log2(3)
    assert found["ndcg@2"].tolist() == pytest.approx([1 / math.log2(3) / two, 0, 1 / two])


def test_an_item_that_was_never_trained_is_a_miss_and_not_a_match() -> None:
    """-1 stands for all of them: a list can never hold one, even where codes are looked up from the end."""
    found = per_user([np.array([-1, 0])], [np.array([-1])], (2,))
    assert found["hit_rate@2"].tolist() == [0]


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.permutations(range(12)), st.sets(st.integers(0, 11), min_size=1))
def test_measures_stay_between_nothing_and_all(ranked, wanted) -> None:
    found = per_user([np.array(ranked)], [np.array(sorted(wanted))], (5, 12))
    assert all(0 <= values[0] <= 1 + 1e-12 for values in found.values())
    assert found["recall@12"][0] == 1
    best = per_user([np.array([*sorted(wanted), *(set(range(12)) - wanted)])], [np.array(sorted(wanted))], (5, 12))
    assert best["ndcg@5"][0] == pytest.approx(1)
    assert found["ndcg@5"][0] <= best["ndcg@5"][0] + 1e-12


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.tuples(st.lists(st.integers(-1, 9), max_size=6), st.sets(st.integers(-1, 9), max_size=4)), min_size=1)
)
def test_places_are_those_that_looking_finds(rows) -> None:
    ranked = [np.array(given, np.int32) for given, _ in rows]
    targets = [np.array(sorted(wanted), np.int32) for _, wanted in rows]
    looked = [given.index(one) if one >= 0 and one in given else -1 for given, wanted in rows for one in sorted(wanted)]
    assert places(ranked, targets).tolist() == looked


def test_coverage_novelty_and_diversity() -> None:
    told = shop(50, 12, 3)
    lists = [np.array([0, 1]), np.array([1, 2])]
    assert coverage(lists, 12, 2) == 3 / 12
    assert coverage(lists, 12, 1) == 2 / 12
    share = np.bincount(told.item, minlength=12) / told.n_users
    assert novelty(lists, told, 2) == pytest.approx(-np.log2(share[[0, 1, 1, 2]]).mean())
    vectors = np.array([[1, 0], [0, 1], [0, 2]], np.float32)
    assert diversity(lists, vectors, 2) == pytest.approx(0.5)  # one list at right angles, one of the same direction
    assert diversity([np.array([1])], vectors, 2) is None  # one item is not unlike anything
    assert diversity(lists, np.zeros((12, 3), np.float32), 2) is None
    assert novelty([np.array([-1])], told, 2) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(150):
        sample = rng.exponential(1.0, 150)
        found = Bootstrap(150, seed=seed).mean(sample)
        held += found.low <= 1.0 <= found.high
    assert 0.88 <= held / 150 <= 0.99


def test_all_figures_share_their_resamples() -> None:
    """A part is resampled with the weights that its users have in the whole."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=300)
    half = np.arange(0, 300, 2)
    masked = np.zeros((300, 2))
    masked[half] = np.column_stack((x[half], np.ones(len(half))))
    resamples = Bootstrap(300)
    whole = resamples.sums(masked)
    assert np.allclose(resamples.means(x[half, None], half)[:, 0], whole[:, 0] / whole[:, 1])
    assert np.array_equal(whole, Bootstrap(300).sums(masked))


def test_paired_differences_are_narrower_than_figures_apart() -> None:
    rng = np.random.default_rng(1)
    ease = rng.random(400)  # some users are easy for both
    one, other = ease + 0.02, ease + rng.normal(0, 0.01, 400)
    found = {"one": mean_interval(one), "other": mean_interval(other), "difference": mean_interval(one - other)}
    width = {name: metric.high - metric.low for name, metric in found.items()}
    assert width["difference"] < width["one"] / 5
    assert found["difference"].low > 0
    assert found["one"].low < found["other"].high  # apart, the two cannot be told from each other
    same = mean_interval(one - one)
    assert (same.value, same.low, same.high) == (0, 0, 0)
