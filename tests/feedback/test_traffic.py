"""Requests, latency and live rate over time, from logged predictions made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from tidemill.core.records.prediction import Outcome, Prediction, ScoredItem
from tidemill.feedback.live_rate import live_rates
from tidemill.feedback.log_tables import outcome_rows, prediction_rows
from tidemill.feedback.traffic import COLUMNS, traffic

HOUR, DAY = 3_600_000_000, 86_400_000_000


def _log(*rows: tuple[int, int, str, str]) -> pa.Table:
    """Rows of (served at, latency, trace, kind)."""
    made = [Prediction(served_at=at, latency_us=took, trace_id=trace, kind=kind) for at, took, trace, kind in rows]
    return prediction_rows(made).select(COLUMNS)


def test_the_rows_of_one_request_are_one_request() -> None:
    batch = [(5, 700, "t", "computed")] * 50
    others = [(5, 700, "u", "computed"), (5, 701, "t", "repeat"), (6, 700, "t", "off")]
    found = traffic(_log(*others, *batch), [0], HOUR)
    assert (found.rows, found.total.requests) == (53, 4)
    assert found.total.kinds == {"computed": 2, "repeat": 1, "off": 1}


def test_every_interval_is_there_and_rows_outside_do_not_count() -> None:
    found = traffic(
        _log((-1, 5, "", "computed"), (2 * HOUR, 9, "", "repeat"), (3 * HOUR, 5, "", "off")), [0, HOUR, 2 * HOUR], HOUR
    )
    assert [one.requests for one in found.periods] == [0, 0, 1]
    assert [(one.start, one.end) for one in found.periods] == [(0, HOUR), (HOUR, 2 * HOUR), (2 * HOUR, 3 * HOUR)]
    assert (found.rows, found.total.kinds) == (1, {"repeat": 1})


@pytest.mark.parametrize(("n", "given"), [(9, 0), (10, 1), (50, 2), (500, 3)])
def test_quantiles_are_given_only_of_enough_requests(n: int, given: int) -> None:
    found = traffic(_log(*((k, k + 1, "", "computed") for k in range(n))), [0], HOUR).total.latency_us
    assert sum(value is not None for value in found) == given
    if given:
        assert found[0] == (n + 1) / 2


def test_an_empty_log_has_no_requests() -> None:
    found = traffic(_log(), [0], HOUR)
    assert (found.total.requests, found.total.latency_us) == (0, (None, None, None))


def _answers(day: int, taken: Sequence[bool], release: str) -> tuple[list[Prediction], list[Outcome]]:
    names = [f"{day}-{release}-{k}" for k in range(len(taken))]
    made = [
        Prediction(
            prediction_id=name, model="m", release=release, served_at=day * DAY + 7, as_of=day * DAY,
            items=(ScoredItem(item="a"),),
        )
        for name in names
    ]  # fmt: skip
    came = [
        Outcome(prediction_id=name, item="a", received_at=day * DAY + 8)
        for name, was in zip(names, taken, strict=True)
        if was
    ]
    return made, came


def test_the_live_rate_of_each_day_names_its_releases_and_leaves_young_days_out() -> None:
    predictions: list[Prediction] = []
    outcomes: list[Outcome] = []
    days = [(0, [True] * 3 + [False] * 9, "m@1"), (2, [True, False], "m@1"), (2, [True] * 2, "m@2"), (5, [True], "m@2")]
    for day, taken, release in days:
        made, came = _answers(day, taken, release)
        predictions += made
        outcomes += came
    late = Outcome(prediction_id="0-m@1-5", item="a", received_at=3 * DAY)  # after more than a day: it does not count
    found = live_rates(prediction_rows(predictions), outcome_rows([*outcomes, late]), DAY)
    assert [(one.start // DAY, one.releases) for one in found] == [(0, ("m@1",)), (2, ("m@1", "m@2"))]
    assert [(one.rate.taken, one.rate.shown) for one in found] == [(3, 12), (3, 4)]
    assert found[0].rate.low < 0.25 < found[0].rate.high
    assert live_rates(prediction_rows(predictions), outcome_rows([]), DAY) == []


def test_unlike_inputs_are_counted_of_the_predictions_that_were_checked() -> None:
    made = [Prediction(served_at=1, unseen=names) for names in (("age", "plan"), ("age",), ())]
    rows = prediction_rows(made).select(COLUMNS)
    older = rows.set_column(rows.column_names.index("unseen"), "unseen", pa.nulls(3, rows["unseen"].type))
    found = traffic(pa.concat_tables([rows, older]), [0], HOUR)
    assert (found.unseen, found.checked) == ({"age": 2, "plan": 1}, 3)
    assert traffic(rows.drop_columns(["unseen"]), [0], HOUR).checked == 0
