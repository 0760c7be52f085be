"""A verdict on an increment: every expectation in one pass over its rows, every failure listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.checks.binomial_bounds import lower, upper
from tidemill.checks.expectations import (
    AnyExpectation,
    Between,
    Freshness,
    LikeHistory,
    NotNull,
    RefusedShare,
    RepeatedShare,
)
from tidemill.checks.learned_bounds import LEAST_DAYS, MOST_DAYS, HistoricalRank, historical_ranks
from tidemill.checks.observations import Observations, observe
from tidemill.core.clock import from_micros
from tidemill.core.duration import duration
from tidemill.core.ports import Engine
from tidemill.core.records.ingest import Failure, RowCounts, Verdict

#: The key of the day in a verdict's metrics, in days since 1970; the weekday follows from it.
DAY = "day"
_DAY_US = 86_400_000_000


def evaluate(
    table: str,
    rows: nw.LazyFrame[Any] | pa.Table,
    expectations: Sequence[AnyExpectation],
    *,
    engine: Engine | None = None,
    counts: RowCounts | None = None,
    as_of: int,
    event_time: str | None = None,
    history: Sequence[Mapping[str, float]] = (),
) -> Verdict:
    """The verdict on `rows`: an increment's rows as they arrived, or the rows that it changed in a derived table.

    `counts` has the increment's refused and repeated rows; without it, checks of their shares pass. `as_of` is in
    microseconds. `history` has the `metrics` of the previous days' verdicts, oldest first; keys begin with the table
    (`ratings.row_count`), so that one day's verdicts on several tables can be merged. An expectation without data
    passes. A lazy frame is collected once, through `engine`.

    Raises `UnknownName` or `TypeMismatch` where an expectation does not fit the columns.
    """
    seen = observe(rows, expectations, engine=engine, counts=counts, event_time=event_time)
    metrics = {f"{table}.{name}": value for name, value in seen.metrics.items()} | {DAY: float(-(-as_of // _DAY_US))}
    ranked = _ranks(table, expectations, metrics, history)
    failures: list[Failure] = []
    notes: list[str] = []
    for number, expectation in enumerate(expectations):
        failure, note = _judge(table, expectation, seen, number, as_of, ranked)
        failures += [failure] if failure else []
        notes += [note] if note else []
    severities = {failure.severity for failure in failures}
    return Verdict(
        outcome="hold" if "hold" in severities else "warn" if severities else "pass",
        failures=tuple(failures),
        checked=len(expectations),
        notes=tuple(notes),
        metrics=metrics,
    )


def _judge(
    table: str,
    expectation: AnyExpectation,
    seen: Observations,
    number: int,
    as_of: int,
    ranked: Mapping[str, HistoricalRank],
) -> tuple[Failure | None, str | None]:
    match expectation:
        case Between() | NotNull():
            return _at_least(table, expectation, *seen.shares[number]), None
        case RefusedShare() | RepeatedShare():
            return _at_most(table, expectation, *seen.shares[number]), None
        case Freshness():
            return _fresh(table, expectation, *seen.newest[number], as_of), None
        case LikeHistory(measures=name) if f"{table}.{name}" in ranked:
            return _like_history(table, expectation, seen.metrics[name], ranked[f"{table}.{name}"])
    return None, None  # a mean or share of no rows


def _at_least(table: str, expectation: Between | NotNull, k: int, n: int) -> Failure | None:
    if n == 0 or upper(k, n, expectation.confidence) >= expectation.share:
        return None
    what = "are not null" if isinstance(expectation, NotNull) else f"are in {_range(expectation.low, expectation.high)}"
    return Failure(
        table=table,
        check=expectation.words,
        column=expectation.column,
        n=n,
        observed=k / n,
        low=expectation.share,
        high=1.0,
        false_alarms=None,
        severity=expectation.severity,
        says=f"{k} of {n} values of {expectation.column} {what}; the minimum is {100 * expectation.share:.4g}%",
    )


def _at_most(table: str, expectation: RefusedShare | RepeatedShare, k: int, n: int) -> Failure | None:
    if n == 0 or lower(k, n, expectation.confidence) <= expectation.at_most:
        return None
    what = "lines were refused" if isinstance(expectation, RefusedShare) else "rows repeat an earlier key"
    return Failure(
        table=table,
        check=expectation.words,
        column=None,
        n=n,
        observed=k / n,
        low=0.0,
        high=expectation.at_most,
        false_alarms=None,
        severity=expectation.severity,
        says=f"{k} of {n} {what}; the limit is {100 * expectation.at_most:.4g}%",
    )


def _fresh(table: str, expectation: Freshness, column: str, newest: int | None, n: int, as_of: int) -> Failure | None:
    if n == 0 or newest is None or as_of - newest <= duration(expectation.within):
        return None
    days = (as_of - newest) / _DAY_US
    return Failure(
        table=table,
        check=expectation.words,
        column=column,
        n=n,
        observed=days,
        low=None,
        high=duration(expectation.within) / _DAY_US,
        false_alarms=None,
        severity=expectation.severity,
        says=f"the newest {column} is {from_micros(newest):%Y-%m-%d %H:%M} UTC, {days:.1f} days before the as-of time; "
        f"the limit is {expectation.within}",
    )


def _ranks(
    table: str,
    expectations: Sequence[AnyExpectation],
    metrics: Mapping[str, float],
    history: Sequence[Mapping[str, float]],
) -> dict[str, HistoricalRank]:
    """The ranks of all learned metrics of the table, which share one budget."""
    learned = [expectation for expectation in expectations if isinstance(expectation, LikeHistory)]
    names = {f"{table}.{expectation.measures}" for expectation in learned}
    today = {name: value for name, value in metrics.items() if name in names}
    recent = history[-2 * MOST_DAYS :]  # twice, because the verdict of a rebuild has no day
    days = [(int(day[DAY]), day) for day in recent if DAY in day]
    return historical_ranks(today, int(metrics[DAY]), days, frozenset({f"{table}.row_count"}))


def _like_history(
    table: str, expectation: LikeHistory, value: float, found: HistoricalRank
) -> tuple[Failure | None, str | None]:
    if found.n < LEAST_DAYS:
        return None, f"{table}: {expectation.words} is warming up: {found.n} of {LEAST_DAYS} days of history"
    if not found.odd:
        return None, None
    return Failure(
        table=table,
        check=expectation.words,
        column=expectation.column,
        n=found.n,
        observed=value,
        low=found.low,
        high=found.high,
        false_alarms=found.rate,
        severity=expectation.severity,
        says=f"{expectation.measures} is {value:.6g}; over {found.n} days, {found.low:.6g} to {found.high:.6g} is "
        f"normal for its weekday (learned checks of {table} raise about {found.rate * 30.4:.1f} false alarms a month)",
    ), None


def _range(low: float | None, high: float | None) -> str:
    return f"{'-∞' if low is None else f'{low:g}'}..{'∞' if high is None else f'{high:g}'}"
