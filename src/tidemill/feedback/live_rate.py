"""Live rate of a champion: its hit rate over the last days, compared with its earlier days and with another release.

A young prediction has had less time for an outcome, so only outcomes within a day of the prediction count, and only
predictions that are at least a day older than the newest outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.record_format import Record
from tidemill.feedback.log_tables import current_outcomes, current_predictions
from tidemill.feedback.realised_quality import RealisedRate, realised_rates

#: Days that count as the last ones, and time in microseconds that an outcome has.
RECENT_DAYS, WITHIN_US = 7, 86_400_000_000
#: Fewer predictions say nothing.
_FEWEST = 100
_DAY_US = 86_400_000_000
_BEFORE, _LATELY = "before", "lately"


class RateFall(Record, frozen=True):
    """A live rate that has fallen: the two rates do not overlap in their 95% intervals."""

    #: What the rate was before: `its earlier days`, or the name of another release.
    reference: str
    before: RealisedRate
    now: RealisedRate


class RatePeriod(Record, frozen=True):
    """The live rate in an interval that begins at `start`, UTC microseconds, and the releases that it is of."""

    start: int
    releases: tuple[str, ...]
    rate: RealisedRate


def live_rates(predictions: pa.Table, outcomes: pa.Table, length: int, first: int = 0) -> list[RatePeriod]:
    """The live rate of one model's predictions in intervals of `length` microseconds from `first` on, oldest first;
    intervals without a prediction that is old enough are left out.
    """
    predictions, outcomes = current_predictions(predictions), current_outcomes(outcomes)
    mine = _old_enough(predictions, outcomes)
    if not mine.num_rows:
        return []
    served = mine["served_at"].cast(pa.int64())
    place = pc.divide(pc.subtract(served, first), length).cast(pa.string())
    rows = mine.set_column(mine.column_names.index("release"), "release", place)
    rates = {one.release: one for one in realised_rates(rows, _prompt(outcomes, mine)) if one.position == 0}
    pairs = pa.table({"place": place, "release": mine["release"]}).group_by(["place", "release"]).aggregate([])
    releases: dict[str, list[str]] = {}
    for row in pairs.sort_by("release").to_pylist():
        releases.setdefault(row["place"], []).append(row["release"])
    found = [
        RatePeriod(start=first + int(name) * length, releases=tuple(releases[name]), rate=one)
        for name, one in rates.items()
    ]
    return sorted(found, key=lambda one: one.start)


def _old_enough(predictions: pa.Table, outcomes: pa.Table) -> pa.Table:
    """The predictions that are at least `WITHIN_US` older than the newest outcome; none without an outcome."""
    newest = pc.max(outcomes["received_at"].cast(pa.int64())).as_py() if outcomes.num_rows else None
    if newest is None:
        return predictions.slice(0, 0)
    return predictions.filter(pc.less_equal(predictions["served_at"].cast(pa.int64()), newest - WITHIN_US))


def fallen_rate(
    predictions: pa.Table, outcomes: pa.Table, champion: str, *, line: Sequence[str] = ()
) -> RateFall | None:
    """The largest fall of the champion's rate; `None` if none is significant.

    The tables are those of the log, of any format; `line` are releases that the champion is a refresh of, which count
    as the champion. The reference is the champion's rate before its last `RECENT_DAYS` days, or that of the last
    release before it that was shown as often as needed.
    """
    predictions, outcomes = current_predictions(predictions), current_outcomes(outcomes)
    model = champion.partition("@")[0]
    mine = _old_enough(predictions.filter(pc.equal(predictions["model"], model)), outcomes)
    of_champion = pc.is_in(mine["release"], pa.array([champion, *line]))
    if not pc.any(of_champion).as_py():
        return None
    served = mine["served_at"].cast(pa.int64())
    start = pc.max(served.filter(of_champion)).as_py() - RECENT_DAYS * _DAY_US
    period = pc.if_else(pc.greater(served, start), _LATELY, _BEFORE)
    named = pc.if_else(of_champion, period, mine["release"])
    rows = mine.set_column(mine.column_names.index("release"), "release", named)
    rates = {one.release: one for one in realised_rates(rows, _prompt(outcomes, mine)) if one.position == 0}
    now = rates.get(_LATELY)
    if now is None or now.shown < _FEWEST:
        return None
    number = int(champion.rpartition("@")[2])
    others = [name for name in rates if name.startswith(f"{model}@") and int(name.rpartition("@")[2]) < number]
    former = max(others, key=lambda name: int(name.rpartition("@")[2]), default="")
    falls = [
        RateFall(reference=said, before=rates[name], now=now)
        for name, said in ((_BEFORE, "its earlier days"), (former, former))
        if name in rates and rates[name].shown >= _FEWEST and rates[name].low > now.high
    ]
    return max(falls, key=lambda fall: fall.before.rate, default=None)


def _prompt(outcomes: pa.Table, predictions: pa.Table) -> pa.Table:
    """The outcomes that arrived within `WITHIN_US` of the first response with their prediction."""
    first = predictions.group_by(["prediction_id"], use_threads=False).aggregate([("served_at", "min")])
    joined = outcomes.join(first, ["prediction_id"], join_type="inner", use_threads=False)
    waited = pc.subtract(joined["received_at"].cast(pa.int64()), joined["served_at_min"].cast(pa.int64()))
    return joined.filter(pc.less_equal(waited, WITHIN_US)).drop_columns(["served_at_min"])
