"""`tidemill rollback`: the champion before is champion again."""

from __future__ import annotations

import click

from tidemill.cli.asked import Asked, asked


@click.command("rollback")
@click.argument("model")
@asked
def command(ask: Asked, model: str) -> None:
    """Bring back the champion of MODEL before the present one. Running servers swap to it."""
    with ask.house.leases.take("run") as lease:
        made = ask.house.releases.rollback(model, lease=lease)
    ask.result(
        {"release": made.name, "model": made.model},
        lambda out: out.print(f"{made.name} is champion again   forward again: tidemill promote RELEASE"),
    )
