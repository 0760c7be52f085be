"""`tidemill promote`: a candidate becomes champion."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.identity.refs import parse_ref
from tidemill.core.lease import live_lease, wait_for_lease


@click.command("promote")
@click.argument("release")
@with_context
def command(ask: CommandContext, release: str) -> None:
    """Make RELEASE (for example for_you@2) the champion. Running servers swap to it."""
    with wait_for_lease(ask.stores.leases, live_lease(parse_ref(release, "release").name)) as lease:
        made = ask.stores.releases.promote(release, lease=lease)
    ask.result(
        {"release": made.name, "model": made.model},
        lambda out: out.print(f"{made.name} is champion   take it back: tidemill rollback {made.model}"),
    )
