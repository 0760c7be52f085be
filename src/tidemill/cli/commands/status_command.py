"""`tidemill status`: status of streams and models, and the actions that are required."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.promotion_lines import show_promotion
from tidemill.core.formatting import count
from tidemill.loop.state.project_status import Status, status


@click.command("status")
@click.option("--settings", "show_settings", is_flag=True, help="Show each setting with its value and origin.")
@with_context
def command(context: CommandContext, show_settings: bool) -> None:
    """Show the live models, the last day of each stream, and the actions that are required."""
    if show_settings:
        rows = context.settings.rows()
        context.result(rows, lambda out: _settings(out, rows))
        return
    found = status(context.stores, context.graph)
    context.result(found, lambda out: show(out, found))


def _settings(out: Console, rows: list[tuple[str, str, str]]) -> None:
    table = Table("setting", "value", "origin", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def show(out: Console, found: Status) -> None:
    """Print the status on one screen."""
    out.print(f"{found.mill}: publication {found.publication}, as of {found.as_of or 'never'}")
    table = Table("stream", "up to", "increments", "rows", "held", box=None, pad_edge=False)
    for stream in found.streams:
        table.add_row(
            stream.name, str(stream.day or "-"), f"{stream.increments:,}", f"{stream.rows:,}", str(len(stream.held))
        )
    out.print(table)
    for name, pin in found.external.items():
        out.print(f"{name}: external table at {pin.says} ({pin.place})")
    for model in found.models:
        live = f"{model.champion} is live" if model.champion else "no champion"
        out.print(
            f"{model.name}: {live}{', switched OFF' if model.off else ''}; {count(len(model.releases), 'release')}"
        )
        if model.promotion:
            show_promotion(out, model.promotion, "  ")
    for item in found.action_items:
        out.print(f"{'Optional' if item.weight == 'hint' else 'Action required'}: {item.what}.")
        for reason in item.why:
            out.print(f"  {reason}")
        for command in item.commands:
            out.print(f"  {command.text}   # {command.does}")
