"""`tidemill run`: bring in what is due."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.loop.pipeline.run import RunReport, run

HELD = 3


@click.command("run")
@click.option(
    "--until", type=DayParam(), metavar="DAY", help="Include this day and nothing later; default: the last full day."
)
@click.option(
    "--backfill", is_flag=True, help="Take everything that is due as one increment that was known day by day."
)
@with_context
def command(ask: CommandContext, until: date | None, backfill: bool) -> int:
    """Bring in what is new, check it, publish it or hold it, and refresh features."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=ask.err
    ) as bar:
        task = bar.add_task("reading", total=None)

        def progress(what: str, details: dict[str, Any]) -> None:
            if what == "due":
                bar.update(task, total=details["increments"], description="increments")
            elif what == "increment":
                brought = details["brought"]
                bar.update(task, advance=1, description=f"{brought.increment.stream} {brought.increment.day}")
                if brought.publication is None:
                    bar.console.print(
                        f"[red]held[/] {brought.increment.stream} {brought.increment.number}: "
                        + escape("; ".join(failure.says for failure in brought.verdict.failures))
                    )
            elif what in ("rebuild", "features"):
                bar.console.print(f"{what}: {', '.join(details.get('tables') or details.get('views') or [])}")

        report = run(ask.stores, ask.graph, until=until, backfill=backfill, progress=progress)
    ask.result(asdict(report), lambda out: show(out, report, ask))
    return HELD if report.held else 0


def show(out: Console, report: RunReport, ask: CommandContext) -> None:
    """A run in a few lines."""
    for note in report.notes:
        out.print(note)
    out.print(
        f"up to {report.until}: {report.increments} increments, {report.arrived:,} rows in, {report.merged:,} merged, "
        f"{report.repeated:,} repeated, {report.contradicted:,} contradicted, {report.refused:,} refused, "
        f"{report.warnings} warnings, {report.publications} publications, {report.cpu_s:.1f} CPU s"
    )
    for release in report.refreshed:
        out.print(f"fresh: {release} is live, with everything counted that is published")
    for stream, number in report.held:
        out.print(
            f"held: {stream} {number}   settle it: tidemill check {stream} --accept {number} --by NAME --reason '…'"
        )
    for name in ask.graph.mill.model_names:
        if not ask.stores.ledger.find("learn", about=f"model:{name}"):
            out.print(f"next: tidemill train {name}")
