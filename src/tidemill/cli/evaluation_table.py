"""Evaluation of ranked lists as terminal tables: metrics, slices, list statistics, exposure, warnings."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tidemill.core.records.quality import Evaluation, Metric

#: Metrics in the order in which they are shown.
_METRICS = ("hit_rate", "recall", "ndcg")


def show_summary(out: Console, evaluation: Evaluation) -> None:
    """Print the metrics by slice of users, the worst slice and the warnings."""
    out.print(quality(evaluation))
    for sentence in (evaluation.worst, *evaluation.warnings):
        if sentence:
            out.print(sentence)


def show_evaluation(out: Console, evaluation: Evaluation) -> None:
    """Print the metrics of ranked lists, the slices, the list statistics, the exposure and the warnings."""
    out.print(quality(evaluation))
    out.print()
    out.print(slices(evaluation))
    out.print(evaluation.worst)
    out.print()
    out.print(list_statistics(evaluation))
    out.print()
    out.print(exposure(evaluation))
    out.print(
        f"cold items: {evaluation.cold_targets or 0:.1%} of the targets; "
        f"repeated items: {evaluation.repeats or 0:.1%} of the later events"
    )
    for warning in evaluation.warnings:
        out.print(f"warning: {warning}")


def quality(evaluation: Evaluation) -> Table:
    """A table of the model and its baseline by slice of users, with paired 95% intervals of the difference."""
    names = _ordered(evaluation)
    table = Table(
        "users", "n", "metric", evaluation.model, evaluation.baseline, "difference (95%)", box=None, pad_edge=False
    )
    for part in evaluation.slices:
        for i, name in enumerate(names):
            table.add_row(
                part.users if not i else "",
                f"{part.n_users:,}" if not i else "",
                name,
                f"{part.model[name].value:.4f}",
                f"{part.baseline[name].value:.4f}",
                _signed(part.difference[name]),
            )
    return table


def slices(evaluation: Evaluation) -> Table:
    """A table of NDCG by slice of users and targets, with the Holm-corrected p-value of the difference."""
    name = f"ndcg@{evaluation.k}"
    table = Table("slice", "", "n", name, evaluation.baseline, "difference (95%)", "Holm p", box=None, pad_edge=False)
    previous = ""
    for part in evaluation.parts:
        family = part.family if part.family != previous else ""
        previous = part.family
        if name not in part.model:
            table.add_row(family, part.users, f"{part.n_users:,}", part.note, "", "", "")
            continue
        table.add_row(
            family,
            part.users,
            f"{part.n_users:,}",
            f"{part.model[name].value:.4f}",
            f"{part.baseline[name].value:.4f}",
            _signed(part.difference[name]),
            f"{part.p_holm[name]:.3f}",
        )
    return table


def list_statistics(evaluation: Evaluation) -> Table:
    """A table of the statistics of recommended lists, next to those of the targets."""
    table = Table(
        "lists",
        "events per item",
        "percentile",
        "head",
        "gini",
        "coverage",
        "novelty",
        "diversity",
        box=None,
        pad_edge=False,
    )
    for name, one in evaluation.lists.items():
        cells = [
            _or_none(one.popularity, ".1f"),
            _or_none(one.percentile, ".2f"),
            _or_none(one.head_share, ".1%"),
            _or_none(one.gini, ".3f"),
            f"{one.coverage:.1%}",
            _or_none(one.novelty, ".1f"),
            _or_none(one.diversity, ".3f"),
        ]
        table.add_row({"model": evaluation.model, "baseline": evaluation.baseline}.get(name, name), *cells)
    return table


def exposure(evaluation: Evaluation) -> Table:
    """A table of the exposure of groups of items, next to their share of the targets."""
    table = Table("items by", "", "items", "shown", "taken", "shown/taken (95%)", box=None, pad_edge=False)
    previous = ""
    for one in evaluation.exposure:
        by = one.by if one.by != previous else ""
        previous = one.by
        ratio = f"{one.ratio.value:.2f} ({one.ratio.low:.2f} to {one.ratio.high:.2f})" if one.ratio else "none taken"
        table.add_row(by, one.group, f"{one.n_items:,}", f"{one.shown.value:.1%}", f"{one.taken.value:.1%}", ratio)
    return table


def _signed(metric: Metric) -> str:
    return f"{metric.value:+.4f} ({metric.low:+.4f} to {metric.high:+.4f})"


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _ordered(evaluation: Evaluation) -> list[str]:
    names = list(evaluation.slices[0].model) if evaluation.slices else []
    return sorted(names, key=lambda name: next((i for i, m in enumerate(_METRICS) if name.startswith(m)), 9))
