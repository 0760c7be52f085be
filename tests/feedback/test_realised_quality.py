from __future__ import annotations

from collections.abc import Callable

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_log import outcome, prediction

from tidemill.core.records.prediction import Outcome, Prediction
from tidemill.feedback import RealisedRate, realised_rates
from tidemill.feedback.log_tables import outcome_rows, prediction_rows

Table = Callable[[pa.Table, pa.Table], list[RealisedRate]]


def shown(i: int, release: str = "m@1", n: int = 2) -> Prediction:
    return msgspec.structs.replace(prediction(i, n), release=release)


def actual(
    predictions: list[Prediction], outcomes: list[Outcome], **more: object
) -> dict[tuple[str, int], tuple[int, int]]:
    found = realised_rates(prediction_rows(predictions), outcome_rows(outcomes), **more)  # type: ignore[arg-type]
    return {(one.release, one.position): (one.shown, one.taken) for one in found}


def test_known_counts_by_release_and_position() -> None:
    predictions = [shown(1), shown(2), shown(3, "m@2"), shown(4, n=0)]
    outcomes = [outcome(1, "i0"), outcome(2, "i1"), outcome(2, "i0"), outcome(3, "not shown"), outcome(9, "i0")]
    assert actual(predictions, outcomes) == {
        ("m@1", 0): (2, 2), ("m@1", 1): (2, 2), ("m@1", 2): (2, 1),
        ("m@2", 0): (1, 0), ("m@2", 1): (1, 0), ("m@2", 2): (1, 0),
    }  # fmt: skip


def test_an_outcome_of_zero_is_not_taken() -> None:
    assert actual([shown(1)], [msgspec.structs.replace(outcome(1), value=0.0)])[("m@1", 0)] == (1, 0)


def test_nothing_at_all() -> None:
    assert actual([], []) == {} and actual([shown(1, n=0)], [outcome(1)]) == {}


def test_what_was_promised_stands_beside_the_whole_list() -> None:
    (whole, *rest) = realised_rates(prediction_rows([shown(1)]), outcome_rows([]), {"m@1": 0.25})
    assert whole.position == 0 and whole.expected == 0.25 and all(one.expected is None for one in rest)


def counted_once(table: Table, repeats: int, deliveries: int) -> None:
    """However often an answer was repeated and an outcome delivered, both count once."""
    predictions = prediction_rows([shown(1)] * repeats + [shown(1, n=0)] * repeats)
    outcomes = outcome_rows([outcome(1, "i0")] * deliveries)
    found = {one.position: (one.shown, one.taken) for one in table(predictions, outcomes)}
    assert found == {0: (1, 1), 1: (1, 1), 2: (1, 0)}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4))
def test_repeats_and_deliveries_count_once(repeats: int, deliveries: int) -> None:
    counted_once(realised_rates, repeats, deliveries)


def without_distinct(predictions: pa.Table, outcomes: pa.Table) -> list[RealisedRate]:
    """Wrong: a plain join, in which rows multiply."""
    found = []
    for position in (1, 2):
        rows = [row for row in predictions.to_pylist() if row["items"]]
        taken = sum(one["item"] == row["items"][position - 1] for row in rows for one in outcomes.to_pylist())
        found.append(
            RealisedRate(
                release="m@1", position=position, shown=len(rows), taken=taken, rate=0, low=0, high=0, expected=None
            )
        )
    return [msgspec.structs.replace(found[0], position=0), *found]


def test_a_plain_join_is_caught() -> None:
    with pytest.raises(AssertionError):
        counted_once(without_distinct, 2, 3)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(["m@1", "m@2"]), st.integers(0, 3)),
        max_size=8,
        unique_by=lambda p: p[0],
    ),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["i0", "i1", "i2", "i9"])), max_size=10),
)
def test_counts_equal_a_count_by_hand(predictions: list[tuple[int, str, int]], outcomes: list[tuple[int, str]]) -> None:
    found = actual([shown(i, release, n) for i, release, n in predictions], [outcome(i, item) for i, item in outcomes])
    expected: dict[tuple[str, int], list[int]] = {}
    for i, release, n in predictions:
        hits = [(i, f"i{k}") in outcomes for k in range(n)]
        for position, hit in enumerate([any(hits), *hits] if n else []):
            cell = expected.setdefault((release, position), [0, 0])
            cell[0] += 1
            cell[1] += hit
    assert found == {key: tuple(cell) for key, cell in expected.items()}
