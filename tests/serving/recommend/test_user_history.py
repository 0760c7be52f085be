"""What was posted and what was published are one history, whichever comes first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_shop import Review

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.core.records.posted_event import PostedEvent, SealedSubject
from tidemill.serving import RecentEvents, UserHistories, recent_view
from tidemill.serving.recommend.user_history import UserHistory, merge_histories

WHO = "a" * 26


def posted(item: str, at: int, received: int = 1) -> PostedEvent:
    row = {"item_id": item, "rating": 5.0, "reviewed_at": at}
    return PostedEvent(received_at=received, row=row, people={"user_id": SealedSubject(WHO, b"sealed")})


def publish(latest: LmdbLatest, version: str, items: list[str], times: list[int]) -> None:
    rows = pa.table({"user_id": [WHO], "items": pa.array([items], pa.list_(pa.string())), "times": [times]})
    latest.write("m.history", "user_id", rows, version)


def test_a_posted_event_is_seen_by_another_reader_and_counts_once(tmp_path: Path) -> None:
    writer, reader = LmdbLatest(tmp_path), LmdbLatest(tmp_path)
    recent = RecentEvents(writer, "reviews", Review.contract, ["m"])
    histories = UserHistories(reader, "m", lambda: ["reviews"])
    assert histories.history_of(WHO).items == ()
    for _ in range(3):
        recent.add([posted("a", 5)])
    assert histories.history_of(WHO) == UserHistory(["a"], [5])


def test_a_newer_published_history_is_not_hidden_by_a_posted_event(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    recent = RecentEvents(latest, "reviews", Review.contract, ["m"])
    histories = UserHistories(latest, "m", lambda: ["reviews"])
    publish(latest, "1", ["a"], [1])
    recent.add([posted("p", 5)])
    publish(latest, "2", ["a", "b"], [1, 2])
    assert histories.history_of(WHO) == UserHistory(["a", "b", "p"], [1, 2, 5])
    publish(latest, "3", ["a", "b", "p"], [1, 2, 5])
    assert histories.history_of(WHO) == UserHistory(["a", "b", "p"], [1, 2, 5])
    recent.add([posted("q", 6)])
    row = latest.get(recent_view("reviews"), WHO)
    assert row is not None and row["items"] == ["q"], "what the published history has need not be kept twice"
    assert histories.history_of(WHO).items == ["a", "b", "p", "q"]


def test_a_stream_that_feeds_nothing_keeps_nothing(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    RecentEvents(latest, "reviews", Review.contract, []).add([posted("a", 5)])
    assert latest.get(recent_view("reviews"), WHO) is None


events = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=6, unique=True)


def union(
    join: Callable[[UserHistory, UserHistory], UserHistory],
    published: list[tuple[str, int]],
    fresh: list[tuple[str, int]],
) -> None:
    published = sorted(published, key=lambda event: event[1])
    found = join(_history(published), _history(fresh))
    pairs = list(zip(found.items, found.times, strict=True))
    assert sorted(pairs) == sorted({*published, *fresh})
    assert list(found.times) == sorted(found.times)


def _history(pairs: list[tuple[str, int]]) -> UserHistory:
    return UserHistory([item for item, _ in pairs], [at for _, at in pairs])


@given(events, events)
def test_joined_is_the_union_in_order_of_time(published: list[tuple[str, int]], fresh: list[tuple[str, int]]) -> None:
    union(merge_histories, published, fresh)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda one, other: other if other.items else one,  # the posted row hides the published one
        lambda one, other: UserHistory(
            [*one.items, *other.items], [*one.times, *other.times]
        ),  # counts twice, unordered
    ],
)
def test_the_law_catches(wrong: Callable[[UserHistory, UserHistory], UserHistory]) -> None:
    with pytest.raises(AssertionError):
        union(wrong, [("a", 1), ("b", 3)], [("a", 1), ("c", 2)])
