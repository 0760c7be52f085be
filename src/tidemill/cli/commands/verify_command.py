"""`tidemill verify`: check of everything that is stored for a project."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.clock import SystemClock
from tidemill.core.errors import ProjectMissing
from tidemill.core.formatting import count
from tidemill.core.storage.verification import StoreReport
from tidemill.loop.ops.verify_project import ProjectVerification, verify_project

FOUND_SOMETHING = 1
#: Maximum number of places of one store that are listed as not read.
_LISTED = 5


@click.command("verify")
@with_context
def command(context: CommandContext) -> int:
    """Read every store of the project, and name everything that is damaged, missing or changed.

    Compares data files, table logs, bundles and source states with the hashes in the ledger, the ledger with its
    checkpoints and with the commits of the lake, and all other files with their checksums. It always reads to the end
    and changes nothing. What is marked "made again by the next run" is derived from other data. The exit status is 1
    if there is a problem.
    """
    if not context.has_run:
        raise ProjectMissing(f"nothing has run in {context.project} yet", tip="`tidemill run` ingests the first day")
    found = verify_project(context.settings, SystemClock())
    context.result(found, lambda out: show(out, found))
    return FOUND_SOMETHING if found.problems else 0


def show(out: Console, found: ProjectVerification) -> None:
    """Print what was read of each store, what was not, and the problems."""
    table = Table("store", "files", "bytes", "problems", box=None, pad_edge=False)
    for one in found.stores:
        table.add_row(one.store, f"{one.files:,}", f"{one.size_bytes:,}", str(len(one.problems)))
    out.print(table)
    for one in found.stores:
        _show_unread(out, one)
    for one in found.stores:
        for problem in one.problems:
            out.print(f"{one.store}: {problem.text}{' (made again by the next run)' if problem.derived else ''}")
    if found.problems:
        out.print(f"{count(len(found.problems), 'problem')}.")
    else:
        out.print("Verified: everything is as it was written.")


def _show_unread(out: Console, one: StoreReport) -> None:
    by_reason: dict[str, list[str]] = {}
    for place in one.unread:
        by_reason.setdefault(place.why, []).append(place.place)
    for why, places in by_reason.items():
        more = f" and {len(places) - _LISTED} more" if len(places) > _LISTED else ""
        out.print(f"not read, {one.store}: {', '.join(places[:_LISTED])}{more}: {why}")
