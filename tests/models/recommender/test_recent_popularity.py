"""Recent popularity: steps over windows follow the half-life that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_worlds import DAY, NOW

from tidemill.models import EventFacts
from tidemill.models.recommender.recent_popularity import WINDOWS, decay_steps, recent_popularity


def weight_at(steps, age_days: float) -> float:
    return sum(weight for days, weight in steps if age_days <= days)


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(st.floats(2, 2000))
def test_each_step_is_the_mean_of_the_curve_over_its_ring(half_life: float) -> None:
    steps = decay_steps(half_life)
    assert all(weight > 0 for _, weight in steps)
    low = 0
    for high in WINDOWS:
        ages = np.linspace(low, high, 20_001)
        assert weight_at(steps, (low + high) / 2) == pytest.approx(
            np.mean(2.0 ** -(ages / half_life)), rel=1e-2, abs=1e-9
        )
        low = high


def test_popularity_is_scaled_by_the_most_popular_and_forgets() -> None:
    item = np.array([0, 0, 0, 1])
    time = np.array([1, 2, 3, 99]) * DAY
    facts = EventFacts(["old", "new"], item=item, time=time, as_of=NOW)
    found = recent_popularity(decay_steps(7.0), facts.counts)
    assert found[1] == 1.0
    assert found[0] < 0.1
    assert recent_popularity(((365, 1.0),), facts.counts).tolist() == pytest.approx([1.0, 1 / 3])


def test_nothing_counted_is_nothing_popular() -> None:
    found = recent_popularity(decay_steps(30.0), EventFacts(["a", "b"], as_of=NOW).counts)
    assert found.tolist() == [0.0, 0.0]
    assert found.dtype == np.float32
