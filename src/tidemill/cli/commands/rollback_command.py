"""`tidemill rollback`: rollback of a model to its previous champion."""

from __future__ import annotations

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.promotion_lines import show_promotion
from tidemill.loop.release.go_live import roll_back
from tidemill.release import Promotion


@click.command("rollback")
@click.argument("model")
@with_context
def command(context: CommandContext, model: str) -> None:
    """Roll MODEL back to its previous champion. Running servers switch to it."""
    promotion = roll_back(context.stores, model)
    context.result(
        {"release": promotion.release, "model": model, "account": promotion.account, "verdict": promotion.verdict},
        lambda out: show(out, promotion),
    )


def show(out: Console, promotion: Promotion) -> None:
    """Print the champion, the command that undoes the rollback, and what was checked."""
    out.print(f"Rolled back to {promotion.release}. To undo: tidemill promote {promotion.before}")
    show_promotion(out, promotion)
