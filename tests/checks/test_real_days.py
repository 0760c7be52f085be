"""What is expected by default, on the real days of the Magazine reviews: none is held, and doubled ones mostly are."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import pyarrow as pa

from tidemill.checks import defaults, evaluate
from tidemill.core.records.ingest import RowCounts

_NOTHING = pa.table({"x": pa.array([], pa.int64())})


def _days(magazine: Path) -> list[tuple[int, int]]:
    """Of each day its rows and how many of them repeat a key that came before, oldest first."""
    arrived: Counter[int] = Counter()
    repeated: Counter[int] = Counter()
    seen = set()
    with gzip.open(magazine, "rt") as file:
        for item, user, _, when in csv.reader(file):
            day = int(when) // 86_400
            arrived[day] += 1
            repeated[day] += (item, user, when) in seen
            seen.add((item, user, when))
    return [(arrived[day], repeated[day]) for day in sorted(arrived)]


def _held(arrived: int, repeated: int) -> bool:
    counts = RowCounts(arrived=arrived, refused=0, repeated=repeated, contradicted=0, merged=arrived - repeated)
    return evaluate("reviews", _NOTHING, defaults(), counts=counts, as_of=0).outcome == "hold"


def test_no_real_day_is_held_and_most_doubled_ones_are(magazine: Path) -> None:
    days = _days(magazine)
    last = days[-400:]
    outcomes = {day: _held(*day) for day in {*days}}
    doubled = {day: _held(2 * day[0], day[0] + 2 * day[1]) for day in {*last}}
    caught = sum(doubled[day] for day in last) / len(last)
    busiest = max(repeated / arrived for arrived, repeated in days if arrived >= 50)
    print(f"{len(days)} days, up to {busiest:.0%} repeated on busy ones; doubled days held: {caught:.0%}")
    assert sum(arrived for arrived, _ in days) == 89_689
    assert not any(outcomes.values())
    assert caught > 0.75
