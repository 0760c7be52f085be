"""Vega-Lite charts: a specification with its data, and the same figures as a table.

A text `--name` in a specification is replaced in the browser by the colour of that name in console.css, so that a chart
follows the light and the dark palette.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

#: Colours of categories, in console.css.
SERIES = tuple(f"--series-{number}" for number in range(1, 9))
Spec = dict[str, Any]


@dataclass(frozen=True)
class ChartTable:
    """The figures of a chart: headings, and rows of texts. The first column is a heading if it names a category."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    named: bool = False


@dataclass(frozen=True)
class VegaChart:
    """A chart: its title, what it shows in a sentence, the specification as JSON, its height, and its table."""

    title: str
    says: str
    spec: str
    height: int
    table: ChartTable


def vega_chart(
    title: str,
    says: str,
    table: ChartTable,
    values: Sequence[Spec],
    layers: Sequence[Spec],
    *,
    height: int,
    **more: Any,
) -> VegaChart:
    """A chart as wide as its place; all layers read `values`, unless a layer has data of its own."""
    spec = {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": list(values)},
        "layer": list(layers),
        **more,
    }
    return VegaChart(title, says, msgspec.json.encode(spec).decode(), height, table)


def axis(field: str, title: str | None, **more: Any) -> Spec:
    """A quantitative channel; `zero` only where asked for."""
    scale = {"zero": False, **more.pop("scale", {})}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


def line(values: Sequence[Spec], colour: str = "--quiet", **channels: Any) -> Spec:
    """A dashed line through its own `values`."""
    mark = {"type": "line", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": colour}
    return {"data": {"values": list(values)}, "mark": mark, "encoding": channels}


def by_category(field: str, names: Sequence[str]) -> Spec:
    """The colour channel of categories, in their order, with a legend above the chart."""
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(names), "range": list(SERIES[: len(names)])},
        "legend": {"orient": "top", "columns": 3, "labelLimit": 110},
    }
