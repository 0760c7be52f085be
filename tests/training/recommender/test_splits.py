"""Splits by time: no event on both sides, none of the future in the past."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_days import DAY, shop

from tidemill.core.errors import TooLittleData
from tidemill.training import split_at, validation_splits
from tidemill.training.recommender.users_to_evaluate import evaluation_users


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(st.integers(30, 190), st.integers(0, 3))
def test_nothing_is_on_both_sides(day: int, seed: int) -> None:
    told = shop(60, seed=seed)
    split = split_at(told, day * DAY)
    assert len(split.train) + len(split.test) == len(told)
    assert split.train.time.max() < split.at <= split.test.time.min()


def test_an_event_at_exactly_the_split_is_tested_and_not_trained() -> None:
    told = shop(60)
    at = int(np.sort(told.time)[len(told) // 2])
    split = split_at(told, at)
    assert at in split.test.time
    assert at not in split.train.time
    leaky = told.where(told.time <= at)  # the variant that keeps both ends
    assert leaky.time.max() >= split.test.time.min()


def test_the_default_split_leaves_a_tenth_for_the_test() -> None:
    told = shop(300)
    assert len(split_at(told).test) == pytest.approx(0.1 * len(told), rel=0.1)


def test_a_side_without_events_is_refused() -> None:
    told = shop(20)
    for at in (int(told.time.min()), int(told.time.max()) + 1):
        with pytest.raises(TooLittleData):
            split_at(told, at)


def test_validation_windows_lie_inside_the_training_days_back_to_back() -> None:
    train = split_at(shop(300)).train
    windows = validation_splits(train)
    assert len(windows) == 3
    assert windows[0].test.time.max() == train.time.max()
    for later, earlier in itertools.pairwise(windows):
        assert earlier.test.time.max() < later.at
        assert later.train.time.max() < later.at
    assert validation_splits(train.where(train.time == train.time.min())) == []


def test_targets_are_later_items_that_were_not_seen_before() -> None:
    told = shop(100)
    split = split_at(told)
    users = evaluation_users(split)
    assert users
    for user in users:
        assert len(user.targets)
        if user.code >= 0:
            assert not np.isin(user.targets, split.train.history(user.code)[0]).any()
    ids = [split.train.users[user.code] for user in users if user.code >= 0]
    assert len(set(ids)) == len(ids)
