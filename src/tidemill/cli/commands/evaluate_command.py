"""`tidemill evaluate`: evaluation of a model, or of a file of ranked lists, on days after the training data."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tidemill.cli.assessment_table import show_assessment
from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.cli.evaluation_table import show_evaluation, show_summary
from tidemill.core.clock import as_of, to_micros
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
@click.option("--history", type=click.Choice(["before", "earlier"]),
              help="Input history of a user: all before the split (default), or all before the target.")  # fmt: skip
@click.option("--target", type=click.Choice(["last", "first", "all"]),
              help="Which of the later events are targets. Default: all.")  # fmt: skip
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
        protocol=Protocol(history=history or "before", target=target or "all") if history or target else None,
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
        show_summary(out, report.leave_one_out)
    out.print(f"Recorded as run {found.run}.")
