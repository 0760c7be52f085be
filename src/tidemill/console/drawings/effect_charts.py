"""Charts of inputs: feature importance with directions, effects by value, and shape functions of additive models."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.console.drawings.vega_lite import SERIES, ChartTable, Spec, VegaChart, axis, by_category, vega_chart
from tidemill.console.formatting import day, figure, number, share
from tidemill.console.state.tabular_report import InputInfluence
from tidemill.core.records.assessment import FeatureImportance
from tidemill.core.records.evaluation_charts import EffectBin, ShapeFunction, ShapePoint
from tidemill.core.records.signature import Task

_HEIGHT = 190
_ZERO: Spec = {
    "data": {"values": [{"zero": 0}]},
    "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": "--quiet"},
}
#: The unit of a contribution to the margin; a number is predicted in its own unit.
_UNITS: dict[Task, str] = {"binary": "log-odds", "classes": "log-odds", "count": "logarithm"}
#: Colours of directions; a word in the table says the same.
DIRECTIONS = {
    "higher values raise it": "--water",
    "higher values lower it": "--brass",
    "no single direction": "--quiet",
    "by category": "--quiet",
    "explained for the predicted class": "--quiet",
}


def importance_chart(movers: Sequence[InputInfluence], *, most: int = 20) -> VegaChart:
    """Share of each input in the feature importance, coloured by its direction; the table has all inputs."""
    values: list[Spec] = [
        {"input": one.input, "share": one.share, "direction": one.says, "extremes": one.extremes}
        for one in movers[:most]
    ]
    words = [name for name in DIRECTIONS if any(one["direction"] == name for one in values)]
    colour = {
        "field": "direction", "type": "nominal", "title": None,
        "scale": {"domain": words, "range": [DIRECTIONS[word] for word in words]},
        "legend": {"orient": "top", "columns": 2},
    }  # fmt: skip
    tips = [
        {"field": "input", "title": "Feature"},
        {"field": "share", "title": "Share", "format": ".1%"},
        {"field": "direction", "title": "Direction"},
        {"field": "extremes", "title": "Categories"},
    ]
    bars: Spec = {
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "y": {"field": "input", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 150}},
            "x": axis("share", "Share of mean absolute contributions", axis={"format": ".0%"}, scale={"zero": True}),
            "color": colour,
            "tooltip": tips,
        },
    }
    rows = tuple((one.input, share(one.share), one.extremes or one.says) for one in movers)
    table = ChartTable(("Feature", "Share", "Direction"), rows, named=True)
    says = "Feature importance: the share of each feature in the mean absolute contributions, coloured by its direction"
    return vega_chart("Feature importance", says, table, values, [bars], height=70 + 24 * len(values))


def effect_charts(
    influences: Sequence[FeatureImportance], task: Task, target: str, times: Sequence[str]
) -> list[VegaChart]:
    """What each input adds to the predictions by its value, the most important first; `times` are inputs with times."""
    return [
        _effect(one, task, target, one.input in times)
        for one in sorted(influences, key=lambda one: -one.share)
        if one.effect
    ]


def _effect(one: FeatureImportance, task: Task, target: str, is_time: bool) -> VegaChart:
    changed = "probability" if task == "binary" else "prediction"
    title = _title(task, target) if one.method == "shap" else f"Change of the {changed}"
    values: list[Spec] = []
    for place in one.effect:
        values.append({**_place(place.at, place.value, is_time), "y": place.mean, "low": place.low, "high": place.high})
        values[-1]["n"] = place.n
    tips = [{"field": "n", "title": "Rows", "format": ","}, {"field": "y", "title": "Contribution", "format": "+.3~g"}]
    spread: Spec = {"y": axis("low", title), "y2": {"field": "high"}}
    rows = tuple(
        (_value(at, is_time), number(at.n), *(figure(added, signed=True) for added in (at.mean, at.low, at.high)))
        for at in one.effect
    )
    table = ChartTable(("Value", "Rows", "Mean contribution", "10%", "90%"), rows, named=True)
    says = f"Contribution of {one.input} by its value: mean, and the range from 10% to 90% of the rows"
    return vega_chart(one.input, says, table, values, _layers(values, title, tips, spread, is_time), height=_HEIGHT)


def shape_charts(
    shapes: Sequence[ShapeFunction], task: Task, target: str, classes: Sequence[str], times: Sequence[str]
) -> list[VegaChart]:
    """The shape functions of an additive model, by falling range; a line per class."""
    return [_shape(one, task, target, classes, one.input in times and not one.part) for one in shapes]


def _shape(shape: ShapeFunction, task: Task, target: str, classes: Sequence[str], is_time: bool) -> VegaChart:
    title = _title(task, target)
    names = list(classes) or [""]
    values = [
        {**_place(point.at, point.value, is_time), "y": effect, "class": name}
        for point in shape.points
        for name, effect in zip(names, point.effects, strict=False)
    ]
    tips = [{"field": "class", "title": "Class"}] if classes else []
    tips += [{"field": "y", "title": "Contribution", "format": "+.3~g"}]
    name = f"{shape.input}, {shape.part}" if shape.part else shape.input
    rows = tuple(
        (_value(point, is_time), *(figure(effect, signed=True) for effect in point.effects)) for point in shape.points
    )
    head = ("Value", *(classes or ("Contribution",)))
    layers = _layers(values, title, tips, {}, is_time, list(classes))
    says = f"Shape function of {name}: what the model adds for each value"
    return vega_chart(name, says, ChartTable(head, rows, named=True), values, layers, height=_HEIGHT)


def _title(task: Task, target: str) -> str:
    return f"Contribution ({_UNITS[task]})" if task in _UNITS else f"Contribution to {target}"


def _layers(
    values: Sequence[Spec], title: str, tips: list[Spec], spread: Spec, is_time: bool, classes: Sequence[str] = ()
) -> list[Spec]:
    """A line over numbers, and points for categories; a missing value beside a line is a rule of its own."""
    colour: Spec = {"color": by_category("class", classes)} if classes else {"color": {"value": SERIES[0]}}
    if any("x" in one for one in values):
        x: Spec = {"field": "x", "type": "temporal" if is_time else "quantitative", "title": None}
        x["scale"] = {"zero": False}
        known = {"filter": "isValid(datum.x)"}
        layers: list[Spec] = [{**_ZERO, "encoding": {"y": axis("zero", title)}}]
        if spread:
            area = {"type": "area", "color": "--water", "opacity": 0.18}
            layers.append({"transform": [known], "mark": area, "encoding": {"x": x, **spread}})
        mark = {"type": "line", "strokeWidth": 2, "point": {"size": 40, "filled": True}}
        tip_x: Spec = {"field": "x", "title": "Value", "type": x["type"]}
        tip_x |= {} if is_time else {"format": ",.4~g"}
        encoding = {"x": x, "y": axis("y", title), "tooltip": [tip_x, *tips], **colour}
        return [*layers, {"transform": [known], "mark": mark, "encoding": encoding}]
    y: Spec = {"field": "value", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 120}}
    layers = [{**_ZERO, "encoding": {"x": axis("zero", title)}}]
    if spread:
        whisker = {"type": "rule", "color": "--water", "opacity": 0.5, "strokeWidth": 2}
        layers.append({"mark": whisker, "encoding": {"y": y, "x": axis("low", title), "x2": {"field": "high"}}})
    point = {"type": "point", "filled": True, "size": 70, "opacity": 1}
    encoding = {"y": y, "x": axis("y", title), "tooltip": [{"field": "value", "title": "Value"}, *tips], **colour}
    return [*layers, {"mark": point, "encoding": encoding}]


def _place(at: float | None, value: str, is_time: bool) -> Spec:
    if at is None:
        return {"value": value or "(empty string)"}
    return {"x": at * 1000 if is_time else at}


def _value(place: EffectBin | ShapePoint, is_time: bool) -> str:
    if place.at is None:
        return place.value or "(empty string)"
    return day(round(place.at * 1e6)) if is_time else f"{place.at:,.4g}"
