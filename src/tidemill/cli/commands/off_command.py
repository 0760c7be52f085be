"""`tidemill off`: a model answers by its fallback or not at all."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.kill_switch import set_switch


@click.command("off")
@click.argument("model")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the ledger.")
@with_context
def command(ask: CommandContext, model: str, why: str) -> None:
    """Switch MODEL off within a second, whatever else is down; its declared fallback answers, marked as such."""
    set_switch(ask, model, off=True, why=why)
