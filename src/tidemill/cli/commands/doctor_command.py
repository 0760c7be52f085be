"""`tidemill doctor`: diagnosis of this machine and this project."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.errors import ProjectMissing
from tidemill.loop.ops.doctor import DoctorFinding, doctor
from tidemill.loop.project.stores import identity

PROBLEMS = 4
#: State of a finding -> its label and colour.
_STATES = {"well": ("ok", "green"), "note": ("note", "yellow"), "wrong": ("error", "red")}


@click.command("doctor")
@with_context
def command(context: CommandContext) -> int:
    """Check this machine and, inside a project, its settings, sources and keys."""
    try:
        project: Path | None = context.project
    except ProjectMissing:
        project = None
    keys = context.settings.keys_folder(identity(context.project, None).id) if project and context.has_run else None
    found = doctor(project, context.settings if project else None, keys)
    context.result(found, lambda out: show(out, found))
    return PROBLEMS if any(one.state == "wrong" for one in found) else 0


def show(out: Console, found: list[DoctorFinding]) -> None:
    """Print one line per finding."""
    for one in found:
        state, colour = _STATES[one.state]
        out.print(Text.assemble((f"{state:5}", colour), f" {one.what}: {one.says}"))
