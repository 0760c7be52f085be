"""`tidemill import`: import of a model that was trained elsewhere, as a candidate release."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from tidemill.cli.commands.train_command import promote_hint
from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.existing_file import ExistingFile
from tidemill.cli.quality_table import show_quality
from tidemill.loop.training.import_model import ImportResult, import_model

_FILE = ExistingFile()


@click.command("import")
@click.argument("name")
@click.argument("source")
@click.option(
    "--card", type=_FILE, metavar="FILE", help="Model card as JSON. Default: card.json in SOURCE or next to it."
)
@click.option(
    "--golden",
    type=_FILE,
    metavar="FILE",
    help="Golden rows (.csv, .parquet, .json) to test predictions on; kept in the bundle.",
)
@click.option("--trust-pickle", is_flag=True, help="Load a pickle, which may run code, in a separate process.")
@with_context
def command(
    context: CommandContext, name: str, source: str, card: Path | None, golden: Path | None, trust_pickle: bool
) -> None:
    """Create a release NAME of the model at SOURCE: an ONNX file or folder, a LightGBM text, an MLflow folder or URI.

    The card has `helps`, `could_harm`, `source`, `licence` and `revision`, and optionally `task`, `target` and
    `classes`. If the golden rows have the target, the model is evaluated on them.
    """
    imported = import_model(context.stores, name, source, card=card, golden=golden, trust_pickle=trust_pickle)
    context.result(
        {
            "release": imported.release.name,
            "anew": imported.anew,
            "card": imported.release.card,
            "notes": imported.notes,
        },
        lambda out: show(out, imported),
    )


def show(out: Console, made: ImportResult) -> None:
    """Print the release, and its metrics on the golden rows."""
    if not made.anew:
        out.print("The same files were imported before: the existing release is used.")
    for note in made.notes:
        out.print(note)
    show_quality(out, made.release.card)
    out.print(promote_hint(made.release.name, created=made.anew))
