"""Charts over time: stacked counts of intervals, lines of figures, and metrics with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill.console.drawings.vega_lite import ChartTable, Spec, VegaChart, axis, by_category, vega_chart
from tidemill.console.formatting import minute, number
from tidemill.core.records.quality import Metric

_HEIGHT = 220
#: Labels of a time axis by the unit of the tick.
_FORMATS = {
    "milliseconds": "%H:%M", "seconds": "%H:%M", "minutes": "%H:%M", "hours": "%H:%M", "date": "%-d %b",
    "day": "%-d %b", "week": "%-d %b", "month": "%b %Y", "quarter": "%b %Y", "year": "%Y",
}  # fmt: skip


@dataclass(frozen=True)
class TimeBin:
    """An interval, UTC microseconds, with its figures by category; `None` where there is none."""

    start: int
    end: int
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class TimedMetric:
    """A metric at an instant, with its series, its interval, what it is of, and the number of users or rows."""

    at: int
    series: str
    metric: Metric
    name: str
    n: int | None


def stacked_bars(title: str, says: str, unit: str, bins: Sequence[TimeBin], categories: Sequence[str]) -> VegaChart:
    """Counts of each interval, the categories on each other. At least one interval."""
    shown = [name for name in categories if any(one.figures.get(name) for one in bins)] or list(categories[:1])
    values: list[Spec] = []
    for one in bins:
        below = 0.0
        for name in shown:
            n = one.figures.get(name) or 0
            if n or name == shown[0]:  # the first category is there in every interval, so that the axis covers all
                span = {"start": _ms(one.start), "end": _ms(one.end), "low": below, "high": below + n}
                values.append({"kind": name, "n": n, "when": minute(one.start), **span})
            below += n
    channels: Spec = {
        "x": _time("start"),
        "x2": {"field": "end"},
        "y": axis("low", unit, scale={"zero": True, "nice": True}, axis={"tickMinStep": 1, "format": ",d"}),
        "y2": {"field": "high"},
        "tooltip": [
            {"field": "when", "title": "From"},
            {"field": "kind", "title": "Kind"},
            {"field": "n", "title": unit, "format": ","},
        ],
    }
    if len(shown) > 1:
        channels["color"] = by_category("kind", shown)
    layer = {"mark": {"type": "bar", "color": "--water", "binSpacing": 0.5}, "encoding": channels}
    rows = [(minute(one.start), *(number(one.figures.get(name) or 0) for name in shown)) for one in bins]
    table = ChartTable(("From (UTC)", *shown), tuple(rows), named=True)
    return vega_chart(title, says, table, values, [layer], height=_HEIGHT)


def lines(
    title: str, says: str, unit: str, bins: Sequence[TimeBin], categories: Sequence[str], counts: Sequence[int]
) -> VegaChart:
    """A figure of each interval, one line per category, broken where there is none; `counts` are what they are of."""
    values: list[Spec] = [
        {"kind": name, "at": _ms((one.start + one.end) // 2), "y": _plain(one.figures.get(name)), "n": n,
         "when": minute(one.start)}
        for one, n in zip(bins, counts, strict=True)
        for name in categories
    ]  # fmt: skip
    tips = [
        {"field": "when", "title": "From"},
        {"field": "kind", "title": "Figure"},
        {"field": "y", "title": unit, "format": ",.4~g"},
        {"field": "n", "title": "Of", "format": ","},
    ]
    channels: Spec = {"x": _time("at"), "y": axis("y", unit, scale={"zero": True})}
    colour = by_category("kind", categories)
    layers: list[Spec] = [
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**channels, "color": colour}},
        {
            "mark": {"type": "point", "filled": True, "size": 22, "opacity": 1},
            "encoding": {**channels, "color": colour, "tooltip": tips},
        },
    ]
    rows = [
        (minute(one.start), number(n), *(_shown(one.figures.get(name)) for name in categories))
        for one, n in zip(bins, counts, strict=True)
    ]
    head = ("From (UTC)", "Of", *(f"{name}, {unit}" for name in categories))
    return vega_chart(title, says, ChartTable(head, tuple(rows), named=True), values, layers, height=_HEIGHT)


def size_line(title: str, says: str, unit: str, points: Sequence[tuple[int, float, str]]) -> VegaChart:
    """A figure at instants, joined by a step line: time, figure, and a name. At least one point."""
    values: list[Spec] = [{"at": _ms(at), "y": value, "name": name, "when": minute(at)} for at, value, name in points]
    channels: Spec = {"x": _time("at"), "y": axis("y", unit, scale={"zero": True})}
    tips = [
        {"field": "when", "title": "At"},
        {"field": "name", "title": "Version"},
        {"field": "y", "title": unit, "format": ","},
    ]
    layers: list[Spec] = [
        {"mark": {"type": "line", "interpolate": "step-after", "color": "--water"}, "encoding": channels},
        {
            "mark": {"type": "point", "filled": True, "size": 30, "color": "--water", "opacity": 1},
            "encoding": {**channels, "tooltip": tips},
        },
    ]
    rows = tuple((minute(at), name, number(value)) for at, value, name in points)
    table = ChartTable(("Data until", "Version", unit), rows, named=True)
    return vega_chart(title, says, table, values, layers, height=_HEIGHT)


def metric_chart(
    title: str, says: str, unit: str, points: Sequence[TimedMetric], *, of: str, when: str = "Data until"
) -> VegaChart:
    """Metrics with their 95% intervals over time, one colour and shape per series. At least one point.

    `of` is what is counted, and `when` what the instant is.
    """
    series = list(dict.fromkeys(one.series for one in points))
    values: list[Spec] = [
        {"at": _ms(one.at), "series": one.series, "name": one.name, "y": _plain(one.metric.value), "n": one.n,
         "low": _plain(one.metric.low), "high": _plain(one.metric.high), "when": minute(one.at)}
        for one in points
    ]  # fmt: skip
    x, colour = _time("at", padding=14), by_category("series", series)
    tips = [
        {"field": "name", "title": "Release or run"},
        {"field": "when", "title": when},
        {"field": "series", "title": "Series"},
        {"field": "y", "title": unit, "format": ".4~g"},
        {"field": "low", "title": "95% from", "format": ".4~g"},
        {"field": "high", "title": "to", "format": ".4~g"},
        {"field": "n", "title": of, "format": ","},
    ]
    if len(series) > 1:
        colours: Spec = {"color": colour}
        shapes: Spec = {"color": colour, "shape": {**colour, "scale": {"domain": series}}}
    else:
        colours = shapes = {"color": {"value": "--water"}}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
            "encoding": {"x": x, "y": axis("low", unit), "y2": {"field": "high"}, **colours},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {"x": x, "y": axis("y", unit), **shapes, "tooltip": tips},
        },
    ]
    rows = tuple(
        (one.name, one.series, minute(one.at), _shown(one.metric.value), _interval(one.metric), _count(one.n))
        for one in points
    )
    table = ChartTable(("Release or run", "Series", when, unit, "95% interval", of), rows, named=True)
    return vega_chart(title, says, table, values, layers, height=_HEIGHT + 40)


def _time(field: str, padding: int = 0) -> Spec:
    """The time axis, in UTC, with pixels of padding at both ends."""
    axis_of = {"grid": False, "format": _FORMATS}
    return {
        "field": field,
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc", "padding": padding},
        "axis": axis_of,
    }


def _ms(at: int) -> int:
    return at // 1000


def _plain(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _shown(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _count(n: int | None) -> str:
    return "\u2013" if n is None else number(n)


def _interval(metric: Metric) -> str:
    return "\u2013" if metric.low == metric.high else f"{_shown(metric.low)} to {_shown(metric.high)}"
