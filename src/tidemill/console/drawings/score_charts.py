"""Charts of predicted scores: ROC and precision-recall curves, confusion matrices, the metrics at every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.console.drawings.vega_lite import ChartTable, Spec, VegaChart, axis, by_category, line, vega_chart
from tidemill.console.formatting import figure, number, share
from tidemill.core.record_format import Record
from tidemill.core.records.evaluation_charts import ClassScores, Confusion, EvaluationCharts

_HEIGHT = 300
_UNIT = {"domain": [0, 1], "nice": False}


class ThresholdCounts(Record, frozen=True):
    """The confusion matrix of a binary model at a threshold: rows predicted positive from it on."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """The share of the predicted positive rows that are positive; `None` without any."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """The share of the positive rows that are predicted positive."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float | None:
        """The share of the negative rows that are predicted negative."""
        return _ratio(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def accuracy(self) -> float | None:
        """The share of all rows that are predicted correctly."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class ThresholdTable:
    """The confusion matrix at every threshold, rising, the model's threshold, and the place that is nearest to it."""

    label: str
    model: float
    rows: tuple[ThresholdCounts, ...]
    own: int

    @property
    def counts(self) -> list[list[float]]:
        """Threshold, true and false positives, false and true negatives of every row: for the browser."""
        return [
            [one.threshold, one.true_positives, one.false_positives, one.false_negatives, one.true_negatives]
            for one in self.rows
        ]


def threshold_table(charts: EvaluationCharts) -> ThresholdTable | None:
    """The thresholds of a binary model; `None` for other tasks and for older releases."""
    if len(charts.scores) != 1 or charts.confusion.rows or not charts.scores[0].bins:
        return None
    rows = thresholds(charts.scores[0])
    own = min(range(len(rows)), key=lambda place: abs(rows[place].threshold - charts.threshold))
    return ThresholdTable(charts.scores[0].label, charts.threshold, rows, own)


def thresholds(scores: ClassScores) -> tuple[ThresholdCounts, ...]:
    """The counts at the lower end of every bin, by rising threshold: the first one predicts every row positive.

    >>> from tidemill.core.records.evaluation_charts import ScoreBin
    >>> bins = (ScoreBin(threshold=0.5, n=10, positives=8), ScoreBin(n=30, positives=2))
    >>> [(one.threshold, one.true_positives, one.recall) for one in thresholds(ClassScores(bins=bins))]
    [(0.0, 10, 1.0), (0.5, 8, 0.8)]
    """
    n, positives = sum(one.n for one in scores.bins), sum(one.positives for one in scores.bins)
    found, above, hits = [], 0, 0
    for one in scores.bins:
        above, hits = above + one.n, hits + one.positives
        found.append(
            ThresholdCounts(
                threshold=one.threshold,
                true_positives=hits,
                false_positives=above - hits,
                false_negatives=positives - hits,
                true_negatives=n - positives - above + hits,
            )
        )
    return tuple(reversed(found))


def roc_curve(charts: EvaluationCharts) -> VegaChart:
    """True positive rate over false positive rate, one line per class. At least one class with scores."""
    values: list[Spec] = []
    for scores in charts.scores:
        rows = thresholds(scores)
        for place, one in enumerate(rows):
            rate = {"x": _plain(1 - (one.specificity or 0.0)), "y": _plain(one.recall or 0.0)}
            values.append({"class": scores.label, "at": place, "threshold": _plain(one.threshold)} | rate)
        values.append({"class": scores.label, "at": len(rows), "threshold": None, "x": 0, "y": 0})
    chance: list[Spec] = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    says = "ROC curve: true positive rate against false positive rate; the dashed line is chance"
    return _curve("ROC curve", says, charts, values, ("False positive rate", "True positive rate"), chance)


def precision_recall_curve(charts: EvaluationCharts) -> VegaChart:
    """Precision over recall, one line per class. At least one class with scores."""
    values: list[Spec] = []
    base: list[Spec] = []
    for scores in charts.scores:
        for place, one in enumerate(thresholds(scores)):
            rate = {"x": _plain(one.recall or 0.0), "y": _plain(one.precision or 0.0)}
            values.append({"class": scores.label, "at": place, "threshold": _plain(one.threshold)} | rate)
        if len(charts.scores) == 1:
            prevalence = values[0]["y"]
            base = [{"x": 0, "y": prevalence}, {"x": 1, "y": prevalence}]
    says = "Precision-recall curve" + ("; the dashed line is the share of positive rows" if base else "")
    return _curve("Precision-recall curve", says, charts, values, ("Recall", "Precision"), base)


def _curve(
    title: str, says: str, charts: EvaluationCharts, values: list[Spec], names: tuple[str, str], dashed: list[Spec]
) -> VegaChart:
    labels = [scores.label for scores in charts.scores]
    several = len(labels) > 1 or bool(charts.confusion.rows)
    x, y = axis("x", names[0], scale=_UNIT), axis("y", names[1], scale=_UNIT)
    tips = [{"field": "threshold", "title": "Threshold", "format": ".3f"}]
    tips += [{"field": key, "title": name, "format": ".3f"} for key, name in zip("xy", names, strict=True)]
    colour = {"color": by_category("class", labels)} if several else {}
    layers = [
        *([line(dashed, x=x, y=y)] if dashed else []),
        {
            "mark": {"type": "line", "color": "--water", "strokeWidth": 2},
            "encoding": {"x": x, "y": y, "order": {"field": "at"}, **colour},
        },
        {  # wide invisible points that show their figures
            "mark": {"type": "point", "size": 90, "opacity": 0, "filled": True},
            "encoding": {"x": x, "y": y, "tooltip": tips},
        },
    ]
    more: Spec = {}
    if own := threshold_table(charts):
        more["params"] = [{"name": "threshold_place", "value": own.own}]
        layers.append(
            {
                "transform": [{"filter": "datum.at == threshold_place"}],
                "mark": {"type": "point", "size": 110, "filled": True, "color": "--brass", "opacity": 1},
                "encoding": {"x": x, "y": y, "tooltip": tips},
            }
        )
        says += "; the point is the threshold of the confusion matrix"
    head: tuple[str, ...] = ("Threshold", *names)
    rows: list[tuple[str, ...]] = [
        (figure(one["threshold"]) if one["threshold"] is not None else "above all", figure(one["x"]), figure(one["y"]))
        for one in values
    ]
    if several:
        head = ("Class", *head)
        rows = [(one["class"], *row) for one, row in zip(values, rows, strict=True)]
    table = ChartTable(head, tuple(rows), named=several)
    return vega_chart(title, says, table, values, layers, height=_HEIGHT, **more)


def confusion_chart(confusion: Confusion) -> VegaChart:
    """The share of each class's rows that were predicted as each class, as a heat map. At least one row."""
    values: list[Spec] = []
    for row in confusion.rows:
        total = sum(row.counts) or 1
        values += [
            {"class": row.label, "predicted": name, "share": _plain(count / total), "rows": count}
            for name, count in zip(confusion.predicted, row.counts, strict=True)
        ]
    labels = [row.label for row in confusion.rows]
    across = {"labelAngle": 0 if len(confusion.predicted) <= 4 else -60, "labelLimit": 90, "orient": "top"}
    channels: Spec = {
        "x": {"field": "predicted", "type": "nominal", "title": "Predicted class", "sort": None, "axis": across},
        "y": {"field": "class", "type": "nominal", "title": "Class", "sort": None, "axis": {"labelLimit": 110}},
    }
    tips = [
        {"field": "class", "title": "Class"},
        {"field": "predicted", "title": "Predicted"},
        {"field": "rows", "title": "Rows", "format": ","},
        {"field": "share", "title": "Share of the class", "format": ".1%"},
    ]
    scale = {"domain": [0, 1], "range": ["--water-faint", "--water"]}
    shade = {"field": "share", "type": "quantitative", "scale": scale, "legend": None}
    layers: list[Spec] = [{"mark": "rect", "encoding": {**channels, "color": shade, "tooltip": tips}}]
    if len(confusion.predicted) <= 6:
        ink = {"condition": {"test": "datum.share > 0.5", "value": "--on-water"}, "value": "--ink"}
        text = {"field": "share", "type": "quantitative", "format": ".0%"}
        layers.append({"mark": {"type": "text", "fontSize": 13}, "encoding": {**channels, "text": text, "color": ink}})
    rows = tuple(
        (row.label, *(number(count) for count in row.counts), share(_right(row.label, row.counts, confusion.predicted)))
        for row in confusion.rows
    )
    table = ChartTable(("Class", *(f"as {name}" for name in confusion.predicted), "Recall"), rows, named=True)
    says = "Confusion matrix: of the rows of each class, the share predicted as each class"
    return vega_chart("Confusion matrix", says, table, values, layers, height=90 + 42 * len(labels))


def _right(label: str, counts: Sequence[int], predicted: Sequence[str]) -> float:
    return counts[list(predicted).index(label)] / (sum(counts) or 1)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _plain(value: float) -> float:
    return float(f"{value:.5g}")
