"""Comparison of runs by their metrics, paired by user, and its HTML for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import polars as pl

from tidemill.core.records.quality import Metric
from tidemill.loop.notebook.html_table import folded, html_table
from tidemill.loop.project.stores import Stores
from tidemill.loop.training.run_tracking import figures_of
from tidemill.training import RunComparison, compare


def compare_runs(stores: Stores, names: Sequence[str]) -> RunComparison:
    """Compare runs with the first one as the baseline.

    Raises `UnknownName` for an unknown run and `UsageError` for fewer than two.
    """
    runs = [stores.runs.read(name) for name in names]
    return compare(runs, {run.name: figures_of(stores, run) for run in runs})


@dataclass(frozen=True, eq=False)
class RunComparisonView:
    """A comparison of runs with the first one as the baseline; `record` has the full data."""

    record: RunComparison

    @property
    def figures(self) -> pl.DataFrame:
        """One row per metric, one column per run, values with their 95% intervals as text."""
        rows = [
            {"figure": row.name} | dict(zip(self.record.runs, map(figure_text, row.values), strict=True))
            for row in self.record.metrics
        ]
        return pl.DataFrame(rows, schema=[(name, pl.String) for name in ("figure", *self.record.runs)])

    @property
    def differences(self) -> pl.DataFrame:
        """Each run minus the first on the same users: the mean, its 95% interval, and p of a paired test.

        `p_holm` is corrected for all metrics and pairs of the comparison.
        """
        rows = [
            (pair.other, pair.one, pair.measure, pair.n_users, pair.difference.value, pair.difference.low,
             pair.difference.high, pair.p, pair.p_holm)
            for pair in self.record.paired
        ]  # fmt: skip
        names = ["run", "against", "figure", "n_users", "difference", "low", "high", "p", "p_holm"]
        kinds = [*[pl.String] * 3, pl.Int64, *[pl.Float64] * 5]
        return pl.DataFrame(rows, schema=list(zip(names, kinds, strict=True)), orient="row")

    def _repr_html_(self) -> str:
        learners = next((row.values for row in self.record.differs if row.what == "learner"), None)
        about = learners or [""] * len(self.record.runs)
        heads = ["figure", *(f"{run} {learner}".strip() for run, learner in zip(self.record.runs, about, strict=True))]
        figures = [row for row in self.figures.rows() if not row[0].startswith("difference ")]
        paired = self.differences.drop("against")
        unpaired = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.record.unpaired)
        return (
            '<div style="background:#fff;color:#1f2328;font:13px/1.45 system-ui,sans-serif;padding:8px 12px">'
            "<p>Metrics with 95% confidence intervals</p>"
            f"{html_table(heads, [row for row in figures if _first(row[0])])}"
            f"{folded('more metrics', html_table(heads, [row for row in figures if not _first(row[0])]))}"
            f"<p>Difference from {escape(self.record.runs[0])} on the same users</p>"
            f"{html_table(paired.columns, [row for row in paired.rows() if _first(row[1])])}"
            f"{folded('more differences', html_table(paired.columns, [r for r in paired.rows() if not _first(r[1])]))}"
            f"{unpaired}</div>"
        )


def _first(figure: str) -> bool:
    """Whether a metric is shown without expanding."""
    return not any(word in figure for word in ("@20", "recall", "[cold]"))


def figure_text(metric: Metric | None) -> str:
    """A metric with its interval if it has one; `-` without a metric.

    >>> figure_text(Metric(value=0.25, low=0.2, high=0.3)), figure_text(None)
    ('0.2500 (0.2000 to 0.3000)', '-')
    """
    if metric is None:
        return "-"
    if metric.low == metric.high:
        return f"{metric.value:.4g}"
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"
