"""`tidemill rollback`: the champion before is champion again."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.lease import live_lease, wait_for_lease


@click.command("rollback")
@click.argument("model")
@with_context
def command(ask: CommandContext, model: str) -> None:
    """Bring back the champion of MODEL before the present one. Running servers swap to it."""
    with wait_for_lease(ask.stores.leases, live_lease(model)) as lease:
        made = ask.stores.releases.rollback(model, lease=lease)
    ask.result(
        {"release": made.name, "model": made.model},
        lambda out: out.print(f"{made.name} is champion again   forward again: tidemill promote RELEASE"),
    )
