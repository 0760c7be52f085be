"""Whose history and which targets, event by event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from known_rankers import ORACLE, events
from synthetic_days import DAY, shop

from tidemill.models import Interactions
from tidemill.training import Protocol, catalogue, evaluation_users, measure_ranker, split_at
from tidemill.training.recommender.users_to_evaluate import QUESTIONS, sample, user_numbers

WORLD = events(
    ("a", "p", 1), ("a", "q", 2), ("a", "r", 11), ("a", "p", 12), ("a", "s", 13), ("b", "q", 10), ("b", "r", 10),
    ("c", "p", 3), ("c", "p", 14), ("d", "q", 4),
)  # fmt: skip
SPLIT = split_at(WORLD, 10 * DAY)


def asked(history: str, target: str) -> list[tuple[str, str, str, float]]:
    """(user, history, targets, day at which it is asked) of every question."""
    items = catalogue(SPLIT)
    return [
        (
            user.user,
            "".join(items[code] for code in user.items),
            "".join(sorted(items[code] for code in user.targets)),
            user.at / DAY,
        )
        for user in evaluation_users(SPLIT, Protocol(history, target))
    ]


def test_every_convention_of_history_and_target() -> None:
    assert asked("before", "all") == [("a", "pq", "rs", 10), ("b", "", "qr", 10)]  # c took only what it had
    assert asked("before", "last") == [("a", "pq", "s", 10), ("b", "", "r", 10), ("c", "p", "p", 10)]
    assert asked("before", "first") == [("a", "pq", "r", 10), ("b", "", "q", 10), ("c", "p", "p", 10)]
    assert asked("earlier", "last") == [("a", "pqrp", "s", 13), ("b", "q", "r", 10), ("c", "p", "p", 14)]
    assert asked("earlier", "first") == [("a", "pq", "r", 11), ("b", "", "q", 10), ("c", "p", "p", 14)]
    assert asked("earlier", "all") == [
        ("a", "pq", "r", 11),
        ("a", "pqrp", "s", 13),
        ("b", "", "q", 10),
        ("b", "q", "r", 10),
    ]


def test_a_repeat_is_a_miss_where_the_event_is_the_target() -> None:
    found = measure_ranker(ORACLE, SPLIT, protocol=Protocol("before", "last"))
    assert found.per_user["hit_rate@10"].tolist() == [1, 1, 0]
    assert found.evaluation.repeats == pytest.approx(2 / 6)
    assert any("repeat an item" in sentence for sentence in found.evaluation.warnings)


def test_a_user_with_many_questions_counts_once() -> None:
    found = measure_ranker(ORACLE, SPLIT, protocol=Protocol("earlier", "all"))
    assert found.evaluation.n_questions == 4
    assert found.evaluation.slices[0].n_users == 2
    assert user_numbers(evaluation_users(SPLIT, Protocol("earlier", "all"))).tolist() == [0, 0, 1, 1]
    busy = events(("a", "x", 0), *[("a", f"y{n:02}", 1 + n) for n in range(50)])
    assert len(evaluation_users(split_at(busy, DAY), Protocol("earlier", "all"))) == QUESTIONS


def test_a_sample_takes_whole_users_evenly() -> None:
    users = evaluation_users(split_at(shop(300)), Protocol("earlier", "all"))
    few = sample(users, 10)
    kept = {user.user for user in few}
    assert len(kept) == 10
    assert [user for user in users if user.user in kept] == few
    assert sample(users, 10_000) is users


def test_nothing_of_a_history_is_later_than_its_question() -> None:
    split = split_at(shop(200, seed=4))
    for protocol in (Protocol("earlier", "all"), Protocol("earlier", "last"), Protocol("before", "last")):
        for user in evaluation_users(split, protocol):
            assert (user.times <= user.at).all()
            assert (user.taken >= user.at).all()
            assert (user.taken >= split.at).all()


@pytest.fixture(scope="module")
def beauty(data_dir: Path) -> Interactions:
    file = data_dir / "amazon" / "beauty_5core_2014_events.csv.gz"
    if not file.is_file():
        pytest.skip(f"{file} is not there: set TIDEMILL_TEST_DATA")
    convert = csv.ConvertOptions(column_types={"user": pa.string(), "item": pa.string()})
    told = csv.read_csv(file, convert_options=convert)
    told = told.append_column("at", pa.array(np.asarray(told["unix_ts"]).astype(np.int64) * 1_000_000))
    return Interactions.from_arrow(told, user="user", item="item", time="at", row="pos")


@pytest.mark.slow
def test_a_published_protocol_is_measured_to_the_user(beauty: Interactions) -> None:
    """Amazon Beauty as in "Time to Split": users with their last event after the .9 quantile of times, every earlier
    event as history, their last event as target.
    """
    after = int(np.quantile(beauty.time, 0.9)) + 1
    split = split_at(beauty, after)
    found = measure_ranker(ORACLE, split, protocol=Protocol("earlier", "last")).evaluation
    assert found.slices[0].n_users == 6110
    assert found.slices[0].baseline["hit_rate@10"].value == pytest.approx(0.0082, abs=0.00005)
    assert found.cold_targets == pytest.approx(0.148, abs=0.0005)
    assert any(sentence.startswith("36.3% of the targets have the time") for sentence in found.warnings)
    assert found.repeats == 0
