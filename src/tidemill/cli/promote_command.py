"""`tidemill promote`: a candidate becomes champion."""

from __future__ import annotations

import click

from tidemill.cli.asked import Asked, asked


@click.command("promote")
@click.argument("release")
@asked
def command(ask: Asked, release: str) -> None:
    """Make RELEASE (for example for_you@2) the champion. Running servers swap to it."""
    with ask.house.leases.take("run") as lease:
        made = ask.house.releases.promote(release, lease=lease)
    ask.result(
        {"release": made.name, "model": made.model},
        lambda out: out.print(f"{made.name} is champion   take it back: tidemill rollback {made.model}"),
    )
