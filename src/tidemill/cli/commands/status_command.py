"""`tidemill status`: what is live and what needs me."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.loop.pipeline.status import Status, status


@click.command("status")
@click.option("--settings", "show_settings", is_flag=True, help="Each setting, its value and where it came from.")
@with_context
def command(ask: CommandContext, show_settings: bool) -> None:
    """What is live, how far each stream has come, and what needs me."""
    if show_settings:
        rows = ask.settings.rows()
        ask.result(rows, lambda out: _settings(out, rows))
        return
    found = status(ask.stores, ask.graph)
    ask.result(found, lambda out: show(out, found))


def _settings(out: Console, rows: list[tuple[str, str, str]]) -> None:
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def show(out: Console, found: Status) -> None:
    """The state of the mill in a screenful."""
    out.print(f"{found.mill}: publication {found.publication}, as of {found.as_of or 'never'}")
    table = Table("stream", "up to", "increments", "rows", "held", box=None, pad_edge=False)
    for stream in found.streams:
        table.add_row(
            stream.name, str(stream.day or "-"), f"{stream.increments:,}", f"{stream.rows:,}", str(len(stream.held))
        )
    out.print(table)
    for model in found.models:
        live = f"{model.champion} is live" if model.champion else "nothing is live"
        plural = "" if len(model.releases) == 1 else "s"
        out.print(f"{model.name}: {live}{', switched OFF' if model.off else ''}; {len(model.releases)} release{plural}")
    for need in found.needs:
        out.print(f"needs you: {need.what}   {need.command}")
