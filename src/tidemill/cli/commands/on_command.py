"""`tidemill on`: release of the kill switch; the model is served again."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.kill_switch import set_switch


@click.command("on")
@click.argument("model")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the ledger.")
@with_context
def command(context: CommandContext, model: str, why: str) -> None:
    """Switch MODEL on again."""
    set_switch(context, model, off=False, why=why)
