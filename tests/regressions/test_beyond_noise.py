"""Only what is beyond noise, on the same data, is called best or offered; a live rate that falls needs somebody."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest

from tidemill.console.state.key_metric import best_of, clear_best, is_beyond_noise
from tidemill.core.records.prediction import Outcome, Prediction, ScoredItem
from tidemill.core.records.quality import Metric
from tidemill.core.records.runs import Run
from tidemill.feedback.live_rate import fallen_rate
from tidemill.feedback.log_tables import outcome_rows, prediction_rows

DAY = 86_400_000_000


def run(number: int, value: float, half: float = 0.02, data: int = 1, figure: str = "hit_rate@10") -> Run:
    metric = Metric(value=value, low=value - half, high=value + half)
    return Run(model="m", number=number, state="finished", data={"ratings": data}, metrics={figure: metric})


def test_the_best_of_runs_that_differ_by_noise_is_not_called_best() -> None:
    runs = [run(1, 0.10), run(2, 0.11), run(3, 0.12)]
    best = best_of(runs, "hit_rate@10")
    assert best is runs[2] and clear_best(runs, "hit_rate@10") is None
    assert clear_best([run(1, 0.10), run(2, 0.11), run(3, 0.16)], "hit_rate@10") is not None


@pytest.mark.parametrize(("data", "clear"), [(1, True), (2, False)])
def test_a_run_on_other_data_is_no_rival(data: int, clear: bool) -> None:
    runs = [run(1, 0.10, data=data), run(2, 0.20)]
    assert is_beyond_noise(runs[1], runs[0], "hit_rate@10") is clear
    assert (clear_best(runs, "hit_rate@10") is runs[1]) is clear


def test_where_less_is_better_the_lower_interval_decides() -> None:
    low, high = run(1, 0.3, figure="log_loss"), run(2, 0.5, figure="log_loss")
    assert is_beyond_noise(low, high, "log_loss") and not is_beyond_noise(high, low, "log_loss")
    assert clear_best([low], "log_loss") is None  # alone it is the best of nothing


def served(number: int, day: int, release: str) -> Prediction:
    return Prediction(
        prediction_id=f"{number:032x}", model="m", release=release, arm="champion", policy="single", propensity=1.0,
        served_at=day * DAY + number, as_of=day * DAY, subject="a" * 26, n=1,
        items=(ScoredItem(item="i", score=1.0, reason="near"),), short=None, features="{}", context="", latency_us=7,
        kind="computed",
    )  # fmt: skip


def log(rates: dict[int, float], per_day: int = 60, release: str = "m@1", first: int = 0) -> tuple[list, list]:  # type: ignore[type-arg]
    """Predictions of each day, and a click on the share of them, an hour later."""
    shown, clicked = [], []
    for day, rate in rates.items():
        for place in range(per_day):
            number = first + day * per_day + place
            shown.append(served(number, day, release))
            if place < rate * per_day:
                at, key = day * DAY + number + DAY // 24, f"{number:032x}"
                given = {"happened_at": at, "received_at": at}
                clicked.append(Outcome(prediction_id=key, item="i", what="click", value=1.0, **given))
    return shown, clicked


def tables(*logs: tuple[list, list]) -> tuple[pa.Table, pa.Table]:  # type: ignore[type-arg]
    shown = [one for predictions, _ in logs for one in predictions]
    clicked = [one for _, outcomes in logs for one in outcomes]
    return prediction_rows(shown), outcome_rows(clicked)


def test_a_champion_whose_live_rate_fell_is_named() -> None:
    fall = fallen_rate(*tables(log(dict.fromkeys(range(20), 0.6) | dict.fromkeys(range(20, 31), 0.45))), "m@1")
    assert fall is not None and fall.reference == "its earlier days"
    assert fall.before.rate > 0.55 and fall.now.rate == pytest.approx(0.45, abs=0.01)
    assert fall.before.low > fall.now.high
    assert fallen_rate(*tables(log(dict.fromkeys(range(31), 0.6))), "m@1") is None
    assert fallen_rate(*tables(log(dict.fromkeys(range(20), 0.45) | dict.fromkeys(range(20, 31), 0.6))), "m@1") is None


def test_a_champion_below_the_release_before_it_is_named() -> None:
    first = log(dict.fromkeys(range(10), 0.6))
    second = log(dict.fromkeys(range(10, 16), 0.46), release="m@2")
    fall = fallen_rate(*tables(first, second), "m@2")
    assert fall is not None and fall.reference == "m@1"
    assert fallen_rate(*tables(first, second), "m@1") is None  # it was no worse than before


def test_refreshes_of_one_training_count_as_one() -> None:
    logs = [
        log({day: 0.6 if day < 20 else 0.45}, release=f"m@{day + 1}") for day in range(31)
    ]  # a refresh a day: no release of its own has enough days
    line = [f"m@{day + 1}" for day in range(31)]
    fall = fallen_rate(*tables(*logs), "m@31", line=line)
    assert fall is not None and fall.reference == "its earlier days"


def test_outcomes_that_are_still_to_come_and_few_predictions_are_no_fall() -> None:
    """The newest day has no outcome yet, and late ones do not count for the old days either."""
    rates = dict.fromkeys(range(20), 0.6)
    shown, clicked = log(rates)
    young = [served(10_000 + place, 20, "m@1") for place in range(600)]
    assert fallen_rate(*tables((shown + young, clicked)), "m@1") is None
    late = [msgspec.structs.replace(one, received_at=one.received_at + 3 * DAY) for one in clicked]
    assert fallen_rate(*tables((shown, late)), "m@1") is None
    few = log(dict.fromkeys(range(20), 0.6) | dict.fromkeys(range(20, 31), 0.0), per_day=5)
    assert fallen_rate(*tables(few), "m@1") is None
