"""`tidemill evaluate`: evaluation of a model, or of a file of ranked lists, on days after the training data."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.assessment_table import show_assessment
from tidemill.cli.commands.train_command import quality
from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.core.clock import as_of, to_micros
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.loop.families.model_family import EvaluationOptions
from tidemill.loop.training.evaluate import EvaluationResult, evaluate
from tidemill.training import Protocol

_DAY_US = 86_400_000_000


@click.command("evaluate")
@click.argument("model")
@click.option(
    "--ranked",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Evaluate the ranked lists in FILE instead of a model.",
)
@click.option(
    "--test-from",
    type=DayParam(),
    metavar="DAY",
    help="First day of the test. Default: after 90% of the events; all new rows.",
)
@click.option("--history", type=click.Choice(["before", "earlier"]), default="before", show_default=True,
              help="Input history of a user: events before the split, or every event before the target.")  # fmt: skip
@click.option("--target", type=click.Choice(["last", "first", "all"]), default="all", show_default=True,
              help="Which of the later events are targets.")  # fmt: skip
@click.option("--by", metavar="COLUMN", help="A column of the items or of the table: metrics for each of its values.")
@click.option("--leave-one-out", is_flag=True, help="Also evaluate by leave-one-out, which leaks the future.")
@with_context
def command(
    context: CommandContext,
    model: str,
    ranked: Path | None,
    test_from: date | None,
    history: Any,
    target: Any,
    by: str | None,
    leave_one_out: bool,
) -> None:
    """Evaluate MODEL (`for_you`: its champion, or `for_you@3`) on days after its training data.

    A model with the same settings is trained on the days before the test. With --ranked, the lists of another system
    are evaluated in the same way: a CSV, Parquet or JSON-lines file with a user, an item, and a rank or a score.

    A tabular MODEL is evaluated on the rows that arrived after its training; nothing is trained again. --by adds the
    slices of an input column.
    """

    def progress(step: str, details: dict[str, Any]) -> None:
        context.err.print(f"[dim]{step}[/] {', '.join(f'{name} {value}' for name, value in details.items())}")

    options = EvaluationOptions(
        at=to_micros(as_of(test_from)) - _DAY_US if test_from else None,
        protocol=Protocol(history=history, target=target),
        ranked=ranked,
        by=by,
        leave_one_out=leave_one_out,
    )
    found = evaluate(context.stores, context.graph, model, options, progress=progress)
    report = found.report
    context.result(
        {
            "what": found.what,
            "evaluation": report.evaluation,
            "assessment": report.assessment,
            "leave_one_out": report.leave_one_out,
            "run": found.run,
        },
        lambda out: show(out, found),
    )


def show(out: Console, found: EvaluationResult) -> None:
    """Print the metrics, by slice and as a whole, and the warnings."""
    report = found.report
    if report.assessment:
        show_assessment(out, report.assessment)
    if report.evaluation:
        out.print(f"{found.what}: {report.evaluation.protocol}")
        show_evaluation(out, report.evaluation)
    if report.leave_one_out:
        out.print()
        out.print(f"Leave-one-out: {report.leave_one_out.protocol}")
        out.print(quality(report.leave_one_out))
        for warning in report.leave_one_out.warnings:
            out.print(f"warning: {warning}")
    out.print(f"Recorded as run {found.run}.")


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
            _difference(part.difference[name]),
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


def _difference(metric: Metric) -> str:
    return f"{metric.value:+.4f} ({metric.low:+.4f} to {metric.high:+.4f})"


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
