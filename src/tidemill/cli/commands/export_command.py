"""`tidemill export`: export of a tabular release to a folder that predicts without tidemill."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.plural_count import count
from tidemill.release.export import export_tabular


@click.command("export")
@click.argument("release")
@click.argument("folder", type=click.Path(path_type=Path))
@with_context
def command(context: CommandContext, release: str, folder: Path) -> None:
    """Export RELEASE (for example price@2) to FOLDER: a program, golden rows with predictions, and an MLflow model."""
    made = context.stores.releases.get(release)
    context.stores.releases.verify(made)
    done = export_tabular(made, context.stores.releases.bundle(made.bundle), folder)
    rows = count(done.n_golden, "golden row")
    context.result(
        {"release": made.name, "folder": str(folder), "files": list(done.files), "requirements": done.requirements},
        lambda out: out.print(
            f"Exported {made.name} to {folder}: {count(len(done.files), 'file')}, same predictions for {rows}. "
            f"Try it elsewhere with: pip install -r {folder}/requirements.txt && python {folder}/predict.py --check"
        ),
    )
