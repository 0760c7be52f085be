"""`tidemill plan`: what would run, and why."""

from __future__ import annotations

from datetime import date

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.loop.pipeline.run_plan import Step, plan


@click.command("plan")
@click.option("--until", type=DayParam(), metavar="DAY", help="As in `tidemill run`.")
@with_context
def command(ask: CommandContext, until: date | None) -> None:
    """What a run would do, and why. Nothing is read, made or changed; a graph that cannot run is refused here."""
    steps = plan(ask.stores if ask.has_run else None, ask.graph_alone(), until, ask.settings)
    ask.result(steps, lambda out: show(out, steps))


def show(out: Console, steps: list[Step]) -> None:
    """The steps as a table."""
    table = Table("step", "kind", "does", "because", box=None, pad_edge=False)
    for step in steps:
        table.add_row(step.what, step.kind, step.do, step.why)
    out.print(table)
