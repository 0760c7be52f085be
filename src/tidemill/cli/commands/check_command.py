"""`tidemill check`: validation results of a stream's increments, and the resolution of a held increment."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.existing_file import ExistingFile
from tidemill.core.formatting import count
from tidemill.loop.ingest.ingest_increment import IngestResult
from tidemill.loop.pipeline.increment_history import IncrementVerdict, RefusedLine, increment_history, refused
from tidemill.loop.pipeline.resolve_hold import accept_hold, replace_hold

HELD = 3


@click.command("check")
@click.argument("stream")
@click.option("--accept", "accepted", type=int, metavar="N", help="Publish held increment N as it arrived.")
@click.option(
    "--replace",
    "replaced",
    type=(int, ExistingFile()),
    metavar="N FILE",
    help="Publish FILE instead of held increment N, if it passes the checks.",
)
@click.option("--refused", "lines", is_flag=True, help="Show each refused line: file, line, column and reason.")
@click.option("--by", "who", default="", metavar="NAME", help="Who decided it.")
@click.option("--reason", default="", metavar="TEXT", help="The reason, kept in the ledger.")
@with_context
def command(
    context: CommandContext,
    stream: str,
    accepted: int | None,
    replaced: tuple[int, Path] | None,
    lines: bool,
    who: str,
    reason: str,
) -> int:
    """Show the validation results of STREAM's increments, or resolve a held increment."""
    if accepted is not None:
        return _print_resolution(
            context, accept_hold(context.stores, context.graph, stream, accepted, who=who, reason=reason)
        )
    if replaced is not None:
        return _print_resolution(context, replace_hold(context.stores, context.graph, stream, *replaced, who=who))
    if lines:
        places = refused(context.stores, context.graph, stream)
        context.result(places, lambda out: show_refused(out, places))
        return 0
    found = increment_history(context.stores, context.graph, stream)
    context.result(found, lambda out: show(out, found))
    return HELD if any(one.state == "held" for one in found) else 0


def _print_resolution(context: CommandContext, ingested: IngestResult) -> int:
    increment = ingested.increment
    name = f"{increment.stream} {increment.number}"
    held = ingested.publication is None
    text = (
        f"{name} is held again: " + "; ".join(failure.says for failure in ingested.verdict.failures)
        if held
        else f"{name} is published: {count(increment.counts.merged, 'row')} merged"
    )
    context.result(
        {"stream": increment.stream, "number": increment.number, "held": held},
        lambda out: out.print(text),
    )
    return HELD if held else 0


def show(out: Console, found: list[IncrementVerdict]) -> None:
    """Print the increments with findings, and count the others."""
    passed = [one for one in found if one.state == "published" and not one.failures]
    table = Table("n", "day", "rows", "state", "findings", box=None, pad_edge=False)
    for one in found:
        if one not in passed:
            findings = "\n".join(failure.says for failure in one.failures)
            table.add_row(str(one.number), str(one.day), f"{one.arrived:,}", one.state, findings)
    if table.row_count:
        out.print(table)
    out.print(f"{count(len(found), 'increment')}, {len(passed):,} passed all checks")


def show_refused(out: Console, places: list[RefusedLine]) -> None:
    """Print one row for each refused line."""
    table = Table("n", "state", "file", "line", "column", "reason", box=None, pad_edge=False)
    for one in places:
        table.add_row(str(one.number), one.state, one.file, f"{one.line:,}", one.column or "", one.reason)
    if table.row_count:
        out.print(table)
    out.print(count(len(places), "refused line"))
