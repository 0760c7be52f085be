"""`tidemill audit verify`: check of the ledger's hash chain, signatures and checkpoints."""

from __future__ import annotations

import click

from tidemill.cli.commands.lake_command import FOUND_SOMETHING, show
from tidemill.cli.context import CommandContext, with_context
from tidemill.loop.ops.audit_project import audit


@click.group("audit")
def command() -> None:
    """Check the audit log (the ledger)."""


@command.command("verify")
@with_context
def verify(context: CommandContext) -> int:
    """Verify every entry, hash link and signature, and compare the ledger with checkpoints and commits of the lake."""
    problems = audit(context.stores)
    context.result(
        {"lines": context.stores.ledger.head().seq, "problems": problems},
        lambda out: show(
            out, problems, f"Verified: all {context.stores.ledger.head().seq} entries of the ledger are intact."
        ),
    )
    return FOUND_SOMETHING if problems else 0
