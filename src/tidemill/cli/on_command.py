"""`tidemill on`: a model answers again."""

from __future__ import annotations

import click

from tidemill.cli.asked import Asked, asked
from tidemill.cli.switching import throw


@click.command("on")
@click.argument("model")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the ledger.")
@asked
def command(ask: Asked, model: str, why: str) -> None:
    """Switch MODEL on again."""
    throw(ask, model, off=False, why=why)
