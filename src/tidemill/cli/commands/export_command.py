"""`tidemill export`: a tabular release as a folder that answers without tidemill."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.release.export import export_tabular


@click.command("export")
@click.argument("release")
@click.argument("folder", type=click.Path(path_type=Path))
@with_context
def command(ask: CommandContext, release: str, folder: Path) -> None:
    """Write RELEASE (for example price@2) into FOLDER: a program, its golden answers, and an MLflow model."""
    made = ask.stores.releases.get(release)
    ask.stores.releases.verify(made)
    done = export_tabular(made, ask.stores.releases.bundle(made.bundle), folder)
    ask.result(
        {"release": made.name, "folder": str(folder), "files": list(done.files), "requirements": done.requirements},
        lambda out: out.print(
            f"{made.name} is in {folder}: {len(done.files)} files, {done.n_golden} golden rows answered alike   "
            f"try it elsewhere: pip install -r {folder}/requirements.txt && python {folder}/predict.py --check"
        ),
    )
