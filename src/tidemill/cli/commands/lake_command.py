"""`tidemill lake verify`: check of every file of the lake against the recorded hashes."""

from __future__ import annotations

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, with_context
from tidemill.loop.ops.audit_project import verify_lake

FOUND_SOMETHING = 4


@click.group("lake")
def command() -> None:
    """Check the files of the lake."""


@command.command("verify")
@with_context
def verify(context: CommandContext) -> int:
    """Compare every file of every version with the SHA-256 that was recorded at publication."""
    problems = verify_lake(context.stores)
    context.result({"problems": problems}, lambda out: show(out, problems, "Verified: every file is as published."))
    return FOUND_SOMETHING if problems else 0


def show(out: Console, problems: list[str], success: str) -> None:
    """Print the problems, or the message of success."""
    for problem in problems:
        out.print(problem)
    if not problems:
        out.print(success)
