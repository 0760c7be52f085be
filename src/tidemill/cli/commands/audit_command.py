"""`tidemill audit verify`: the ledger's chain, signatures and heads."""

from __future__ import annotations

import click

from tidemill.cli.commands.lake_command import FOUND_SOMETHING, show
from tidemill.cli.context import CommandContext, with_context
from tidemill.loop.ops.audit_project import audit


@click.group("audit")
def command() -> None:
    """Account for what happened."""


@command.command("verify")
@with_context
def verify(ask: CommandContext) -> int:
    """Verify every line, link and signature, and hold the ledger against exported and committed heads."""
    problems = audit(ask.stores)
    ask.result(
        {"lines": ask.stores.ledger.head().seq, "problems": problems},
        lambda out: show(out, problems, f"all {ask.stores.ledger.head().seq} lines verify"),
    )
    return FOUND_SOMETHING if problems else 0
