"""`tidemill promote`: promotion of a release to champion."""

from __future__ import annotations

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, with_context
from tidemill.cli.promotion_lines import show_promotion
from tidemill.core.errors import TidemillError
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.release.go_live import go_live
from tidemill.release import Promotion


@click.command("promote")
@click.argument("release")
@with_context
def command(context: CommandContext, release: str) -> None:
    """Promote RELEASE (for example for_you@2) to champion. Running servers switch to it."""
    promotion = go_live(context.stores, _graph(context), release)
    model = promotion.release.partition("@")[0]
    context.result(
        {"release": promotion.release, "model": model, "account": promotion.account, "verdict": promotion.verdict},
        lambda out: show(out, promotion, f"tidemill rollback {model}"),
    )


def show(out: Console, promotion: Promotion, undo: str) -> None:
    """Print the champion, the command that rolls it back, and what was checked."""
    out.print(f"{promotion.release} is now the champion. Roll back with: {undo}")
    show_promotion(out, promotion)


def _graph(context: CommandContext) -> ProjectGraph | None:
    """The graph, for checks that only warn; `None` if mill.py has an error."""
    try:
        return context.graph
    except Exception as error:  # of the functions in mill.py: their checks only warn
        says = error.message if isinstance(error, TidemillError) else type(error).__name__
        context.err.print(f"mill.py is not checked: {says}", markup=False)
        return None
