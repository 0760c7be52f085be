"""How good a tabular model is, as a terminal shows it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tidemill.core.records.assessment import Assessment, MetricScore
from tidemill.core.records.quality import Metric

#: So many of what was tried, and of what moves the answers, are shown.
_SHOWN = 8


def show_assessment(out: Console, found: Assessment) -> None:
    """Scores beside the baseline with 95% intervals, what was tried, and the sentences."""
    out.print(f"measured on {found.n_test:,} rows after learning from {found.n_train:,}: {found.protocol}")
    out.print(scores(found.scores, found.baseline))
    if found.beside_champion:
        out.print(scores(found.beside_champion, found.champion))
    if found.members:
        out.print(tried(found))
    if found.influences:
        shown = ", ".join(f"{one.input} {one.share:.0%}" for one in found.influences[:_SHOWN])
        out.print(f"what moves the answers: {shown}")
    for sentence in (found.worst, found.gaps_say, found.curve_says, *found.warnings):
        if sentence:
            out.print(sentence)


def scores(found: tuple[MetricScore, ...], beside: str) -> Table:
    """The model beside something else, row by row a measure."""
    table = Table("measure", "model (95%)", beside, "difference (95%)", box=None, pad_edge=False)
    for score in found:
        table.add_row(score.name, _interval(score.model), f"{score.baseline.value:.4f}", _signed(score.difference))
    return table


def tried(found: Assessment) -> Table:
    """What was tried on the way, best first as it was kept."""
    table = Table("tried", "", f"{found.measure} (95%)", "CPU s", box=None, pad_edge=False)
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
