"""`tidemill promote`: promotion of a release to champion."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.identity.refs import parse_ref
from tidemill.core.lease import live_lease, wait_for_lease


@click.command("promote")
@click.argument("release")
@with_context
def command(context: CommandContext, release: str) -> None:
    """Promote RELEASE (for example for_you@2) to champion. Running servers switch to it."""
    with wait_for_lease(context.stores.leases, live_lease(parse_ref(release, "release").name)) as lease:
        promoted = context.stores.releases.promote(release, lease=lease)
    context.result(
        {"release": promoted.name, "model": promoted.model},
        lambda out: out.print(
            f"{promoted.name} is now the champion. Roll back with: tidemill rollback {promoted.model}"
        ),
    )
