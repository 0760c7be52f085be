"""Splits by time: no event on both sides, none of the future in the past; without times, a part of each user."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_days import DAY, shop

from tidemill.core.errors import TooLittleData
from tidemill.models import Interactions
from tidemill.training import split_at, validation_splits
from tidemill.training.recommender.splits import random_hold_out
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


def without_times(told: Interactions) -> Interactions:
    return Interactions(told.users, told.items, told.user, told.item, np.zeros(len(told), np.int64))


def pairs(told: Interactions) -> list[tuple[str, str]]:
    return [(told.users[user], told.items[item]) for user, item in zip(told.user, told.item, strict=True)]


def test_events_of_one_time_are_validated_on_a_random_part_of_each_user() -> None:
    told = without_times(shop(100))
    (held,) = validation_splits(told)
    assert held.kind == "random"
    assert sorted(pairs(held.train) + pairs(held.test)) == sorted(pairs(told))
    n = dict(zip(told.users, np.diff(told.starts).tolist(), strict=True))
    drawn = dict(zip(held.test.users, np.diff(held.test.starts).tolist(), strict=True))
    assert drawn == {user: max(1, size // 5) for user, size in n.items() if size > 1}
    assert held.at > held.test.time.max()  # no event is left out as one of the future
    assert pairs(validation_splits(told)[0].test) == pairs(held.test)
    firsts = [told.history(told.users.index(user))[0][0] for user in held.test.users]
    assert (
        10
        < sum(
            held.test.items[item] == told.items[first]
            for item, first in zip(held.test.item[held.test.starts[:-1]], firsts, strict=True)
        )
        < 60
    )  # neither the first nor the last ones


def test_users_with_one_event_hold_nothing_out() -> None:
    told = without_times(shop(30))
    single = told.where(np.isin(np.arange(len(told)), told.starts[:-1]))
    assert len(random_hold_out(single).test) == 0
    assert validation_splits(single) == []


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
