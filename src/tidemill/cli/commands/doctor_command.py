"""`tidemill doctor`: what is wrong with this machine or this project."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.errors import ProjectMissing
from tidemill.loop.ops.doctor import DoctorFinding, doctor
from tidemill.loop.project.stores import identity

FOUND_SOMETHING = 4


@click.command("doctor")
@with_context
def command(ask: CommandContext) -> int:
    """Look at the machine and, inside a project, at its settings, sources and keys."""
    try:
        project: Path | None = ask.project
    except ProjectMissing:
        project = None
    keys = ask.settings.keys_folder(identity(ask.project, None).id) if project and ask.has_run else None
    found = doctor(project, ask.settings if project else None, keys)
    ask.result(found, lambda out: show(out, found))
    return FOUND_SOMETHING if any(one.state == "wrong" for one in found) else 0


def show(out: Console, found: list[DoctorFinding]) -> None:
    """One line for each look."""
    styles = {"well": "green", "note": "yellow", "wrong": "red"}
    for one in found:
        out.print(Text.assemble((f"{one.state:5}", styles[one.state]), f" {one.what}: {one.says}"))
