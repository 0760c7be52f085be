"""Assessment of a tabular model as terminal tables: scores, candidates, feature importance, warnings."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import Metric, MetricScore

#: The maximum number of candidates, and of inputs in the feature importance.
_SHOWN = 8


def show_assessment(out: Console, found: Assessment) -> None:
    """Print scores next to the baseline with 95% intervals, the candidates, feature importance and warnings."""
    out.print(f"Measured on {found.n_test:,} rows after training on {found.n_train:,}: {found.protocol}")
    out.print(scores(found.scores, found.baseline))
    if found.beside_champion:
        out.print(scores(found.beside_champion, found.champion))
    if found.champion_says:
        out.print(found.champion_says)
    if found.n_fits > 1:
        out.print(f"The intervals of metrics and differences cover the test rows and {found.n_fits} fits.")
    if found.periods:
        out.print(months(found))
    if found.members:
        out.print(candidates(found))
    if found.influences:
        shown = ", ".join(f"{item.input} {item.share:.0%}" for item in found.influences[:_SHOWN])
        by = "mean |SHAP|" if found.influences[0].method == "shap" else "values permuted"
        out.print(f"Feature importance ({by}): {shown}")
    for sentence in (found.periods_say, found.worst, found.gaps_say, found.curve_says, *found.warnings):
        if sentence:
            out.print(sentence)


def scores(found: tuple[MetricScore, ...], other: str) -> Table:
    """A table of the model next to `other` (a baseline or the champion), one row per metric."""
    table = Table("metric", "model (95%)", other, "difference (95%)", box=None, pad_edge=False)
    for score in found:
        table.add_row(score.name, _interval(score.model), f"{score.baseline.value:.4f}", _signed(score.difference))
    return table


def months(found: Assessment) -> Table:
    """A table of the main metric by month, beside the baseline and the model card."""
    card = "" if found.expected is None else f"against the card, {_interval(found.expected)}"
    table = Table(
        "month", "rows", f"{found.measure} (95%)", found.baseline, "skill (95%)", card, box=None, pad_edge=False
    )
    for one in found.periods:
        table.add_row(
            one.period, f"{one.n_rows:,}", _interval(one.score), f"{one.baseline.value:.4f}", _interval(one.skill),
            one.versus_card,
        )  # fmt: skip
    return table


def candidates(found: Assessment) -> Table:
    """A table of the candidate models, best first."""
    table = Table("candidate", "", f"{found.measure} (95%)", "CPU s", box=None, pad_edge=False)
    for member in found.members[:_SHOWN]:
        table.add_row(member.name, member.state, _interval(member.score), f"{member.cpu_s:.1f}")
    return table


def _interval(metric: Metric | None) -> str:
    if metric is None:
        return "-"
    if metric.low == metric.high:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


def _signed(metric: Metric) -> str:
    return f"{metric.value:+.4f} ({metric.low:+.4f} to {metric.high:+.4f})"
