"""`tidemill reproduce`: learn something again from what was kept of it, and say whether it is the same."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, actor, with_context
from tidemill.core.clock import SystemClock
from tidemill.governance.reproduction import Reproduction
from tidemill.loop.project.stores import open_stores
from tidemill.loop.reproduce.reproduce import reproduce


@click.command("reproduce")
@click.argument("what", metavar="RUN|RELEASE")
@click.option("--here", is_flag=True, help="Take the present environment and name what differs, not a new one.")
@with_context
def command(ask: CommandContext, what: str, here: bool) -> int:
    """Learn a run (`for_you#3`) or a release (`for_you@3`) again and compare: bitwise, within tolerance, reduced by
    erased rows, or no, because of each cause that was found.

    Its code, its table versions and the settings that it settled on were kept; a new environment gets the recorded
    libraries from the package index. Nothing of the project changes but one line of the ledger. The exit status is 1
    where the verdict is no.
    """

    def progress(step: str, details: dict[str, Any]) -> None:
        ask.err.print(f"[dim]{step}[/] {', '.join(f'{name} {value}' for name, value in details.items())}")

    # Not by way of mill.py: what it says today, or that it does not load, is no matter here.
    stores = open_stores(ask.project, ask.settings, SystemClock(), actor=actor())
    found = reproduce(stores, what, here=here, progress=progress)
    ask.result({"reproduction": found, "holds": found.holds}, lambda out: show(out, found))
    return 0 if found.holds else 1


def show(out: Console, found: Reproduction) -> None:
    """The verdict, and every cause in a line of its own."""
    out.print(f"{found.about.partition(':')[2]}: {found.says if found.holds else 'no, because'}")
    for cause in found.causes:
        out.print(f"  {cause.what}: {cause.says}")
    if not found.holds and found.largest is not None:
        out.print(f"  of {found.answers:,} answers compared, the largest difference is {found.largest:.1e}")
    for note in found.notes:
        out.print(f"  {note}")
    for cause in found.differences:
        out.print(f"  although {cause.what}: {cause.says}")
