"""`tidemill import`: a model that was learned elsewhere becomes a candidate release."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, with_context
from tidemill.loop.training.import_model import ImportResult, import_model

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("name")
@click.argument("source")
@click.option("--card", type=_FILE, metavar="FILE", help="JSON; default: card.json in SOURCE or beside it.")
@click.option(
    "--golden", type=_FILE, metavar="FILE", help="Rows (.csv, .parquet, .json) to ask it on; kept in the bundle."
)
@click.option("--trust-pickle", is_flag=True, help="Read a pickle, which may run code, in a process of its own.")
@with_context
def command(
    ask: CommandContext, name: str, source: str, card: Path | None, golden: Path | None, trust_pickle: bool
) -> None:
    """Make a release NAME of the model at SOURCE: an ONNX file or folder, LightGBM's text, an MLflow folder or URI.

    The card says `helps`, `could_harm`, `source`, `licence` and `revision`, and may say `task`, `target` and `classes`.
    With the target among the golden rows the model is measured on them.
    """
    made = import_model(ask.stores, name, source, card=card, golden=golden, trust_pickle=trust_pickle)
    ask.result(
        {"release": made.release.name, "anew": made.anew, "card": made.release.card, "notes": made.notes},
        lambda out: show(out, made),
    )


def show(out: Console, made: ImportResult) -> None:
    """The release, and how good it is on the given rows."""
    if not made.anew:
        out.print("imported before from the same files: the release that is there was taken")
    for note in made.notes:
        out.print(note)
    assessment = made.release.card.assessment
    if assessment is not None:
        main = assessment.main
        out.print(f"{main.name} {main.model.value:.4f}   {assessment.baseline} {main.baseline.value:.4f}")
        for warning in assessment.warnings:
            out.print(warning)
    out.print(f"{made.release.name} is ready   make it live: tidemill promote {made.release.name}")
