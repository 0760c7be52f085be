"""`tidemill check`: what the gate thinks of a stream's increments, and settling a held one."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
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
    type=(int, click.Path(exists=True, dir_okay=False, path_type=Path)),
    metavar="N FILE",
    help="Publish FILE in place of held increment N, if it passes.",
)
@click.option("--refused", "lines", is_flag=True, help="Show each refused line: file, line, column and reason.")
@click.option("--by", "who", default="", metavar="NAME", help="Who takes it on.")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@with_context
def command(
    ask: CommandContext,
    stream: str,
    accepted: int | None,
    replaced: tuple[int, Path] | None,
    lines: bool,
    who: str,
    reason: str,
) -> int:
    """Show the verdicts of STREAM's increments, or settle a held one."""
    if accepted is not None:
        return _settled(ask, accept_hold(ask.stores, ask.graph, stream, accepted, who=who, reason=reason))
    if replaced is not None:
        return _settled(ask, replace_hold(ask.stores, ask.graph, stream, *replaced, who=who))
    if lines:
        places = refused(ask.stores, ask.graph, stream)
        ask.result(places, lambda out: show_refused(out, places))
        return 0
    found = increment_history(ask.stores, ask.graph, stream)
    ask.result(found, lambda out: show(out, found))
    return HELD if any(one.state == "held" for one in found) else 0


def _settled(ask: CommandContext, brought: IngestResult) -> int:
    name = f"{brought.increment.stream} {brought.increment.number}"
    held = brought.publication is None
    text = (
        f"{name} is held again: " + "; ".join(f.says for f in brought.verdict.failures)
        if held
        else (f"{name} is published: {brought.increment.counts.merged:,} rows merged")
    )
    ask.result(
        {"stream": brought.increment.stream, "number": brought.increment.number, "held": held},
        lambda out: out.print(text),
    )
    return HELD if held else 0


def show(out: Console, found: list[IncrementVerdict]) -> None:
    """Increments that say something, and a count of the rest."""
    quiet = [one for one in found if one.state == "published" and not one.failures]
    table = Table("n", "day", "rows", "state", "what was seen", box=None, pad_edge=False)
    for one in found:
        if one not in quiet:
            table.add_row(
                str(one.number), str(one.day), f"{one.arrived:,}", one.state, "\n".join(f.says for f in one.failures)
            )
    if table.row_count:
        out.print(table)
    out.print(f"{len(found)} increments, {len(quiet)} of them published without a word")


def show_refused(out: Console, places: list[RefusedLine]) -> None:
    """One line for each refused line."""
    table = Table("n", "state", "file", "line", "column", "reason", box=None, pad_edge=False)
    for one in places:
        table.add_row(str(one.number), one.state, one.file, f"{one.line:,}", one.column or "", one.reason)
    if table.row_count:
        out.print(table)
    out.print(f"{len(places)} refused lines")
