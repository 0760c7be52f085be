"""`tidemill train`: training and evaluation of a model, and a release of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import click
from rich.console import Console

from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.cli.progress_line import progress_line
from tidemill.cli.quality_table import learners, show_quality
from tidemill.core.clock import as_of, to_micros
from tidemill.loop.training.train import TrainingResult, train
from tidemill.training.search.search_budget import DEFAULT_BUDGET, SearchBudget


@click.command("train")
@click.argument("model")
@click.option(
    "--test-from",
    type=DayParam(),
    metavar="DAY",
    help="First day of the test. Default: after 90% of the events, or 80% of the rows.",
)
@click.option(
    "--rules-only",
    is_flag=True,
    help="Release the last bundle again with the current rules of mill.py, without training.",
)
@click.option("--again", is_flag=True, help="Train also where the same rows, settings and code were trained before.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=DEFAULT_BUDGET.trials,
    show_default=True,
    help="Number of trials of a search.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Time limit for choosing settings. Default: none, or that of tm.auto().",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=DEFAULT_BUDGET.processes,
    show_default=True,
    help="Number of parallel trials.",
)
@with_context
def command(
    context: CommandContext,
    model: str,
    test_from: date | None,
    rules_only: bool,
    again: bool,
    trials: int,
    minutes: float | None,
    processes: int,
) -> None:
    """Train MODEL on the published data, compare it with its baseline, and create a release.

    Settings given as tm.search(…) or tm.grid(…), and those left out, are chosen on days before the test. If the command
    is interrupted, the same command continues the search.
    """

    def progress(step: str, details: dict[str, Any]) -> None:
        context.err.print(progress_line(step, details), style="dim", markup=False)

    at = to_micros(as_of(test_from)) - 86_400_000_000 if test_from else None
    effort = SearchBudget(trials=trials, minutes=minutes, processes=processes)
    learned = train(
        context.stores, context.graph, model, at=at, rules_only=rules_only, again=again, effort=effort,
        progress=progress,
    )  # fmt: skip
    champion = context.stores.releases.champion(model)
    live = champion is not None and champion.name == learned.release.name
    context.result(
        {
            "release": learned.release.name,
            "anew": learned.anew,
            "card": learned.card,
            "notes": learned.notes,
            "learners": learned.verdicts,
        },
        lambda out: show(out, learned, live=live, rules=rules_only),
    )


def show(out: Console, learned: TrainingResult, *, live: bool = False, rules: bool = False, place: str = "") -> None:
    """Print the release and its evaluation and, unless it is `live`, how to promote it; commands begin with `place`."""
    release = learned.release
    if not learned.anew and not rules:
        out.print(
            f"Nothing was trained: {release.name} {'is live, and ' if live else ''}has the model of the same rows, "
            f"settings and code. Train it again with: {place}tidemill train {release.model} --again"
        )
    for note in learned.notes:
        out.print(note)
    if learned.verdicts:
        out.print(learners(learned.verdicts))
    show_quality(out, learned.card)
    if not live:
        out.print(promote_hint(release.name, created=learned.created))


def promote_hint(release: str, *, created: bool) -> str:
    """The message on a new or existing release, with the command that promotes it.

    >>> promote_hint("for_you@1", created=True)
    'Created for_you@1. Promote it with: tidemill promote for_you@1'
    """
    return f"{f'Created {release}' if created else f'{release} is ready'}. Promote it with: tidemill promote {release}"
