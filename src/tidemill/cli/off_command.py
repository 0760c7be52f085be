"""`tidemill off`: a model answers by its fallback or not at all."""

from __future__ import annotations

import click

from tidemill.cli.asked import Asked, asked
from tidemill.cli.switching import throw


@click.command("off")
@click.argument("model")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the ledger.")
@asked
def command(ask: Asked, model: str, why: str) -> None:
    """Switch MODEL off within a second, whatever else is down; its declared fallback answers, marked as such."""
    throw(ask, model, off=True, why=why)
