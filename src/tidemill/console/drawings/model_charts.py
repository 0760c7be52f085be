"""Charts of a served model: requests, latency, its metric by release, and its live rate."""

from __future__ import annotations

from tidemill.console.drawings.time_charts import TimeBin, TimedMetric, lines, metric_chart, stacked_bars
from tidemill.console.drawings.vega_lite import VegaChart
from tidemill.console.formatting import lower, measure
from tidemill.console.state.metric_history import MetricHistory
from tidemill.console.state.model_traffic import ModelTraffic
from tidemill.console.state.release_outcomes import OutcomeSummary
from tidemill.console.state.time_bins import LENGTHS
from tidemill.core.records.quality import Metric
from tidemill.feedback.traffic import QUANTILES

#: Kind of an answer in the log -> its name, in the order in which they are stacked.
_KINDS = {
    "computed": "Computed", "repeat": "Repeated", "not_modified": "Not modified", "fallback": "Fallback",
    "off": "Switched off",
}  # fmt: skip
_QUANTILES = tuple(f"{100 * share:.0f}%" if share != 0.5 else "Median" for share in QUANTILES)


def request_chart(given: ModelTraffic) -> VegaChart:
    """Requests of each interval by kind of answer."""
    length = LENGTHS[given.length]
    bins = [
        TimeBin(one.start, one.end, {_KINDS.get(kind, kind): n for kind, n in one.kinds.items()})
        for one in given.found.periods
    ]
    kinds = (*_KINDS.values(), *sorted({kind for one in given.found.periods for kind in one.kinds} - _KINDS.keys()))
    title = f"Requests per {length}"
    return stacked_bars(title, f"Answered requests of each {length}, by kind of answer", title, bins, kinds)


def latency_chart(given: ModelTraffic) -> VegaChart | None:
    """Quantiles of the latency in each interval, in milliseconds; `None` if each has too few requests."""
    periods = given.found.periods
    bins = [
        TimeBin(
            one.start,
            one.end,
            {
                name: None if value is None else value / 1000
                for name, value in zip(_QUANTILES, one.latency_us, strict=True)
            },
        )
        for one in periods
    ]
    shown = [name for name in _QUANTILES if any(one.figures[name] is not None for one in bins)]
    if not shown:
        return None
    says = f"Latency of the answered requests of each {LENGTHS[given.length]}: {', '.join(shown).lower()}"
    return lines("Latency", says, "ms", bins, shown, [one.requests for one in periods])


def history_chart(given: MetricHistory) -> VegaChart:
    """The metric by release, with its baseline and later evaluations."""
    points = [TimedMetric(one.at, one.series, one.metric, one.name, one.n) for one in given.points]
    name = measure(given.metric)
    says = f"{name} of each release and of its baseline with 95% intervals, by the date of its data"
    return metric_chart(f"{name} over time", says, name, points, of="Users" if given.users else "Rows")


def live_rate_chart(given: OutcomeSummary) -> VegaChart:
    """The live rate in each interval. At least one interval."""
    points = [
        TimedMetric(
            one.start,
            "Live hit rate",
            Metric(value=one.rate.rate, low=one.rate.low, high=one.rate.high),
            ", ".join(one.releases) if len(one.releases) < 4 else f"{len(one.releases)} releases",
            one.rate.shown,
        )
        for one in given.rates
    ]
    length = LENGTHS[given.length]
    says = f"Share of recommendations of each {length} with an outcome within a day, with 95% intervals"
    return metric_chart(
        f"Live {lower('Hit rate')} per {length}", says, "Hit rate", points, of="Recommendations", when="From (UTC)"
    )
