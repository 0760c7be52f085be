"""The noise budget, on sources whose truth is known: exact bounds where rows are alike, ranks where days differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from scipy.stats import binom

from tidemill.checks import between, evaluate, like_history
from tidemill.checks.binomial_bounds import upper
from tidemill.checks.learned_bounds import BUDGET, LEAST_DAYS, historical_ranks

# "At least 99% in range", 50 such checks of 2,000 rows a day, for a month of 30 days.
_CHECKS, _ROWS, _DAYS, _ASKED = 50, 2_000, 30, 0.99
_CONFIDENCE = 1 - 1 / (_CHECKS * _DAYS)  # one false alarm a month over all of them


def _alarms(k: int) -> bool:
    return upper(k, _ROWS, _CONFIDENCE) < _ASKED


def _naive(k: int) -> bool:
    return k / _ROWS < _ASKED


def _chance(alarms: Callable[[int], bool], truth: float) -> float:
    """The chance that one check of one day alarms when `truth` of the rows are good: exact, no simulation."""
    k = np.arange(int(_ROWS * 0.95), _ROWS + 1)
    return float(binom.pmf(k, _ROWS, truth)[[alarms(int(one)) for one in k]].sum())


def test_the_exact_bound_keeps_its_budget_where_the_naive_estimate_alarms_every_day() -> None:
    naive, exact = _chance(_naive, 0.991), _chance(_alarms, 0.991)
    naive_days = _DAYS * (1 - (1 - naive) ** _CHECKS)
    exact_a_month = _DAYS * _CHECKS * exact
    print(f"alarming days of {_DAYS}: naive {naive_days:.1f}; false alarms a month: exact {exact_a_month:.2f}")
    assert naive_days > 29.9
    assert 0 < exact_a_month < 0.25
    assert _DAYS * _CHECKS * _chance(_alarms, 0.99) <= 1, "even a source that is exactly as good as asked"


def test_it_still_finds_a_source_that_is_worse() -> None:
    a_day = _chance(_alarms, 0.985)
    within_a_month = 1 - (1 - a_day) ** _DAYS
    print(f"true 98.5%: found on {a_day:.0%} of the days, within a month with chance {within_a_month:.3f}")
    assert within_a_month > 0.95
    assert _chance(_alarms, 0.97) > 0.99


def test_the_verdict_is_that_bound() -> None:
    check = between("x", 0, 1, share=_ASKED, confidence=_CONFIDENCE)
    for bad in range(20, 45):
        rows = pa.table({"x": [2.0] * bad + [0.5] * (_ROWS - bad)})
        held = evaluate("t", rows, [check], as_of=0).outcome == "hold"
        assert held == _alarms(_ROWS - bad)


def _good_shares(days: int, seed: int) -> np.ndarray:
    """Days that differ among themselves: 99.1% on the whole, more on some days, less on others."""
    chance = np.random.default_rng(seed)
    truth = chance.beta(0.991 * 300, 0.009 * 300, days)
    return chance.binomial(_ROWS, truth) / _ROWS


def _odd(days: list[dict[str, float]], today: int, counts: frozenset[str] = frozenset(), shift: float = 1.0) -> bool:
    """Whether any metric of a day is odd, its first metric being changed by `shift`."""
    first = next(iter(days[today]))
    metrics = days[today] | {first: days[today][first] * shift}
    history = list(enumerate(days[max(0, today - 364) : today], max(0, today - 364)))
    return any(found.odd for found in historical_ranks(metrics, today, history, counts).values())


def test_where_days_differ_the_bound_fails_and_the_rank_of_the_day_keeps_the_budget() -> None:
    shares = _good_shares(3_000, seed=1)
    days = [{"share": float(share)} for share in shares]
    bound = sum(_alarms(round(share * _ROWS)) for share in shares) / len(shares) * 30.4
    ranked = np.mean([_odd(days, day) for day in range(400, 3_000)]) * 30.4
    print(f"alarms a month: the bound {bound:.1f} by each check, {bound * _CHECKS:.0f} by fifty; the rank {ranked:.2f}")
    assert bound * _CHECKS > 20
    assert 0.5 < ranked < 1.5


def test_ten_metrics_together_keep_the_budget_of_one() -> None:
    chance = np.random.default_rng(3)
    values = chance.normal(0, 1, (1_400, 10)) * [1, 1, 1, 10, 10, 0.1, 1, 1, 1, 1] + 5
    days = [{str(number): float(value) for number, value in enumerate(row)} for row in values]
    together = np.mean([_odd(days, day) for day in range(400, 1_400)]) * 30.4
    alone = [{"0": day[str(number)]} for number in range(10) for day in days[:700]]
    each = sum(
        np.mean([_odd(alone[700 * number : 700 * (number + 1)], day) for day in range(400, 700)]) * 30.4
        for number in range(10)
    )
    print(f"false alarms a month of ten metrics: together {together:.2f}; each with a budget of its own {each:.1f}")
    assert 0.4 < together < 1.6
    assert each > 5, "the wrong variant: ten budgets of one a month"


_COUNT = frozenset({"row_count"})


def _row_counts(days: int, seed: int) -> list[dict[str, float]]:
    """Weeks with a strong season, days with noise of their own, and a slow trend."""
    chance = np.random.default_rng(seed)
    number = np.arange(days)
    season = np.array([1.0, 0.9, 0.9, 1.0, 1.3, 2.0, 1.8])[number % 7]
    expected = 200 * season * (1 + number / 5_000) * chance.lognormal(0, 0.1, days)
    return [{"row_count": float(n)} for n in chance.poisson(expected)]


def test_row_counts_with_a_weekly_season_keep_the_budget_too() -> None:
    days = _row_counts(2_000, seed=2)
    a_month = np.mean([_odd(days, day, _COUNT) for day in range(400, 2_000)]) * 30.4
    halved = np.mean([_odd(days, day, _COUNT, shift=0.5) for day in range(400, 800)])
    print(f"row counts: {a_month:.2f} false alarms a month; a halved day is found {halved:.0%} of the time")
    assert 0.4 < a_month < 1.6
    assert halved > 0.95


def test_ranking_without_weekdays_would_not_find_a_weak_weekend() -> None:
    """The wrong variant: all days in one heap, where the season hides what is odd for its weekday."""
    days = _row_counts(1_000, seed=2)
    weekend = [day for day in range(400, 1_000) if day % 7 == 5]
    heap = []
    for today in weekend:
        history = [(7 * when, metrics) for when, metrics in enumerate(days[today - 364 : today], today - 364)]
        halved = {"row_count": days[today]["row_count"] / 2}
        heap.append(historical_ranks(halved, 7 * today, history, _COUNT)["row_count"].odd)
    assert np.mean([_odd(days, day, _COUNT, shift=0.5) for day in weekend]) > 0.95
    assert np.mean(heap) < 0.2


def test_nothing_is_said_before_there_is_history_enough() -> None:
    for n, speaks in ((LEAST_DAYS - 1, False), (LEAST_DAYS, True)):
        history = [(day, {"x": float(day % 5)}) for day in range(n)]
        found = historical_ranks({"x": 1e9}, n, history, frozenset())["x"]
        assert (found.n, found.odd) == (n, speaks)
        assert found.rate <= BUDGET


def test_a_metric_that_never_moved_is_odd_when_it_does() -> None:
    history = [(day, {"x": 0.0, "y": float(day % 3)}) for day in range(100)]
    found = historical_ranks({"x": 0.001, "y": 1.0}, 100, history, frozenset())
    assert (found["x"].odd, found["y"].odd) == (True, False)
    assert not historical_ranks({"x": 0.0, "y": 1.0}, 100, history, frozenset())["x"].odd


def test_days_on_which_nothing_was_measured_are_no_history() -> None:
    history = [(day, {"x": 1.0} if day % 2 else {}) for day in range(200)]
    assert historical_ranks({"x": 1.0}, 200, history, frozenset())["x"].n == 100


def test_like_history_warns_says_its_rate_and_never_holds() -> None:
    history = [{"day": float(day), "t.row_count": 10.0 + day % 3} for day in range(100)]
    rows = pa.table({"x": [1.0] * 500})
    verdict = evaluate("t", rows, [like_history("row_count")], as_of=100 * 86_400_000_000, history=history)
    (failure,) = verdict.failures
    assert (verdict.outcome, failure.severity, failure.n, failure.observed) == ("warn", "warn", 100, 500.0)
    assert failure.false_alarms is not None
    assert 0 < failure.false_alarms <= BUDGET
    assert failure.low is not None and failure.high is not None and failure.low < 11 < failure.high < 15
    early = evaluate("t", rows, [like_history("row_count")], as_of=100 * 86_400_000_000, history=history[:50])
    assert early.outcome == "pass"
    assert early.notes == ("t: like_history(row_count) is warming up: 50 of 84 days of history",)
