"""Charts of residuals (target minus prediction): their quantiles by prediction, and their histogram."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.console.drawings.vega_lite import ChartTable, Spec, VegaChart, axis, vega_chart
from tidemill.console.formatting import figure, number
from tidemill.core.records.evaluation_charts import ResidualBin, ResidualCount

_HEIGHT = 300
_ZERO: Spec = {
    "data": {"values": [{"zero": 0}]},
    "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": "--quiet"},
}


def residual_chart(bins: Sequence[ResidualBin], target: str) -> VegaChart:
    """Median and quantiles of the residual over the prediction. At least one bin."""
    values: list[Spec] = [
        {"x": one.predicted, "n": one.n, "q10": one.q10, "q25": one.q25, "median": one.median, "q75": one.q75,
         "q90": one.q90}
        for one in bins
    ]  # fmt: skip
    x = axis("x", f"Predicted {target}", axis={"format": "~s"})
    title = f"{target} minus prediction"

    def band(low: str, high: str, opacity: float) -> Spec:
        mark = {"type": "area", "color": "--water", "opacity": opacity}
        return {"mark": mark, "encoding": {"x": x, "y": _up(low, title), "y2": {"field": high}}}

    tips = [
        {"field": field, "title": name, "format": ",.4~g"}
        for field, name in (
            ("x", "Mean prediction"),
            ("n", "Rows"),
            ("median", "Median"),
            ("q10", "10%"),
            ("q90", "90%"),
        )
    ]
    point = {"type": "line", "color": "--water", "strokeWidth": 2, "point": {"size": 40, "color": "--water"}}
    layers = [
        band("q10", "q90", 0.16),
        band("q25", "q75", 0.24),
        {**_ZERO, "encoding": {"y": axis("zero", title)}},
        {"mark": point, "encoding": {"x": x, "y": _up("median", title), "tooltip": tips}},
    ]
    head = ("Mean prediction", "Rows", "10%", "25%", "Median", "75%", "90%")
    rows = tuple(
        (
            figure(one.predicted), number(one.n),
            *(figure(value, signed=True) for value in (one.q10, one.q25, one.median, one.q75, one.q90)),
        )
        for one in bins
    )  # fmt: skip
    says = (
        "Residuals by prediction: the line is the median of each bin, the bands are from 25% to 75% and from 10% to "
        "90% of its rows; above the dashed line the prediction was too low"
    )
    return vega_chart("Residuals by prediction", says, ChartTable(head, rows), values, layers, height=_HEIGHT)


def residual_histogram(counts: Sequence[ResidualCount], target: str) -> VegaChart:
    """Number of rows by residual; the height is rows per width, as bins may be joined. At least one bin."""
    width = min(one.high - one.low for one in counts)
    values: list[Spec] = [
        {"low": one.low, "high": one.high, "n": one.n, "height": one.n * width / (one.high - one.low)} for one in counts
    ]
    tips = [
        {"field": "low", "title": "From", "format": ",.4~g"},
        {"field": "high", "title": "to", "format": ",.4~g"},
        {"field": "n", "title": "Rows", "format": ","},
    ]
    title = f"{target} minus prediction"
    bars: Spec = {
        "mark": {"type": "bar", "color": "--water", "opacity": 0.75, "binSpacing": 1},
        "encoding": {
            "x": axis("low", title, axis={"format": "~s"}, bin={"binned": True}),
            "x2": {"field": "high"},
            "y": axis("height", f"Rows per {figure(width)}", scale={"zero": True}),
            "tooltip": tips,
        },
    }
    layers = [bars, {**_ZERO, "encoding": {"x": axis("zero", title)}}]
    rows = tuple((figure(one.low, signed=True), figure(one.high, signed=True), number(one.n)) for one in counts)
    says = "Histogram of the residuals; the first and the last bar include all rows beyond them"
    table = ChartTable(("From", "to below", "Rows"), rows)
    return vega_chart("Distribution of residuals", says, table, values, layers, height=_HEIGHT)


def _up(field: str, title: str) -> Spec:
    return axis(field, title, axis={"format": "~s"})
