"""Every warning fires where its fault was planted, with the right numbers, and is silent where it was not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from known_rankers import ORACLE, Given, events, shuffled
from synthetic_days import DAY, shop

from tidemill.models import Interactions
from tidemill.training import Protocol, TimeSplit, leave_one_out, measure_ranker, split_at
from tidemill.training.recommender import evaluation_warnings

SOUND = shop(400, 300, 6)
SPLIT = split_at(SOUND)


def rows_of(told: Interactions) -> list[tuple[str, str, float]]:
    return [
        (told.users[user], told.items[item], time / DAY)
        for user, item, time in zip(told.user, told.item, told.time, strict=True)
    ]


def planted(*rows: tuple[str, str, float]) -> TimeSplit:
    return split_at(events(*rows_of(SOUND), *rows), SPLIT.at)


def said(split: TimeSplit, what: str, protocol: Protocol | None = None) -> list[str]:
    ranker = shuffled(split.train.n_items)
    found = measure_ranker(ranker, split, protocol=protocol).evaluation.warnings
    return [sentence for sentence in found if what in sentence]


def test_a_sound_world_is_silent() -> None:
    for protocol in (Protocol(), Protocol("earlier", "last")):
        assert measure_ranker(shuffled(SPLIT.train.n_items), SPLIT, protocol=protocol).evaluation.warnings == ()


def test_events_at_exactly_the_split() -> None:
    split = planted(*[(f"z{n}", "i000", SPLIT.at / DAY) for n in range(60)])
    (sentence,) = said(split, "exactly at the split")
    n = int((split.test.time == split.at).sum())
    assert sentence.startswith(f"{n} events ({n / len(split.test):.1%} of the test)")
    assert n >= 60


def test_train_and_test_that_overlap_are_found_and_refused() -> None:
    assert evaluation_warnings.on_both_sides(SPLIT) == []
    overlapping = TimeSplit(SPLIT.at, SOUND.where(SOUND.time < SPLIT.at + 5 * DAY), SPLIT.test)
    (sentence,) = evaluation_warnings.on_both_sides(overlapping)
    n = int((overlapping.train.time >= SPLIT.test.time.min()).sum())
    assert f"{n:,} training events are not earlier" in sentence
    with pytest.raises(ValueError, match="training events are not earlier"):
        measure_ranker(ORACLE, overlapping)


def test_duplicate_rows() -> None:
    twice = rows_of(SOUND)[:100]
    (sentence,) = said(planted(*twice), "repeat another row")
    assert sentence.startswith(f"100 of {len(SOUND) + 100:,} rows")


def test_repeats_of_the_same_user_and_item() -> None:
    train = rows_of(SPLIT.train)[:80]
    split = planted(*[(user, item, SPLIT.at / DAY + 1) for user, item, _ in dict.fromkeys(train)])
    (sentence,) = said(split, "repeat an item")
    share = evaluation_warnings.repeat_share(split)
    assert sentence.startswith(f"{share:.1%} of the test events")
    pairs = {(user, item) for user, item, _ in rows_of(split.train)}
    counted = np.mean([(user, item) in pairs for user, item, _ in rows_of(split.test)])
    assert share == pytest.approx(counted)
    assert share > 0.1


def test_repeats_within_the_test_count_where_the_history_goes_on() -> None:
    rows = [("a", "x", 1), ("a", "x", 11), ("a", "y", 12), ("a", "y", 13), ("b", "z", 14), ("b", "z", 15)]
    split = split_at(events(*rows), 10 * DAY)
    assert evaluation_warnings.repeat_share(split) == pytest.approx(1 / 5)
    assert evaluation_warnings.repeat_share(split, within=True) == pytest.approx(3 / 5)
    assert measure_ranker(ORACLE, split).evaluation.repeats == pytest.approx(1 / 5)
    assert measure_ranker(ORACLE, split, protocol=Protocol("earlier", "last")).evaluation.repeats == pytest.approx(
        3 / 5
    )


def test_one_thing_under_two_ids() -> None:
    often = np.bincount(SPLIT.train.item).argmax()
    name = SPLIT.train.items[often]
    copies = [(user, "twin", day) for user, item, day in rows_of(SPLIT.train) if item == name]
    (sentence,) = said(planted(*copies), "one item under two ids")
    assert sentence.startswith("2 items have exactly the users and times")
    nearly = [*copies[1:], ("somebody", "twin", 3.0)]
    assert said(planted(*nearly), "one item under two ids") == []


def test_copied_histories() -> None:
    bots = [(f"bot{n:02}", item, 20 + n / 7 + k) for n in range(30) for k, item in enumerate(("i000", "i055", "i120"))]
    (sentence,) = said(planted(*bots), "in the same order")
    assert sentence.startswith(("30 of ", "31 of "))
    others = [(user, item, day) for n, (user, item, day) in enumerate(bots) if n % 3]  # two events: chance would do
    assert said(planted(*others), "in the same order") == []


def test_ties_between_history_and_target() -> None:
    tied = [(f"t{n:02}", item, 190.0) for n in range(40) for item in ("i001", "i002")]
    split = planted(*tied)
    (sentence,) = said(split, "their order is that of their rows", Protocol("earlier", "last"))
    assert float(sentence.partition("%")[0]) > 10
    assert said(split, "their order is that of their rows", Protocol("before", "last")) == []


def test_a_short_test() -> None:
    last = int(SOUND.time.max())
    split = split_at(SOUND, last - 2 * DAY)
    (sentence,) = said(split, "the test covers")
    assert sentence.startswith(f"the test covers {(last - split.test.time.min()) / DAY:.1f} days")
    assert said(split_at(SOUND, last - 4 * DAY), "the test covers") == []


def test_leave_one_out_says_how_much_of_the_future_it_trains_on() -> None:
    held = leave_one_out(SOUND)
    (sentence,) = said(held, "leaks the future")
    later = np.mean([(held.train.time > time).mean() for time in held.test.time])
    assert f"on average {later:.1%}" in sentence


def test_a_figure_that_is_hard_to_believe() -> None:
    (sentence,) = measure_ranker(ORACLE, SPLIT).evaluation.warnings
    assert sentence.startswith("hit_rate@10 is 1.000 on a catalogue of")
    small = split_at(shop(300))  # of sixty items, ten are often right
    assert measure_ranker(ORACLE, small).evaluation.warnings == ()
    some = Given(lambda user, n: user.targets.tolist() if int(user.user[1:]) % 2 else [])
    assert measure_ranker(some, SPLIT).evaluation.warnings == ()


@pytest.mark.parametrize(
    "look",
    [
        evaluation_warnings.duplicate_rows,
        evaluation_warnings.at_the_split,
        evaluation_warnings.short_test,
        evaluation_warnings.repeats,
    ],
)
def test_one_event_is_no_pattern(look: Callable[[TimeSplit], list[str]]) -> None:
    """A single such event among thousands is not worth a sentence."""
    first = rows_of(SPLIT.train)[0]
    split = planted(first, (first[0], first[1], SPLIT.at / DAY))
    assert look(split) == []
