"""Evaluation warnings: reasons why a metric may be too high or not comparable, each a sentence with numbers.

For the frequency of these problems in published comparisons, see Ji et al. (2023), "A Critical Study on Data
Leakage in Recommender System Offline Evaluation".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import SliceResult
from tidemill.models import Interactions
from tidemill.models.recommender.event_facts import DAY_US
from tidemill.training.recommender.splits import TimeSplit
from tidemill.training.recommender.users_to_evaluate import EvaluationUser

F64 = npt.NDArray[np.float64]

#: Shares above which a warning is issued.
TIED, REPEATED, DUPLICATED, COPIED, AT_SPLIT = 0.01, 0.01, 0.001, 0.01, 0.02
#: Shortest test in days; shortest history that two users do not share by chance; fewest events of duplicate items.
SHORTEST_DAYS, LONG_HISTORY, TWIN_EVENTS = 3, 3, 5
#: A metric above this is implausible, if the catalogue has at least this many items per list position.
IMPLAUSIBLE, ITEMS_A_PLACE = 0.6, 20


def evaluation_warnings(
    split: TimeSplit, users: Sequence[EvaluationUser], overall: SliceResult, k: int
) -> tuple[str, ...]:
    """All warnings about a split, its queries and the metrics of all users.

    A split by time whose sides overlap (`on_both_sides`) has no warning here: it is not evaluated.
    """
    found = [
        *later_than_targets(split),
        *at_the_split(split),
        *short_test(split),
        *duplicate_rows(split),
        *twin_items(split.train),
        *copied_histories(split.train),
        *repeats(split),
        *ties(users),
        *implausible(overall, split.train.n_items, k),
    ]
    return tuple(found)


def later_than_targets(split: TimeSplit) -> list[str]:
    """Training events later than the event to predict; only leave-one-out has them."""
    if split.kind == "time":
        return []
    later = np.searchsorted(np.sort(split.train.time), split.test.time, side="right")
    share = 1 - later.mean() / len(split.train)
    return [
        f"leave-one-out leaks the future: on average {share:.1%} of the training events are later than the event "
        "to predict; read it only next to the split by time"
    ]


def on_both_sides(split: TimeSplit) -> list[str]:
    """Overlap in time between the train and test of a split by time."""
    if split.kind != "time":
        return []
    last, first = int(split.train.time.max()), int(split.test.time.min())
    if last < first:
        return []
    n_train, n_test = int((split.train.time >= first).sum()), int((split.test.time <= last).sum())
    return [
        f"train and test overlap: {n_train:,} training events are not earlier than the first test event, and "
        f"{n_test:,} test events not later than the last training event"
    ]


def at_the_split(split: TimeSplit) -> list[str]:
    """Many events at the instant of the split: they would be on both sides if training included the split."""
    n = int((split.test.time == split.at).sum())
    if split.kind != "time" or n <= AT_SPLIT * len(split.test):
        return []
    return [
        f"{n:,} events ({n / len(split.test):.1%} of the test) are exactly at the split; they are test "
        "events, and a system that trains up to and including the split has seen them"
    ]


def short_test(split: TimeSplit) -> list[str]:
    """A test of only a few days."""
    days = (int(split.test.time.max()) - int(split.test.time.min())) / DAY_US
    if split.kind != "time" or days >= SHORTEST_DAYS:
        return []
    return [f"the test covers {days:.1f} days: too few to average over the days of a week"]


def duplicate_rows(split: TimeSplit) -> list[str]:
    """Rows that repeat another row: the same user, item and time."""
    n, total = 0, 0
    for events in (split.train, split.test):
        order = np.lexsort((events.item, events.time, events.user))
        user, item, time = events.user[order], events.item[order], events.time[order]
        n += int(((user[1:] == user[:-1]) & (item[1:] == item[:-1]) & (time[1:] == time[:-1])).sum())
        total += len(events)
    if n <= DUPLICATED * total:
        return []
    return [
        f"{n:,} of {total:,} rows ({n / total:.1%}) repeat another row of the same user, item and time: they count "
        "twice in training. Remove the duplicates"
    ]


def twin_items(train: Interactions) -> list[str]:
    """Items with the same users at the same times: probably one item under two ids."""
    pair = train.user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ train.time.astype(np.uint64)
    mixed = (pair ^ (pair >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    prints = np.zeros(train.n_items, np.uint64)
    np.add.at(prints, train.item, mixed ^ (mixed >> np.uint64(32)))
    often = np.bincount(train.item, minlength=train.n_items) >= TWIN_EVENTS
    _, n_same = np.unique(prints[often], return_counts=True)
    n = int(n_same[n_same > 1].sum())
    if not n:
        return []
    return [
        f"{n:,} items have exactly the users and times of another item: one item under two ids is easy to predict. "
        "Merge the ids"
    ]


def copied_histories(train: Interactions) -> list[str]:
    """Users with exactly the same sequence of items as another user: imports, bots, test accounts."""
    lengths = np.diff(train.starts)
    long = np.flatnonzero(lengths >= LONG_HISTORY)
    seen = Counter(train.history(int(user))[0].tobytes() for user in long)
    n = sum(times for times in seen.values() if times > 1)
    if n <= max(2, COPIED * len(long)):
        return []
    return [
        f"{n:,} of {len(long):,} users with {LONG_HISTORY} events or more have exactly the items of another user in "
        "the same order: imports, bots or test accounts are easy to predict. Exclude them"
    ]


def repeats(split: TimeSplit) -> list[str]:
    """Pairs of user and item that occur in both train and test."""
    share = repeat_share(split)
    if share <= REPEATED:
        return []
    return [
        f"{share:.1%} of the test events repeat an item of the user's own training events: lists without seen items "
        "cannot contain them, so these metrics do not cover systems that recommend seen items"
    ]


def repeat_share(split: TimeSplit, *, within: bool = False) -> float:
    """Share of test events whose user had the item in training, or with `within` also earlier in the test."""
    user_of = {user: code for code, user in enumerate(split.train.users)}
    item_of = {item: code for code, item in enumerate(split.train.items)}
    user = np.array([user_of.get(name, -1) for name in split.test.users], np.int64)[split.test.user]
    item = np.array([item_of.get(name, -1) for name in split.test.items], np.int64)[split.test.item]
    n = split.train.n_items
    trained = split.train.user.astype(np.int64) * n + split.train.item
    repeated = (user >= 0) & (item >= 0) & np.isin(user * n + item, trained)
    if within:
        pairs = split.test.user.astype(np.int64) * split.test.n_items + split.test.item
        again = np.ones(len(pairs), np.bool_)
        again[np.unique(pairs, return_index=True)[1]] = False
        repeated |= again
    return float(repeated.mean())


def ties(users: Sequence[EvaluationUser]) -> list[str]:
    """Targets at the time of the history's last event, ordered only by their rows."""
    last = np.repeat([int(user.times[-1]) if len(user.times) else -1 for user in users], [len(u.taken) for u in users])
    share = float((np.concatenate([user.taken for user in users]) == last).mean()) if len(last) else 0.0
    if share <= TIED:
        return []
    return [
        f"{share:.1%} of the targets have the time of the history's last event: their order is that of their rows, and "
        "another order gives other metrics"
    ]


def implausible(overall: SliceResult, n_items: int, k: int) -> list[str]:
    """A metric that is too high to be plausible."""
    name = f"hit_rate@{k}"
    found = overall.model.get(name)
    if found is None or found.value <= IMPLAUSIBLE or n_items < k * ITEMS_A_PLACE:
        return []
    return [
        f"{name} is {found.value:.3f} on a catalogue of {n_items:,} items, which is suspiciously high: look for "
        "targets in the training data, lists made after the split, or automated test users"
    ]
