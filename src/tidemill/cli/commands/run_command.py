"""`tidemill run`: ingestion, checks and publication of all days that are due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.core.formatting import count
from tidemill.core.ports import EngineStage
from tidemill.loop.pipeline.run import RunReport, run

HELD = 3


@click.command("run")
@click.option("--until", type=DayParam(), metavar="DAY", help="Last day to include. Default: the last full day.")
@click.option(
    "--backfill",
    is_flag=True,
    help="Ingest everything that is due as one increment; each row counts as known from its own day on.",
)
@with_context
def command(context: CommandContext, until: date | None, backfill: bool) -> int:
    """Ingest new days, check them, publish or hold them, and update features."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=context.err
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

        def working(stages: Sequence[EngineStage]) -> None:
            bar.update(task, description=stages_line(stages) or bar.tasks[task].description)

        context.stores.engine.watch(working)
        report = run(context.stores, context.graph, until=until, backfill=backfill, progress=progress)
    context.result(asdict(report), lambda out: show(out, report, context))
    return HELD if report.held else 0


def stages_line(stages: Sequence[EngineStage]) -> str:
    """The stages that an engine works on, in one line.

    >>> stages_line([EngineStage(4, 200, 50, 1_250_000)])
    'stage 4: 50 of 200 tasks, 1,250,000 rows'
    """
    lines = [
        f"stage {one.number}: {one.tasks_done} of {one.tasks} tasks" + (f", {one.rows:,} rows" if one.rows else "")
        for one in stages
    ]
    return "; ".join(lines)


def show(out: Console, report: RunReport, context: CommandContext) -> None:
    """Print a summary of a run."""
    for note in report.notes:
        out.print(note)
    out.print(
        f"up to {report.until}: {count(report.increments, 'increment')}, {count(report.arrived, 'row')} in, "
        f"{report.merged:,} merged, {report.repeated:,} repeated, {report.contradicted:,} conflicting, "
        f"{report.refused:,} refused, {count(report.warnings, 'warning')}, "
        f"{count(report.publications, 'publication')}, {report.cpu_s:.1f} CPU s"
    )
    for release in report.refreshed:
        out.print(f"Refreshed: {release} is now the champion and includes all published rows.")
    for stream, number in [*report.held, *report.still_held]:
        out.print(
            f"Held: {stream} {number}. Resolve it with: "
            f"tidemill check {stream} --accept {number} --by NAME --reason '…'\n"
            "  or correct `columns=` in tidemill.toml or the contract in mill.py: the next run reads its files again"
        )
    for name in context.graph.mill.models:
        if not context.stores.ledger.find("learn", about=f"model:{name}"):
            out.print(f"Next: tidemill train {name}")
