"""The selection rule against chance, and against dependent rows."""

from __future__ import annotations

import numpy as np
import pytest

from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.statistics.ratio_estimate import mean_interval
from tidemill.training.statistics.selection_rule import replaces


def test_noise_seldom_replaces_the_simplest() -> None:
    rng = np.random.default_rng(0)
    wins = [replaces(rng.normal(size=200), rng.normal(size=200))[0] for _ in range(400)]
    assert 0 < sum(wins) <= 0.05 * 400


def test_a_steady_gain_replaces_and_a_loss_does_not() -> None:
    scores = np.random.default_rng(1).normal(size=300)
    better, gain = replaces(scores + 0.1, scores)
    assert better and gain.value == pytest.approx(0.1)
    assert not replaces(scores - 0.1, scores)[0] and not replaces(scores, scores)[0]


def test_rows_of_one_block_are_one_observation() -> None:
    gain = np.repeat(np.random.default_rng(2).normal(0.15, 1, 50), 40)
    assert replaces(gain, np.zeros(2_000))[0]
    assert not replaces(gain, np.zeros(2_000), np.repeat(np.arange(50), 40))[0]
    assert not replaces(gain, np.zeros(2_000), np.zeros(2_000, np.int64))[0]  # a single block says nothing


def test_the_interval_of_a_mean_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    values, block = rng.exponential(size=4_000), rng.integers(0, 800, 4_000)
    for group in (None, block):
        found, drawn = mean_interval(values, group), Bootstrap(4_000, group).mean(values)
        assert found.high - found.low == pytest.approx(drawn.high - drawn.low, rel=0.1)
