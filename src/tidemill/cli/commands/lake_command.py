"""`tidemill lake verify`: the files of every kept version against our own manifests."""

from __future__ import annotations

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, with_context
from tidemill.loop.ops.audit_project import verify_lake

FOUND_SOMETHING = 4


@click.group("lake")
def command() -> None:
    """Look after the lake's files."""


@command.command("verify")
@with_context
def verify(ask: CommandContext) -> int:
    """Compare every file of every version with the sha256 that was recorded when it was published."""
    problems = verify_lake(ask.stores)
    ask.result({"problems": problems}, lambda out: show(out, problems, "every file is what was published"))
    return FOUND_SOMETHING if problems else 0


def show(out: Console, problems: list[str], well: str) -> None:
    """The problems, or that there are none."""
    for problem in problems:
        out.print(problem)
    if not problems:
        out.print(well)
