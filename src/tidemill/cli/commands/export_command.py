"""`tidemill export`: export of a tabular release to a folder that predicts without tidemill."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.formatting import count
from tidemill.loop.families.model_family import family_named


@click.command("export")
@click.argument("release")
@click.argument("folder", type=click.Path(path_type=Path))
@with_context
def command(context: CommandContext, release: str, folder: Path) -> None:
    """Export RELEASE (for example price@2) to FOLDER: a program, golden rows with predictions, and an MLflow model."""
    releases = context.stores.releases
    exported = releases.get(release)
    releases.verify(exported)
    bundle, modules = releases.bundle(exported.bundle), releases.modules(exported)
    summary = family_named(exported.family).export(exported, bundle, modules, folder)
    rows = count(summary.n_golden, "golden row")
    context.result(
        {
            "release": exported.name,
            "folder": str(folder),
            "files": list(summary.files),
            "requirements": summary.requirements,
        },
        lambda out: out.print(
            f"Exported {exported.name} to {folder}: {count(len(summary.files), 'file')}, same predictions for {rows}. "
            f"Try it elsewhere with: pip install -r {folder}/requirements.txt && python {folder}/predict.py --check"
        ),
    )
