"""`tidemill rollback`: the champion before is champion again."""

from __future__ import annotations

import click

from tidemill.cli.asked import Asked, asked
from tidemill.core.lease import live_lease, wait_for_lease


@click.command("rollback")
@click.argument("model")
@asked
def command(ask: Asked, model: str) -> None:
    """Bring back the champion of MODEL before the present one. Running servers swap to it."""
    with wait_for_lease(ask.house.leases, live_lease(model)) as lease:
        made = ask.house.releases.rollback(model, lease=lease)
    ask.result(
        {"release": made.name, "model": made.model},
        lambda out: out.print(f"{made.name} is champion again   forward again: tidemill promote RELEASE"),
    )
