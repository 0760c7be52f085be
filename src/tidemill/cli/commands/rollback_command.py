"""`tidemill rollback`: rollback of a model to its previous champion."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.lease import live_lease, wait_for_lease


@click.command("rollback")
@click.argument("model")
@with_context
def command(context: CommandContext, model: str) -> None:
    """Roll MODEL back to its previous champion. Running servers switch to it."""
    with wait_for_lease(context.stores.leases, live_lease(model)) as lease:
        current = context.stores.releases.champion(model)
        restored = context.stores.releases.rollback(model, lease=lease)
    undo = f" To undo: tidemill promote {current.name}" if current else ""
    context.result(
        {"release": restored.name, "model": restored.model},
        lambda out: out.print(f"Rolled back to {restored.name}.{undo}"),
    )
