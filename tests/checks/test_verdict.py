"""Verdicts: every failure, one pass, the same on every engine, and wrong variants of each check."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.polars import PolarsEngine
from tidemill.checks import (
    AnyExpectation,
    between,
    defaults,
    evaluate,
    fresh,
    freshness,
    like_history,
    not_null,
    refused_share,
    repeated_share,
)
from tidemill.core.clock import to_micros
from tidemill.core.errors import CheckError, TypeMismatch, UnknownName
from tidemill.core.records.ingest import RowCounts, Verdict

_SCHEMA = pa.schema(
    [("rating", pa.float64()), ("n", pa.int64()), ("name", pa.string()), ("at", pa.timestamp("us", "UTC"))]
)
_AS_OF = to_micros(datetime(2020, 1, 11, tzinfo=UTC))
_EVERY: list[AnyExpectation] = [
    between("rating", 1, 5, share=0.9),
    between("n", None, 3),
    between("rating", 0, None),
    not_null("name", share=0.5),
    freshness("10 days"),
    refused_share(at_most=0.02),
    repeated_share(at_most=0.1),
    like_history("row_count"),
    like_history("mean", "rating"),
    like_history("null_share", "name"),
]


def _rows(*rows: tuple[Any, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(_SCHEMA.names, row, strict=True)) for row in rows], schema=_SCHEMA)


def _day(number: int) -> datetime:
    return datetime(2020, 1, number, tzinfo=UTC)


def _counts(arrived: int, refused: int = 0, repeated: int = 0, contradicted: int = 0) -> RowCounts:
    merged = arrived - refused - repeated - contradicted
    return RowCounts(arrived=arrived, refused=refused, repeated=repeated, contradicted=contradicted, merged=merged)


def test_every_failure_is_listed_with_n_observed_and_expected() -> None:
    rows = _rows(*[(9.0, 7, None, datetime(2019, 12, 1, tzinfo=UTC))] * 20)
    verdict = evaluate(
        "reviews", rows, _EVERY, counts=_counts(100, refused=50, repeated=20, contradicted=10), as_of=_AS_OF
    )
    assert (verdict.outcome, verdict.checked) == ("hold", 10)
    found = {failure.check: (failure.n, failure.observed, failure.low, failure.high) for failure in verdict.failures}
    assert found == {
        "between(rating, 1, 5, share=0.9)": (20, 0.0, 0.9, 1.0),
        "between(n, -∞, 3, share=1)": (20, 0.0, 1.0, 1.0),
        "not_null(name, share=0.5)": (20, 0.0, 0.5, 1.0),
        "freshness(10 days)": (20, 41.0, None, 10.0),
        "refused_share(at_most=0.02)": (100, 0.5, 0.0, 0.02),
        "repeated_share(at_most=0.1)": (50, 0.6, 0.0, 0.1),
    }
    assert all(failure.table == "reviews" and failure.says for failure in verdict.failures)
    assert Verdict.__name__ in repr(verdict) and verdict.json()


def test_a_good_increment_passes_and_is_remembered() -> None:
    rows = _rows((1.0, 1, "x", _day(2)), (5.0, 3, "y", _day(10)))
    verdict = evaluate("reviews", rows, _EVERY, counts=_counts(2), as_of=_AS_OF)
    assert (verdict.outcome, verdict.failures) == ("pass", ())
    assert verdict.metrics == {
        "day": 18272.0,
        "reviews.row_count": 2.0,
        "reviews.refused_share": 0.0,
        "reviews.repeated_share": 0.0,
        "reviews.mean:rating": 3.0,
        "reviews.null_share:name": 0.0,
    }


def test_without_rows_everything_passes() -> None:
    verdict = evaluate("reviews", _rows(), _EVERY, counts=_counts(0), as_of=_AS_OF)
    assert (verdict.outcome, verdict.failures) == ("pass", ())
    assert verdict.metrics == {"day": 18272.0, "reviews.row_count": 0.0}


def test_missing_values_do_not_count_as_outside_and_nan_does() -> None:
    missing = _rows(*[(None, 1, "x", _day(10))] * 50, (3.0, 1, "x", _day(10)))
    assert evaluate("t", missing, [between("rating", 1, 5)], as_of=_AS_OF).outcome == "pass"
    for low, high in ((1, 5), (None, 5), (1, None)):
        for engine in (None, PolarsEngine()):
            nan = _rows((math.nan, 1, "x", _day(10)), (3.0, 1, "x", _day(10)))
            (failure,) = evaluate("t", nan, [between("rating", low, high)], as_of=_AS_OF, engine=engine).failures
            assert (failure.n, failure.observed) == (2, 0.5)


def test_ends_are_inside() -> None:
    rows = _rows((1.0, 1, "x", _day(10)), (5.0, 1, "x", _day(10)))
    assert evaluate("t", rows, [between("rating", 1, 5)], as_of=_AS_OF).outcome == "pass"
    assert evaluate("t", rows, [between("rating", 1, 4.999)], as_of=_AS_OF).outcome == "hold"


def test_the_former_name_of_freshness_still_works() -> None:
    assert fresh is freshness


@pytest.mark.parametrize(("newest", "outcome"), [(1, "pass"), (10, "pass")])
def test_fresh_reaches_back_exactly_so_far(newest: int, outcome: str) -> None:
    rows = _rows((1.0, 1, "x", _day(newest)))
    assert evaluate("t", rows, [freshness("10 days")], as_of=_AS_OF).outcome == outcome
    assert evaluate("t", rows, [freshness("10 days")], as_of=_AS_OF + newest_later(newest)).outcome == "hold"


def newest_later(newest: int) -> int:
    """Microseconds by which the as-of has to move until day `newest` is just over ten days old."""
    return (newest - 1) * 86_400_000_000 + 1


def test_a_few_bad_rows_on_a_small_day_contradict_nothing() -> None:
    assert (
        evaluate("t", _rows(), [refused_share(at_most=0.02)], counts=_counts(1, refused=1), as_of=0).outcome == "pass"
    )
    held = evaluate("t", _rows(), [refused_share(at_most=0.02)], counts=_counts(10, refused=4), as_of=0)
    assert held.outcome == "hold"


def test_warnings_do_not_hold() -> None:
    rows = _rows((9.0, 1, "x", _day(10)))
    warns = between("rating", 1, 5, severity="warn")
    assert evaluate("t", rows, [warns], as_of=_AS_OF).outcome == "warn"
    assert evaluate("t", rows, [warns, between("rating", 1, 6)], as_of=_AS_OF).outcome == "hold"


def test_defaults_give_way_to_what_is_declared() -> None:
    own = refused_share(at_most=0.5)
    assert {type(expectation).__name__ for expectation in defaults()} == {"RefusedShare", "RepeatedShare"}
    assert [type(expectation).__name__ for expectation in defaults([own])] == ["RepeatedShare"]


class _Counting(PolarsEngine):
    """Counts how often frames are collected."""

    collected = 0

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        self.collected += 1
        return super().collect(frame)


def test_all_checks_are_one_pass() -> None:
    engine = _Counting()
    evaluate("t", engine.frame(_rows((1.0, 1, "x", _day(10)))), _EVERY, engine=engine, as_of=_AS_OF)
    assert engine.collected == 1


_ROW = st.tuples(
    st.none() | st.sampled_from([0.0, 1.0, 3.0, 5.0, 6.0, math.nan, math.inf, -math.inf]),
    st.none() | st.integers(-5, 5),
    st.none() | st.sampled_from("xy"),
    st.integers(1, 20).map(_day),
)


@settings(deadline=None)
@given(st.lists(_ROW, max_size=30))
def test_arrow_and_polars_give_one_verdict(rows: list[tuple[Any, ...]]) -> None:
    table, engine = _rows(*rows), PolarsEngine()
    by_arrow = evaluate("t", table, _EVERY, counts=_counts(len(rows)), as_of=_AS_OF)
    by_polars = evaluate("t", engine.frame(table), _EVERY, engine=engine, counts=_counts(len(rows)), as_of=_AS_OF)
    assert by_arrow == by_polars


@settings(deadline=None)
@given(st.lists(_ROW, min_size=1, max_size=30))
def test_shares_are_what_a_loop_counts(rows: list[tuple[Any, ...]]) -> None:
    strict = [between("rating", 1, 5, confidence=0.5), not_null("name", confidence=0.5)]
    found = {failure.column: failure for failure in evaluate("t", _rows(*rows), strict, as_of=_AS_OF).failures}
    ratings = [row[0] for row in rows if row[0] is not None]
    inside = [value for value in ratings if 1 <= value <= 5]
    assert ("rating" in found) == (len(inside) < len(ratings))
    if "rating" in found:
        assert (found["rating"].n, found["rating"].observed) == (len(ratings), len(inside) / len(ratings))
    named = sum(row[2] is not None for row in rows)
    assert ("name" in found) == (named < len(rows))


@pytest.mark.spark
def test_spark_gives_the_same_verdict() -> None:
    from tidemill.backends.spark import SparkEngine

    table = _rows(
        (1.0, 1, "x", _day(10)), (math.nan, None, None, _day(2)), (None, 5, "y", _day(1)), (math.inf, 2, None, _day(3))
    )
    for rows in (table, table.slice(0, 0)):
        counts = _counts(rows.num_rows)
        expected = evaluate("t", rows, _EVERY, counts=counts, as_of=_AS_OF)
        spark = SparkEngine("local[2]")
        assert evaluate("t", spark.frame(rows), _EVERY, engine=spark, counts=counts, as_of=_AS_OF) == expected


@pytest.mark.parametrize(
    ("expectation", "error", "says"),
    [
        (between("raiting", 1, 5), UnknownName, "did you mean `rating`"),
        (between("name", 1, 5), TypeMismatch, "a number is required"),
        (not_null("nam"), UnknownName, "did you mean `name`"),
        (freshness("1 day", "rating"), TypeMismatch, "a time is required"),
        (like_history("mean", "name"), TypeMismatch, "a number is required"),
        (like_history("null_share", "raiting"), UnknownName, "did you mean `rating`"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_nearest_name(
    expectation: AnyExpectation, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        evaluate("t", _rows(), [expectation], as_of=_AS_OF)


def test_a_time_is_found_when_it_is_the_only_one() -> None:
    two = pa.table(
        {"a": pa.array([_day(1)], _SCHEMA.field("at").type), "b": pa.array([_day(10)], _SCHEMA.field("at").type)}
    )
    with pytest.raises(TypeMismatch, match="2 columns are times"):
        evaluate("t", two, [freshness("5 days")], as_of=_AS_OF)
    assert evaluate("t", two, [freshness("5 days")], as_of=_AS_OF, event_time="b").outcome == "pass"
    assert evaluate("t", two, [freshness("5 days", "a")], as_of=_AS_OF, event_time="b").outcome == "hold"


@pytest.mark.parametrize(
    "make",
    [
        lambda: between("x", None, None),
        lambda: between("x", 5, 1),
        lambda: between("x", 1, 5, share=95),
        lambda: between("x", 1, 5, confidence=1.0),
        lambda: refused_share(at_most=-0.1),
        lambda: like_history("rows"),
        lambda: like_history("mean"),
        lambda: like_history("row_count", "x"),
    ],
)
def test_expectations_that_make_no_sense_are_refused_where_they_are_written(make: Any) -> None:
    with pytest.raises(CheckError):
        make()
