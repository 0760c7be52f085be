"""`tidemill reproduce`: retraining from the recorded code, data and settings, and a comparison of the results."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.formatting import count
from tidemill.governance.reproduction import Reproduction
from tidemill.loop.reproduce.reproduce import reproduce


@click.command("reproduce")
@click.argument("what", metavar="RUN|RELEASE")
@click.option(
    "--here",
    is_flag=True,
    help="Use the current environment, and report how it differs, instead of building a new one.",
)
@with_context
def command(context: CommandContext, what: str, here: bool) -> int:
    """Train a run (`for_you#3`) or a release (`for_you@3`) again, and compare. The result is bitwise the same, the same
    within tolerance, reduced by erased rows, or different, with every cause that was found.

    Code, table versions and chosen settings were recorded. A new environment gets the recorded libraries from the
    package index. The project does not change, except for one ledger entry. The exit status is 1 if the result is
    different.
    """

    def progress(step: str, details: dict[str, Any]) -> None:
        context.err.print(f"[dim]{step}[/] {', '.join(f'{name} {value}' for name, value in details.items())}")

    found = reproduce(context.stores, what, here=here, progress=progress)
    context.result({"reproduction": found, "holds": found.holds}, lambda out: show(out, found))
    return 0 if found.holds else 1


def show(out: Console, found: Reproduction) -> None:
    """Print the verdict, and one line per cause."""
    out.print(f"{found.about.partition(':')[2]}: {found.says if found.holds else 'not reproduced:'}")
    for cause in found.causes:
        out.print(f"  {cause.what}: {cause.says}")
    if not found.holds and found.largest is not None:
        out.print(f"  largest difference of {count(found.answers, 'prediction')}: {found.largest:.1e}")
    for note in found.notes:
        out.print(f"  {note}")
    for cause in found.differences:
        out.print(f"  not a cause: {cause.what}: {cause.says}")
