"""`tidemill off`: kill switch of a model; its fallback is served, if it has one."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.kill_switch import set_switch


@click.command("off")
@click.argument("model")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the ledger.")
@with_context
def command(context: CommandContext, model: str, why: str) -> None:
    """Switch MODEL off within a second, even if other parts are down. Its fallback is served and marked as such."""
    set_switch(context, model, off=True, why=why)
