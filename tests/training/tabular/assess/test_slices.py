"""Parts of an evaluation: whom they hold, which one is named as the worst, and who is shown how much."""

from __future__ import annotations

import numpy as np
import pytest
from known_rankers import ORACLE, Given, events
from synthetic_days import DAY, shop

from tidemill.core.records.quality import SliceResult
from tidemill.training import Protocol, evaluation_users, measure_ranker, split_at
from tidemill.training.recommender.evaluation import BASELINE_DAYS, facts_at
from tidemill.training.recommender.list_statistics import gini, list_statistics
from tidemill.training.recommender.popularity_tiers import tiers
from tidemill.training.recommender.rankers import PopularityRanker, ranked_answers
from tidemill.training.recommender.user_slices import FEWEST

SPLIT = split_at(shop(900))
NOTHING = Given(lambda user, n: [])


def part_of(parts: tuple[SliceResult, ...], family: str, name: str) -> SliceResult:
    (found,) = [part for part in parts if (part.family, part.users) == (family, name)]
    return found


def test_parts_by_history_hold_each_user_once() -> None:
    found = measure_ranker(ORACLE, SPLIT).evaluation
    users = evaluation_users(SPLIT)
    sizes = {part.users: part.n_users for part in found.parts if part.family == "history"}
    lengths = np.array([len(user.items) for user in users])
    expected = {
        "0 events": int((lengths == 0).sum()),
        "1 event": int((lengths == 1).sum()),
        "2-4 events": int(((lengths >= 2) & (lengths <= 4)).sum()),
        "5-9 events": int(((lengths >= 5) & (lengths <= 9)).sum()),
    }
    assert sizes == {name: n for name, n in expected.items() if n}
    assert sum(sizes.values()) == found.slices[0].n_users
    ages = sum(part.n_users for part in found.parts if part.family == "recency")
    assert ages == int((lengths > 0).sum())


def test_a_part_that_is_served_worse_is_named() -> None:
    """All users get what they want, except those with 2-4 events, who get nothing."""
    uneven = Given(lambda user, n: [] if 2 <= len(user.items) <= 4 else user.targets.tolist())
    found = measure_ranker(uneven, SPLIT).evaluation
    part = part_of(found.parts, "history", "2-4 events")
    assert part.model["ndcg@10"].value == 0
    assert part.difference["ndcg@10"].high < 0
    assert part.p["ndcg@10"] <= part.p_holm["ndcg@10"] < 0.05
    assert "history: 2-4 events" in found.worst
    assert found.worst.startswith("Worst slice: ")
    assert "are significantly worse" in found.worst


def test_no_part_is_blamed_without_evidence() -> None:
    same = PopularityRanker(facts_at(SPLIT), BASELINE_DAYS)
    found = measure_ranker(same, SPLIT).evaluation
    assert found.worst.startswith("None of")
    assert all(part.p_holm.get("ndcg@10", 1.0) == 1.0 for part in (*found.slices, *found.parts))


def test_a_little_worse_is_not_shown_to_be_worse() -> None:
    """One user of many gets nothing: that part is the lowest, and no evidence."""
    popularity = PopularityRanker(facts_at(SPLIT), BASELINE_DAYS)
    scores = measure_ranker(popularity, SPLIT).per_user["ndcg@10"]
    users = [user.user for user in evaluation_users(SPLIT)]
    unlucky = users[int(scores.argmax())]
    nearly = Given(lambda user, n: [] if user.user == unlucky else popularity.rank(user, n)[: n + 9].tolist())
    found = measure_ranker(nearly, SPLIT).evaluation
    lowest = min(part.difference["ndcg@10"].value for part in found.parts if part.difference)
    assert lowest < 0
    assert found.worst.startswith("None of")
    assert f"{lowest:+.3g}" in found.worst


def test_popularity_fills_its_lists_whatever_was_seen() -> None:
    users = evaluation_users(SPLIT)
    beside = ranked_answers(PopularityRanker(facts_at(SPLIT), BASELINE_DAYS), users, 20)
    assert max(len(user.items) for user in users) > 5
    assert {len(one) for one in beside.lists} == {20}
    assert not any(np.isin(one, user.items).any() for one, user in zip(beside.lists, users, strict=True))


def test_a_part_with_too_few_users_has_a_note_and_no_figures() -> None:
    few = split_at(shop(120))
    found = measure_ranker(NOTHING, few).evaluation
    small = [part for part in found.parts if part.n_users < FEWEST]
    assert small
    assert all(not part.model and not part.p and "too few" in part.note for part in small)
    assert all(part.model for part in found.parts if part.n_users >= FEWEST)
    assert f"{len(small)} more have too few users" in found.worst


def test_parts_by_target_count_only_their_targets() -> None:
    """Of two targets, one is popular and one is not; the list holds the popular one."""
    rows = [(f"h{n}", "hit", 1.0) for n in range(60)] + [("x", "rare", 1.0), ("x", "other", 1.5)]
    rows += [(f"u{n:02}", item, 5.0 + k) for n in range(40) for k, item in enumerate(("hit", "rare", "new"))]
    split = split_at(events(*rows), 3 * DAY)
    code = split.train.items.index("hit")
    found = measure_ranker(Given(lambda user, n: [code]), split).evaluation
    assert part_of(found.parts, "target popularity", "head").model["recall@10"].value == 1
    assert part_of(found.parts, "target popularity", "tail").model["recall@10"].value == 0
    assert part_of(found.parts, "target", "never trained on").model["recall@10"].value == 0
    assert part_of(found.parts, "target", "trained on").model["recall@10"].value == 0.5
    assert found.slices[0].model["recall@10"].value == pytest.approx(1 / 3)
    assert found.cold_targets == pytest.approx(1 / 3)


def test_groups_of_items_are_parts_and_have_exposure() -> None:
    rows = [(f"u{n:02}", item, 1 + n / 100) for n in range(50) for item in ("a1", "b1")]
    rows += [("y", "a2", 1.0), ("y", "b2", 1.0)]
    rows += [(f"u{n:02}", item, 9 + n / 100) for n in range(50) for item in ("a2", "b2")]
    split = split_at(events(*rows), 5 * DAY)
    groups = {"a1": "A", "a2": "A", "b1": "B"}  # b2 has none
    a2 = split.train.items.index("a2")
    found = measure_ranker(Given(lambda user, n: [a2]), split, groups=groups).evaluation
    assert part_of(found.parts, "group", "A").model["recall@10"].value == 1
    assert part_of(found.parts, "group", "no group").model["recall@10"].value == 0
    shown = {one.group: one for one in found.exposure if one.by == "group"}
    assert (shown["A"].shown.value, shown["A"].taken.value) == (1.0, 0.5)
    ratio = shown["A"].ratio
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))  # the same for every user
    assert shown["B"].ratio is None  # nothing of it was taken
    assert shown["no group"].n_items == 1


def test_exposure_discounts_places_and_shares_are_whole() -> None:
    split = split_at(shop(300))
    first = Given(lambda user, n: [0, 1, 2])
    groups = {split.train.items[0]: "top"}
    found = measure_ranker(first, split, protocol=Protocol(target="last"), groups=groups).evaluation
    by_group = {one.group: one for one in found.exposure if one.by == "group"}
    gain = 1 / np.log2([2, 3, 4])
    seen = [set(user.items.tolist()) for user in evaluation_users(split, Protocol(target="last"))]
    lists = [[code for code in (0, 1, 2) if code not in had] for had in seen]
    top = sum(gain[items.index(0)] for items in lists if 0 in items)
    whole = sum(gain[: len(items)].sum() for items in lists)
    assert by_group["top"].shown.value == pytest.approx(top / whole)
    for by in ("group", "popularity"):
        for kind in ("shown", "baseline", "taken"):
            assert sum(getattr(one, kind).value for one in found.exposure if one.by == by) == pytest.approx(1)


def test_many_groups_are_told_by_the_largest() -> None:
    split = split_at(shop(300))
    found = measure_ranker(ORACLE, split, groups={item: item for item in split.train.items}).evaluation
    groups = [one for one in found.exposure if one.by == "group"]
    assert len(groups) == 20
    assert "all others" in {one.group for one in groups}
    assert sum(one.n_items for one in groups) == len(set(split.train.items) | set(split.test.items))


def test_popularity_shows_what_is_popular() -> None:
    found = measure_ranker(ORACLE, SPLIT).evaluation
    model, baseline, taken = (found.lists[name] for name in ("model", "baseline", "taken"))
    assert model.popularity == pytest.approx(taken.popularity)  # the oracle shows what is taken, and no more
    assert model.head_share == pytest.approx(taken.head_share)
    assert baseline.percentile > model.percentile
    assert baseline.gini > model.gini
    assert baseline.coverage < model.coverage


def test_kinds_of_lists_by_hand() -> None:
    told = events(
        *[(f"u{n}", "a", n) for n in range(6)], ("u0", "b", 9), ("u1", "b", 9), ("u2", "c", 9), ("u3", "d", 9)
    )
    assert tiers(np.array([6, 2, 1, 1]), 5).tolist() == [0, 1, 2, 2, 3]
    found = list_statistics([np.array([0, 1]), np.array([0, 4])], told, 10)  # 4 was never trained on
    assert found.popularity == pytest.approx((6 + 2 + 6) / 3)
    assert found.percentile == pytest.approx((0.75 + 0.5 + 0.75) / 3)
    assert found.head_share == pytest.approx(2 / 3)
    assert found.gini == pytest.approx(gini(np.array([2, 1, 0, 0])))
    assert found.coverage == 0.5
    empty = list_statistics([np.array([], np.int32)], told, 10)
    assert (empty.popularity, empty.gini, empty.novelty, empty.coverage) == (None, None, None, 0.0)
