"""`tidemill audit verify`: the ledger's chain, signatures and heads."""

from __future__ import annotations

import click

from tidemill.cli.asked import Asked, asked
from tidemill.cli.lake_command import FOUND_SOMETHING, show
from tidemill.loop.audit import audit


@click.group("audit")
def command() -> None:
    """Account for what happened."""


@command.command("verify")
@asked
def verify(ask: Asked) -> int:
    """Verify every line, link and signature, and hold the ledger against exported and committed heads."""
    problems = audit(ask.house)
    ask.result(
        {"lines": ask.house.ledger.head().seq, "problems": problems},
        lambda out: show(out, problems, f"all {ask.house.ledger.head().seq} lines verify"),
    )
    return FOUND_SOMETHING if problems else 0
