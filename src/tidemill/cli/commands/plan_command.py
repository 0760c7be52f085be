"""`tidemill plan`: the steps of the next run, each with its reason."""

from __future__ import annotations

from datetime import date

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.loop.pipeline.run_plan import Step, plan


@click.command("plan")
@click.option("--until", type=DayParam(), metavar="DAY", help="Last day to include, as in `tidemill run`.")
@with_context
def command(context: CommandContext, until: date | None) -> None:
    """Show what a run would do, and why. Nothing is read or changed. An invalid graph is reported."""
    steps = plan(context.stores if context.has_run else None, context.graph_alone(), until, context.settings)
    context.result(steps, lambda out: show(out, steps))


def show(out: Console, steps: list[Step]) -> None:
    """Print the steps as a table."""
    table = Table("step", "kind", "action", "reason", box=None, pad_edge=False)
    for step in steps:
        table.add_row(step.what, step.kind, step.do, step.why)
    out.print(table)
